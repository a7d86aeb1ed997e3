"""Output folders as plain data.

Owns: which stages a folder has, their standing events and their dumped episodes; what cannot be read is counted, never
silently lost. Refuses: drawing, and needing anything to be complete: a running stage has torn lines and no outcome.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from env_tuning.curriculum.lineage import Record
from env_tuning.errors import UserError
from env_tuning.verl_plugin.progress import lasting, read_events

PROGRESS_FILE = "progress.jsonl"
PHASES: Mapping[str, str] = {"rollouts": "train", "validation": "validation"}
"""Folders of dumps, and what their episodes are called."""
_TOLD_BY = {"train": "step", "validation": "validation"}


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage as its folder tells it.

    Attributes:
        name: of the stage.
        folder: where its dumps are.
        events: those that stand, oldest first.
        outcome: how it ended; None while it runs or if it was killed.
        config: the composed configuration; empty if the folder has none.
    """

    name: str
    folder: Path
    events: tuple[Mapping[str, Any], ...]
    outcome: Mapping[str, Any] | None
    config: Mapping[str, Any]

    def of(self, event: str) -> list[Mapping[str, Any]]:
        """The events of one kind, the last told of a step only, by step."""
        found = {item["step"]: item for item in self.events if item.get("event") == event and "step" in item}
        return [found[step] for step in sorted(found)]

    @property
    def last_step(self) -> int:
        """The last update that stands."""
        return max((event["step"] for event in self.of("step")), default=0)


@dataclass(frozen=True, kw_only=True)
class Dumped:
    """One line of a dump, with where it came from."""

    stage: str
    phase: str
    step: int
    line: Mapping[str, Any]


def read_run(folder: Path) -> tuple[StageRun, ...]:
    """The stages of an output folder, in the order in which they ran.

    Args:
        folder: of a stage, or of a curriculum, whose stages are its subfolders.

    Raises:
        UserError: neither it nor a subfolder has a ``progress.jsonl``.
    """
    if (folder / PROGRESS_FILE).is_file():
        return (_stage(folder),)
    recorded = list(Record(folder).read())
    found = sorted(file.parent.name for file in folder.glob(f"*/{PROGRESS_FILE}"))
    if not found:
        raise UserError(f"{folder} is no output folder: neither it nor a folder in it has a {PROGRESS_FILE}")
    # The record's order; another run's folder beside the curriculum's is not part of it.
    names = [name for name in recorded if name in found] if recorded else found
    return tuple(_stage(folder / name) for name in names or found)


def _stage(folder: Path) -> StageRun:
    events = tuple(lasting(read_events(folder / PROGRESS_FILE)))
    names = [event["stage"] for event in events if event.get("event") == "start" and "stage" in event]
    return StageRun(
        name=str(names[-1]) if names else folder.resolve().name,
        folder=folder,
        events=events,
        outcome=_json_object((folder / "outcome.json").read_bytes()) if (folder / "outcome.json").is_file() else None,
        config=_config(folder / "config.yaml"),
    )


def dumped(stage: StageRun, left_out: Counter[str], *, every: int = 1) -> Iterator[Dumped]:
    """The episodes of a stage, training steps first, in the order of steps.

    Args:
        stage: whose dumps to read.
        left_out: gets what is not returned, counted under words for people.
        every: only steps that it divides, and the last one; validations are never left out.
    """
    for folder, phase in PHASES.items():
        standing = {event["step"] for event in stage.of(_TOLD_BY[phase])}
        files = {int(file.stem): file for file in (stage.folder / folder).glob("*.jsonl") if file.stem.isdigit()}
        for step in sorted(files):
            lines = files[step].read_bytes().splitlines()
            if stage.events and step not in standing:
                left_out["episodes of steps that were lost or have not ended"] += len(lines)
            elif phase == "train" and step % every and step != stage.last_step:
                left_out[f"episodes between the steps of --every {every}"] += len(lines)
            else:
                yield from _episodes(stage.name, phase, step, lines, left_out)


def dumped_file(file: Path, left_out: Counter[str]) -> Iterator[Dumped]:
    """The episodes of one file of lines: a dump of a step, or bare trajectories.

    Args:
        file: a dump's folder says its phase and its name its step; other files are called by their name.
        left_out: gets what is not returned, counted under words for people.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    step = int(file.stem) if file.stem.isdigit() else 0
    yield from _episodes("", PHASES.get(file.parent.name, file.stem), step, lines, left_out)


def _episodes(stage: str, phase: str, step: int, lines: list[bytes], left_out: Counter[str]) -> Iterator[Dumped]:
    for text in lines:
        line = _json_object(text)
        if line is not None and {"task_id", "verdicts"} <= line.keys():
            line = {"data_source": line.get("split", ""), "trajectory": line}
        if line is None:
            left_out["torn lines"] += 1
        elif not isinstance(line.get("trajectory"), Mapping):
            left_out["episodes without a trajectory"] += 1
        else:
            yield Dumped(stage=stage, phase=phase, step=step, line=line)


def _config(file: Path) -> Mapping[str, Any]:
    try:
        data = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError):  # a run that is still being set up
        data = None
    return data if isinstance(data, dict) else {}


def _json_object(text: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
