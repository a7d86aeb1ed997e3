"""What came out of episodes, as numbers: per task, per split, overall.

Owns: the two metrics (the benchmark's: every turn right; the project's: the share of right turns) and what stands
beside them. Refuses: judging, which the records have behind them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from env_tuning.evaluation.playing import Played
from env_tuning.evaluation.statistics import mean_interval, wilson
from env_tuning.rewards.accuracy import binary
from env_tuning.rewards.numbers import logged_numbers
from env_tuning.trajectory import Trajectory
from env_tuning.verl_plugin.records import EpisodeRecord

NOT_REACHED = "not_reached"
"""Stands among the failures for a turn that a limit kept from being closed."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task.

    Attributes:
        task_id: the task.
        split: its category.
        turns: for every turn whether it is right.
        failure: what was wrong with the first wrong turn (a `TurnFailure`, or `NOT_REACHED`); "" if none was.
        stop: why the episode ended (a `StopReason`).
        numbers: of the episode, tokens and seconds included.
    """

    task_id: str
    split: str
    turns: tuple[bool, ...]
    failure: str
    stop: str
    numbers: Mapping[str, float]

    @property
    def correct(self) -> bool:
        """The benchmark's metric."""
        return all(self.turns)

    @property
    def progress(self) -> float:
        """The share of turns that are right."""
        return sum(self.turns) / len(self.turns)


def line_of(played: Played) -> str:
    """An episode as a line that training's dumps have, too, so that what reads those reads this."""
    trajectory = played.trajectory
    numbers = {
        **logged_numbers(binary(trajectory), trajectory),
        "prompt_tokens": float(played.prompt_tokens),
        "completion_tokens": float(played.completion_tokens),
        "seconds": round(played.seconds, 3),
    }
    record = EpisodeRecord(
        uid=trajectory.task_id,
        group=0,
        data_source=trajectory.split,
        score=numbers.pop("score"),
        numbers=numbers,
        trained_tokens=0,
        response_tokens=played.completion_tokens,
        trajectory=trajectory.to_dict(),
    )
    return record.line(0)


def result_of(line: Mapping[str, Any]) -> TaskResult:
    """The numbers of a line.

    Raises:
        ValueError: it is no line of an episode. Also `KeyError`, `TypeError`, `AttributeError`.
    """
    trajectory = Trajectory.from_dict(line["trajectory"])
    verdicts = {verdict.turn: verdict for verdict in trajectory.verdicts}
    turns = tuple(turn in verdicts and verdicts[turn].correct for turn in range(trajectory.turns))
    failure = ""
    if not all(turns):
        first = verdicts.get(turns.index(False))
        failure = first.failure.value if first is not None and first.failure is not None else NOT_REACHED
    return TaskResult(
        task_id=trajectory.task_id,
        split=trajectory.split,
        turns=turns,
        failure=failure,
        stop=trajectory.stop.value,
        numbers={str(name): float(value) for name, value in line["reward"].items()},
    )


def summary(results: Sequence[TaskResult]) -> dict[str, Any]:
    """What a card says of tasks, as plain JSON data.

    ``accuracy`` with its Wilson interval, ``progress`` with a bootstrap interval, ``by_turn`` (per turn index the share
    of right turns among the tasks that have it), means of ``coverage`` and ``steps``, and counts of what went wrong
    first and of why episodes ended.
    """
    correct = sum(result.correct for result in results)
    progress = [result.progress for result in results]
    longest = max(len(result.turns) for result in results)
    return {
        "tasks": len(results),
        "correct": correct,
        "accuracy": correct / len(results),
        "accuracy_interval": list(wilson(correct, len(results))),
        "progress": _mean(progress),
        "progress_interval": list(mean_interval(progress)),
        "coverage": _mean([result.numbers.get("coverage", 0.0) for result in results]),
        "steps": _mean([result.numbers.get("steps", 0.0) for result in results]),
        "by_turn": [
            _share([result.turns[at] for result in results if len(result.turns) > at]) for at in range(longest)
        ],
        "failures": _counted(result.failure for result in results if result.failure),
        "stops": _counted(result.stop for result in results),
    }


def by_split(results: Iterable[TaskResult]) -> dict[str, list[TaskResult]]:
    """Results by category, in the order of its name."""
    splits: dict[str, list[TaskResult]] = {}
    for result in results:
        splits.setdefault(result.split, []).append(result)
    return dict(sorted(splits.items()))


def total(results: Iterable[TaskResult], name: str) -> float:
    """The sum of one of the numbers."""
    return math.fsum(result.numbers.get(name, 0.0) for result in results)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _share(values: Sequence[bool]) -> dict[str, float]:
    return {"turns": len(values), "correct": sum(values), "accuracy": sum(values) / len(values)}


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
