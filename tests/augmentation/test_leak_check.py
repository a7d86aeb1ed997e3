"""The leak check itself: that it finds what it is there for, and nothing else."""

import pytest

from env_tuning.augmentation.leaks import leaks
from env_tuning.task import Task, ToolDoc


def doc(name: str, description: str = "") -> ToolDoc:
    return ToolDoc(name=name, description=description, parameters={"type": "dict", "properties": {}, "required": []})


TASK = Task(
    id="t",
    split="s",
    user_turns=("Sort the report.", ""),
    initial_config="{}",
    tool_classes=("GorillaFileSystem",),
    tools=(doc("cd"), doc("cat", "Modes are fast and slow."), doc("sort"), doc("remove_all")),
    ground_truth=(("cd(folder='Archive')", "cat(file_name='a.txt', mode='fast', width=80)"), ("sort('a.txt')",)),
    releases={1: ("sort", "remove_all")},
)


@pytest.mark.parametrize(
    ("text", "turn", "reason"),
    [
        ("Sort it first.", 0, "'sort', which the task holds back"),
        ("Use `remove_all` for it.", 0, "'remove_all', which the task holds back"),
        ("Call get_stock_info first.", 0, "'get_stock_info', which the task does not have"),
        ("List it with `ls`.", 0, "'ls', which the task does not have"),
        ("Go to Archive.", 0, "'archive', a value of the solution"),
        ("Go to the archive.", 0, "'archive', a value of the solution"),
        ("It takes 80 columns.", 0, "'80', a value of the solution"),
        ("Try 'a.txt' instead.", 0, "'a.txt', a value of the solution"),
        ("Write cd(folder).", 0, "writes a call of 'cd'"),
        ('Write {"name": "cd"}.', 0, "writes a call as JSON"),
        ("`cat` needs a.txt, fast and 80.", 0, "gives away the solution's call of 'cat'"),
    ],
)
def test_a_leak_is_found(text, turn, reason):
    assert any(reason in problem for problem in leaks(text, TASK, turn, seen=()))


@pytest.mark.parametrize(
    ("text", "turn", "seen"),
    [
        ("Look at what is there with a tool that lists the current directory.", 0, ()),
        ("Sort it first, with `remove_all` at hand.", 1, ()),
        ("`cat` shows it; `cd` goes there.", 0, ()),
        ("Go to the archive.", 0, ("Please look into the Archive.",)),
        ("Fast is one of the modes in the document.", 0, ()),
        ("Take 800 columns, or archived files.", 0, ()),
        ("Tail, head and mean are words.", 0, ()),
    ],
)
def test_what_is_known_is_no_leak(text, turn, seen):
    assert leaks(text, TASK, turn, seen) == ()
