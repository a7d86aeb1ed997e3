"""Our tool classes against the official package, on every ground-truth call of the benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from canonical import canonical_state

from env_tuning.calls import parse_call
from env_tuning.data.bfcl import tasks_by_id
from env_tuning.data.sources import PACKAGE, VERSION, Benchmark
from env_tuning.environments.bfcl.file_system import Directory, File
from env_tuning.environments.registry import make_environment
from env_tuning.task import Task

HERE = Path(__file__).parent
OFFICIAL = HERE.parents[1] / ".cache" / "official"
REQUIREMENTS = (f"{PACKAGE}=={VERSION}", "mpmath==1.3.0")
SHOWN = 5


@pytest.fixture(scope="module")
def official() -> Path:
    """The official package in a folder of its own, installed once."""
    folder = OFFICIAL / VERSION
    if not folder.is_dir():
        building = OFFICIAL / f"{VERSION}.building-{os.getpid()}"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(building)]
        try:
            subprocess.run([*command, *REQUIREMENTS], check=True)
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder


@pytest.mark.slow
def test_ground_truth_gives_the_official_results_and_states(official: Path, benchmark: Benchmark, tmp_path: Path):
    tasks = list(tasks_by_id(benchmark).values())
    calls = turns = different = 0
    shown: list[str] = []
    for task, theirs in zip(tasks, run_official(tasks, official, tmp_path), strict=True):
        ours = run_ours(task, benchmark)
        assert theirs["id"] == ours["id"] == task.id
        found = list(differences(ours, theirs))
        different += len(found)
        shown += found[: SHOWN - len(shown)]
        calls += sum(len(turn) for turn in task.ground_truth)
        turns += task.turns
    assert not different, f"{different} differences; the first are:\n" + "\n".join(shown)
    assert (len(tasks), turns, calls) == (800, 3336, 4625)


@pytest.mark.parametrize(
    "pair",
    [
        (5, 5.0),
        (True, 1),
        ([1], (1,)),
        ({1: "a"}, {"1": "a"}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (File("x"), File("y")),
        ({1, 2}, [1, 2]),
    ],
    ids=str,
)
def test_canonical_form_tells_apart_what_a_result_would(pair: tuple):
    left, right = (canonical_state({"value": value}) for value in pair)
    assert left != right


def test_canonical_form_of_a_directory_inside_itself_ends():
    directory = Directory("d")
    directory.contents["d"] = directory
    assert "cycle" in canonical_state({"root": directory})


def test_a_single_wrong_character_is_reported_with_its_neighbourhood():
    turn = {"results": ["one two three"], "states": {"A": "{}"}}
    wrong = {"results": ["one twO three"], "states": {"A": "{}"}}
    (line,) = differences({"id": "t", "turns": [turn]}, {"id": "t", "turns": [wrong]})
    assert "t turn 0 call 0" in line
    assert "at character 6" in line


def run_ours(task: Task, benchmark: Benchmark) -> dict:
    """What `official_runner.py` prints for a task, from our environment."""
    environment = make_environment(
        task.tool_classes, task.initial_config, benchmark.long_context if task.long_context else None
    )
    turns = []
    for calls in task.ground_truth:
        results = [environment.call(parse_call(call)).text for call in calls]
        states = {name: canonical_state(tools.public_state()) for name, tools in environment.tool_classes.items()}
        turns.append({"results": results, "states": states})
    return {"id": task.id, "turns": turns}


def run_official(tasks: list[Task], official: Path, folder: Path) -> Iterator[dict]:
    """The official package's answer for every task, in order."""
    requests = folder / "requests.jsonl"
    requests.write_text("".join(json.dumps(request(task)) + "\n" for task in tasks), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": str(official),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Left alone, the package makes folders next to itself.
        "BFCL_PROJECT_ROOT": str(folder),
    }
    command = [sys.executable, str(HERE / "official_runner.py")]
    with (
        requests.open(encoding="utf-8") as lines,
        subprocess.Popen(command, stdin=lines, stdout=subprocess.PIPE, env=environment, text=True) as runner,
    ):
        assert runner.stdout is not None
        for line in runner.stdout:
            yield json.loads(line)
    assert runner.returncode == 0, "the official package failed; its message is above"


def request(task: Task) -> dict:
    """A task as `official_runner.py` reads it."""
    return {
        "id": task.id,
        "initial_config": json.loads(task.initial_config),
        "classes": list(task.tool_classes),
        "long_context": task.long_context,
        "turns": [list(calls) for calls in task.ground_truth],
    }


def differences(ours: dict, theirs: dict) -> Iterator[str]:
    """Readable lines, one for every result and every class's state that differs."""
    for number, (our_turn, their_turn) in enumerate(zip(ours["turns"], theirs["turns"], strict=True)):
        for place, pair in enumerate(zip(our_turn["results"], their_turn["results"], strict=True)):
            if pair[0] != pair[1]:
                yield f"{ours['id']} turn {number} call {place}: {first_difference(*pair)}"
        assert our_turn["states"].keys() == their_turn["states"].keys()
        for name, state in our_turn["states"].items():
            their_state = their_turn["states"][name]
            if state != their_state:
                yield f"{ours['id']} turn {number} state of {name}: {first_difference(state, their_state)}"


def first_difference(ours: str, theirs: str, context: int = 60) -> str:
    """The neighbourhood of the first character that differs."""
    at = next(
        (place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
    part = slice(max(0, at - context), at + context)
    return f"at character {at}:\n    ours   ...{ours[part]}...\n    theirs ...{theirs[part]}..."
