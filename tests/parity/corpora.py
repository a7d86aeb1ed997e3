"""What is replayed on both sides: ground truth and the composite category; `fuzz.py` makes more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from env_tuning.calls import CallSyntaxError, parse_call
from env_tuning.data.bfcl import tasks_by_id
from env_tuning.data.sources import Benchmark
from env_tuning.task import Task


@dataclass(frozen=True, kw_only=True)
class Script:
    """Calls to replay from one initial state, turn by turn: `official_runner.py` reads its fields."""

    id: str
    initial_config: str
    classes: tuple[str, ...]
    long_context: bool
    turns: tuple[tuple[str, ...], ...]

    @property
    def calls(self) -> int:
        return sum(map(len, self.turns))


def ground_truth(benchmark: Benchmark) -> list[Script]:
    """The reference solutions of the 800 tasks."""
    return [task_script(task) for task in tasks_by_id(benchmark).values()]


def composite(official: Path) -> list[Script]:
    """A category that the benchmark ships and does not use: stale, so that a quarter of its calls fail.

    Of its 1,262 calls 17 are no Python and left out.
    """
    folder = official / "bfcl_eval" / "data" / "unused_datasets"
    name = "BFCL_v4_multi_turn_composite.json"
    questions, answers = (
        [json.loads(line) for line in (folder / kind / name).read_text(encoding="utf-8").splitlines()]
        for kind in ("question", "possible_answer")
    )
    return [
        Script(
            id=question["id"],
            initial_config=json.dumps(question["initial_config"]),
            classes=tuple(question["involved_classes"]),
            long_context=True,
            turns=tuple(tuple(filter(_is_call, turn)) for turn in answer["ground_truth"]),
        )
        for question, answer in zip(questions, answers, strict=True)
    ]


def leaves(config: str) -> Iterator[Any]:
    """Keys and values of a configuration, at any depth."""
    pending = [json.loads(config)]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        else:
            yield value


def task_script(task: Task) -> Script:
    """A task's reference solution."""
    return Script(
        id=task.id,
        initial_config=task.initial_config,
        classes=task.tool_classes,
        long_context=task.long_context,
        turns=task.ground_truth,
    )


def _is_call(text: str) -> bool:
    try:
        parse_call(text)
    except CallSyntaxError:
        return False
    return True
