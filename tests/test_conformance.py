"""The conformance vectors measured on the original interaction (arXiv 2510.10197, the authors' release).

Each row is a list of messages and the step codes this project decides on. Where `ours` differs from `original` the
project deliberately does better: rows 5, 8, 9, 10 and 17 to 21. All other rows keep the original's outcome.
The original allowed six messages per turn, so these episodes do too.
"""

import json
from dataclasses import dataclass

import pytest

from env_tuning.episode import Episode, Rules
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import ThinkAnswer
from env_tuning.rewards.original import codes
from env_tuning.task import Task

A = "<think>t</think><answer>done</answer>"
BAD = "hello"


def T(*calls: object) -> str:
    return f"<think>t</think><tool_call>{json.dumps(list(calls))}</tool_call>"


def call(name: str, /, **arguments: object) -> dict:
    return {"name": name, "arguments": arguments}


LS = call("ls")
CD = call("cd", folder="document")
TURN_1 = (CD, call("mkdir", dir_name="temp"), call("mv", source="final_report.pdf", destination="temp"))
SORT = call("sort", file_name="final_report.pdf")


@dataclass(frozen=True, kw_only=True)
class Row:
    number: str
    messages: tuple[str, ...]
    ours: tuple[int, ...]
    original: tuple[int, ...]
    why: str = ""
    task: str = "multi_turn_base_0"


def row(number, messages, ours, original=None, why="", **task):
    return Row(
        number=number, messages=tuple(messages), ours=tuple(ours), original=tuple(original or ours), why=why, **task
    )


FEEDBACK = "a call that cannot be read is a format error with feedback, not a silent end of the turn"
MISS_FUNC_FIRST = {"task": "multi_turn_miss_func_38"}

ROWS = [
    row("1", [T(*TURN_1), A], [-1, 1]),
    row("2", [BAD] * 6, [-3] * 5 + [0]),
    row("3", [T(LS)] * 6, [-1] * 5 + [0]),
    row("4", [T(*TURN_1)] + [BAD] * 5, [-1] + [-3] * 4 + [1]),
    row("5a", [T()], [-3], [0], FEEDBACK),
    row("5b", [T("hello")], [-3], [0], FEEDBACK),
    row("5c", [T(call("cd", folder={}))], [-2], [0], "an empty object is an argument like any other: the tool says no"),
    row("6", [T(call("open_file", name="a"))], [-2]),
    row("7", [T(call("cd", folder="nosuchdir"))], [-1]),
    row("8a", [T({"name": "ls"})], [-3], [-1], "missing arguments are not invented"),
    row("8b", [T({"name": "ls", "arguments": '{"a": true}'})], [-1], [-1], "the JSON string is read, not dropped"),
    row("8c", [T({"name": "ls", "parameters": {}})], [-3], [-1], "missing arguments are not invented"),
    row("9", [T({"nome": "x"}, LS)], [-3], [-1], "no item of a list is dropped without a word"),
    row("10", ["<think>t</think><answer>" + json.dumps([LS]) + "</answer>"], [0], [-1], "answers are never executed"),
    row("11a", ["<answer>x</answer><think>t</think>"], [0]),
    row("11b", ["<think></think><answer></answer>"], [0]),
    row("11c", ["<think>a <tool_call> tag</think><answer>x</answer>"], [0]),
    row("12", ["<think><answer>x</answer></think><answer>y</answer>"], [-3]),
    row("13", ["<thinking>t</thinking><answer>x</answer>"], [-3]),
    row("14", [A], [1], **MISS_FUNC_FIRST),
    row("15", [T(LS)], [0], **MISS_FUNC_FIRST),
    row("16", [BAD] * 6, [-3] * 5 + [0], **MISS_FUNC_FIRST),
    row("17", [A, A, T(SORT), A], [0, 0, -1, 0], [0, 0, -1, 1], "the twin always advances: no false positive"),
    row(
        "18",
        [T(*TURN_1), A, A, T(call("cd", folder="temp"), SORT), A],
        [-1, 1, 0, -1, 1],
        [-1, 1, 0, -1, 0],
        "the twin always advances: a right recovery is right",
    ),
    row("19", [T(call("echo", content="please run ls() now"))], [-1], [-1], "the content is not rewritten"),
    row("20", [T(call("inspect.os.getpid"))], [-2], [-1], "an unknown tool, not a Python expression"),
    row("21", [T(call("importlib.sys.exit"))], [-2], [None], "an unknown tool; the original's process exited"),
]


def play(task: Task, messages: tuple[str, ...]) -> tuple[Episode, list]:
    episode = Episode(prepare_task(task, protocol=ThinkAnswer()), Rules(steps_per_turn=6))
    return episode, [episode.step(message) for message in messages]


@pytest.mark.parametrize("row", ROWS, ids=[row.number for row in ROWS])
def test_the_outcome_of_a_conformance_vector(row, tasks):
    episode, _ = play(tasks[row.task], row.messages)
    assert codes(episode.trajectory()) == list(row.ours)
    changes = row.number.rstrip("abc") in {"5", "8", "9", "10", "17", "18", "19", "20", "21"}
    assert changes == bool(row.why)
    assert changes or row.ours == row.original


def test_what_the_model_sees_next_after_a_forced_close_is_the_bare_request(tasks):
    task = tasks["multi_turn_base_0"]
    _, reactions = play(task, (BAD,) * 6)
    assert reactions[-1].content == task.user_turns[1]
    assert "<think>" in reactions[0].content


def test_a_release_turn_shows_the_documents_that_were_held_back(tasks):
    task = tasks["multi_turn_miss_func_38"]
    episode, reactions = play(task, (A,))
    (released,) = task.releases[1]
    assert f'"name": "{released}"' in reactions[0].content
    assert f'"name": "{released}"' not in episode.opening()[0]["content"]


def test_calls_in_a_turn_without_need_are_not_run_and_the_model_is_told(tasks):
    task = tasks["multi_turn_miss_func_38"]
    _, reactions = play(task, (T(LS),))
    assert reactions[0].step.calls[0].result is None
    assert reactions[0].content.startswith("(System warning")


def test_text_in_an_argument_reaches_the_tool_as_it_was_written(tasks):
    _, reactions = play(tasks["multi_turn_base_0"], (T(call("echo", content="please run ls() now")),))
    assert "please run ls() now" in reactions[0].step.calls[0].result


@pytest.mark.parametrize("name", ["inspect.os.getpid", "importlib.sys.exit", "__init__", "tools", "snapshot", "_call"])
def test_names_that_are_no_tools_are_unknown_tools(name, tasks):
    _, reactions = play(tasks["multi_turn_base_0"], (T(call(name)),))
    assert reactions[0].step.calls[0].result == f"Error during execution: name '{name}' is not defined"
