"""The tasks that a run's episodes were of, from the data files that its configuration names.

Owns: finding these files, here or by name in another folder, and the settings of their episodes. Refuses: playing
(`replay`). What is not there is a `NotReplayedError` with words for people, because a report is made without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.interaction.multi_turn import rules_of
from env_tuning.report.reading import StageRun
from env_tuning.task import Task

_DATA_KEYS = MappingProxyType({"train": "train_files", "validation": "val_files"})


class NotReplayedError(Exception):
    """Why an episode cannot be played again."""


@dataclass
class RunTasks:
    """The tasks of one stage, read when first asked for.

    Attributes:
        stage: whose configuration names the files.
        data: a folder to look for them by name, if they are no longer where the run read them.
    """

    stage: StageRun
    data: Path | None = None
    _known: dict[str, Mapping[str, Task]] = field(default_factory=dict)

    def task(self, phase: str, task_id: str) -> Task:
        """A task of ``train`` or of ``validation``.

        Raises:
            NotReplayedError: it is not there.
        """
        if phase not in self._known:
            self._known[phase] = {task.id: task for file in self._files(phase) for task in _tasks_in(file)}
        if task_id not in self._known[phase]:
            raise NotReplayedError("the run's data files do not hold its task")
        return self._known[phase][task_id]

    def padding(self, task: Task) -> LongContext | None:
        """The long-context data, if the task needs it.

        Raises:
            NotReplayedError: it is not there.
        """
        file = Path(str(self._settings().get("long_context_file")))
        return LongContext.load(self._found(file)) if task.long_context else None

    def official(self, phase: str) -> bool:
        """Whether the episodes of a phase were judged as the benchmark judges."""
        return rules_of(self._settings(), validate=phase == "validation").official

    def _settings(self) -> Mapping[str, Any]:
        from env_tuning.data.rows import INTERACTION

        interactions = (self.stage.config.get("env_tuning") or {}).get("interactions") or {}
        return (interactions.get(INTERACTION) or {}).get("config") or {}

    def _files(self, phase: str) -> Iterator[Path]:
        named = (self.stage.config.get("data") or {}).get(_DATA_KEYS[phase]) or []
        return (self._found(Path(name)) for name in ([named] if isinstance(named, str) else named))

    def _found(self, file: Path) -> Path:
        if self.data is not None:
            file = next(iter(sorted(self.data.rglob(file.name))), file)
        if not file.is_file():
            raise NotReplayedError("the run's data files are gone (--data FOLDER says where they are now)")
        return file


def _tasks_in(file: Path) -> list[Task]:
    from env_tuning.data.rows import load_tasks

    try:
        return load_tasks(file)
    except ValueError:
        raise NotReplayedError("the run's data files hold rows of another kind") from None
