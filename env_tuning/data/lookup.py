"""Tasks by what a person types: the id of a prepared task, a tool class of the benchmark, or an author's own class.

Owns: which tasks a name means. Refuses: building data (`prepare.py`), running tasks.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from env_tuning.data.prepare import LONG_CONTEXT, load_tasks
from env_tuning.data.rows import task_row, write_rows
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.registry import TOOL_CLASSES
from env_tuning.environments.scenario import tasks_of
from env_tuning.errors import UserError
from env_tuning.protocols import PromptVersion, ThinkAnswer
from env_tuning.task import Task

_SAMPLE = 12
_FILES = tuple(f"bfcl_v3/bfcl_{split}.parquet" for split in ("train", "val", "test"))


def find_tasks(name: str, folder: Path) -> tuple[Task, ...]:
    """The tasks that a name means.

    Args:
        name: ``multi_turn_base_0``, ``TicketAPI`` (all prepared tasks that use it) or ``package.module:Class`` (all
            its scenarios, possibly none).
        folder: what `env-tuning prepare` wrote; not read for a class of an author.

    Raises:
        ValueError: nothing has this name, or the data is not there.
    """
    if ":" in name:
        return tasks_of(name)
    tasks = [task for file in _FILES for task in load_tasks(folder / file)]
    if name in TOOL_CLASSES:
        return tuple(task for task in tasks if name in task.tool_classes)
    found = tuple(task for task in tasks if task.id == name)
    if not found:
        near = difflib.get_close_matches(name, [*TOOL_CLASSES, *(task.id for task in tasks)], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{name!r} is no task id, no tool class and no path such as 'package.module:Class'.{hint}")
    return found


def find_sample(name: str, folder: Path) -> tuple[Task, ...]:
    """`find_tasks`, thinned out evenly to a number that is checked in seconds."""
    tasks = find_tasks(name, folder)
    return tasks[:: max(1, len(tasks) // _SAMPLE)]


def padding_for(tasks: tuple[Task, ...], folder: Path) -> LongContext | None:
    """The long-context data, if a task needs it."""
    return LongContext.load(folder / LONG_CONTEXT) if any(task.long_context for task in tasks) else None


def write_scenarios(name: str, file: Path, *, split: str) -> int:
    """Write an author's scenarios as a parquet file to train or validate on; returns the number of rows.

    Raises:
        ValueError: the class has no scenarios.
    """
    tasks = tasks_of(name)
    if not tasks:
        raise UserError(f"{name} has no scenarios; add a class method scenarios() (docs/environments.md)")
    protocol = ThinkAnswer()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_rows(
        [
            task_row(task, protocol, version=PromptVersion.V1, split=split, index=index)
            for index, task in enumerate(tasks)
        ],
        file,
    )
    return len(tasks)
