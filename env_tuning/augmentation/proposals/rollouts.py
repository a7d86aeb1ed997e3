"""Failed calls out of the trajectories that a run dumped.

Owns: finding the dumps, skipping torn lines, and what the model had read when a call of it failed. Refuses: grouping
(`sites.py`), and episodes of tasks that it is not given: without the task nobody can tell a hint from a leak.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from env_tuning.augmentation.book import HintBook
from env_tuning.calls import ToolCall
from env_tuning.environments.environment import CallStatus, ToolResult
from env_tuning.errors import UserError
from env_tuning.task import Task
from env_tuning.trajectory import CallRecord, Trajectory

_PREPARED = tuple(f"bfcl_v3/bfcl_{split}.parquet" for split in ("train", "val", "test"))


@dataclass(frozen=True, kw_only=True)
class FailedCall:
    """A call that failed, in its task and at its turn.

    Attributes:
        task: what was played.
        turn: when, from 0.
        request: the user's words of that turn.
        call: what the model called.
        result: the raw result.
        seen: what the model had been told and had written by then, its own call included.
    """

    task: Task
    turn: int
    request: str
    call: ToolCall
    result: str
    seen: tuple[str, ...]


@dataclass(kw_only=True)
class RolloutReader:
    """Reads dumps, and counts what it leaves out.

    Attributes:
        tasks: by id; episodes of others are left out.
        answered: whether calls count that already get a hint.
        counts: ``episodes`` read, ``torn`` lines, ``strange`` episodes (of tasks that are not known), ``unknown`` calls
            (of names that are no tools at their turn, which the generic hint answers), ``answered`` calls left out.
    """

    tasks: Mapping[str, Task]
    answered: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _books: dict[str, HintBook] = field(default_factory=dict, init=False)

    @property
    def summary(self) -> str:
        """What was read and what was left out, on one line."""
        named = {
            "torn": "torn lines",
            "strange": "episodes of unknown tasks (--tasks)",
            "unknown": "calls of no tool",
            "answered": "failed calls that have a hint",
        }
        left_out = [f"{self.counts[name]} {words}" for name, words in named.items() if self.counts[name]]
        return f"{self.counts['episodes']} episodes" + (f"; left out: {', '.join(left_out)}" if left_out else "")

    def failed_calls(self, files: Sequence[Path]) -> Iterator[FailedCall]:
        """Every failed call of every episode, file by file."""
        for file in files:
            with file.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    trajectory = _trajectory(line)
                    if trajectory is None:
                        self.counts["torn"] += 1
                    elif trajectory.task_id not in self.tasks:
                        self.counts["strange"] += 1
                    else:
                        self.counts["episodes"] += 1
                        yield from self._failed_calls(trajectory)

    def _failed_calls(self, trajectory: Trajectory) -> Iterator[FailedCall]:
        task = self.tasks[trajectory.task_id]
        told = [trajectory.first_request]
        request = trajectory.first_request
        for step in trajectory.steps:
            told.append(step.text)
            for record in step.calls:
                if self._is_open(task, step.turn, record):
                    assert record.result is not None, "a call that failed was run"
                    yield FailedCall(
                        task=task,
                        turn=step.turn,
                        request=request,
                        call=ToolCall(name=record.name, arguments=record.arguments),
                        result=record.result,
                        seen=tuple(told),
                    )
            told.append(step.observation)
            if step.closed_turn:
                request = step.observation

    def _is_open(self, task: Task, turn: int, record: CallRecord) -> bool:
        """Whether a call failed and no rule says anything about it."""
        if record.result is None or record.status in (None, CallStatus.OK.value) or turn >= task.turns:
            return False
        book = self._books.setdefault(task.id, HintBook(task))
        if record.name not in book.visible(turn):
            self.counts["unknown"] += 1
            return False
        result = ToolResult(record.result, CallStatus(record.status))
        if not self.answered and book.hint(turn, ToolCall(name=record.name, arguments=record.arguments), result):
            self.counts["answered"] += 1
            return False
        return True


def _trajectory(line: str) -> Trajectory | None:
    """The trajectory of a dumped line; None if the line is torn or has none."""
    try:
        return Trajectory.from_dict(json.loads(line)["trajectory"])
    except (ValueError, KeyError, TypeError):
        return None


def rollout_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The dumps that paths mean: files as they are, and of a run's folder the rollouts it trained on.

    Validation is read only where it is named (``outputs/stage1/validation``): hints made from it would be made for it.

    Raises:
        UserError: a path has none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            files = [path]
        else:
            files = sorted((path / "rollouts").glob("*.jsonl"), key=_by_step) or sorted(
                path.glob("*.jsonl"), key=_by_step
            )
        # A run's folder has a *.jsonl of its own that is no dump.
        files = [file for file in files if file.name != "progress.jsonl"]
        if not files:
            raise UserError(f"{path} holds no rollouts; give a run's folder, a folder of *.jsonl or a file")
        found.update(dict.fromkeys(files))
    return tuple(found)


def _by_step(file: Path) -> tuple[int, str]:
    return (int(file.stem) if file.stem.isdecimal() else -1, file.name)


def load_known_tasks(names: Sequence[str], folder: Path) -> dict[str, Task]:
    """Tasks by id.

    Args:
        names: parquet files of rows, and own classes such as ``garage:Garage``; everything in `folder` if none.
        folder: what `env-tuning prepare` wrote.

    Raises:
        ValueError: a name means nothing.
    """
    from env_tuning.data.rows import load_tasks
    from env_tuning.environments.scenario import tasks_of

    found: dict[str, Task] = {}
    for name in names or [str(folder / file) for file in _PREPARED]:
        tasks = tasks_of(name) if ":" in name else load_tasks(Path(name))
        found.update((task.id, task) for task in tasks)
    return found
