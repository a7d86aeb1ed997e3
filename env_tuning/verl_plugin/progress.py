"""What a training process tells while it runs: lines for people, records for programs.

Owns: one line of text per event behind a fixed prefix, which the launcher copies from the log to the terminal, the
same event as one JSON line in ``progress.jsonl`` of the output folder, and the way back from that file. Refuses: verl
imports, and deciding what is worth telling (`trainer`).

Events: ``start``, ``recovered`` (half-written checkpoints removed), ``ready`` (seconds to get there), ``step`` (step,
total, reward and parts, tokens, seconds, timings, splits), ``checkpoint`` (step, path), ``validation`` (step, score and
parts, splits), ``gate`` (a `Decision`), ``done``. A step's event is there before its checkpoint is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "[env-tuning] "
"""The launcher looks for it."""

_IN_LINE = ("reward", "score", "format", "tool_call", "correct_turns", "steps", "kl", "response_tokens")


@dataclass(frozen=True)
class Progress:
    """The two places that events go to."""

    folder: Path

    @property
    def file(self) -> Path:
        """Where the records are; resumed runs append."""
        return self.folder / "progress.jsonl"

    def tell(self, event: str, **values: Any) -> None:
        """Print the event's line, if it has one, and append its record."""
        record = {"event": event, **{name: _plain(value) for name, value in values.items()}}
        text = line(record)
        if text:
            print(PREFIX + text, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        torn = _is_torn(self.file)
        # One write of the whole line: a kill then tears it hardly ever, and `read_events` copes when it does.
        with self.file.open("ab", buffering=0) as file:
            file.write((("\n" if torn else "") + json.dumps(record) + "\n").encode())


def read_events(file: Path) -> list[dict[str, Any]]:
    """The events of a ``progress.jsonl``, oldest first; none if there is no file.

    A line that is no JSON object is left out: a kill or a full disk tears the line that is being written.
    """
    events = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
        try:
            event = json.loads(text)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def lasting(events: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Events without those of steps that were lost: a ``ready`` at a step makes void what was told of later ones."""
    kept: list[Mapping[str, Any]] = []
    for event in events:
        if event.get("event") == "ready":
            kept = [old for old in kept if (old.get("step") or 0) <= (event.get("step") or 0)]
        kept.append(event)
    return kept


def validations(events: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """The validations that stand, by step."""
    return {event["step"]: event for event in lasting(events) if event.get("event") == "validation"}


def line(record: Mapping[str, Any]) -> str:
    """An event as text, for example ``step 3/80: reward 0.412, format 0.61, ... (3.2 s)``; empty for none."""
    event = record["event"]
    step = f"{record.get('step')}/{record['total']}" if "total" in record else str(record.get("step"))
    numbers = ", ".join(f"{name} {_short(record[name])}" for name in _IN_LINE if record.get(name) is not None)
    seconds = f" ({_short(record.get('seconds', 0.0))} s)"
    match event:
        case "start":
            return f"setting up {record['stage']}; output folder {record['output_dir']}"
        case "ready":
            resumed = f", resuming after step {record['step']}" if record.get("step") else ""
            return f"ready: {record['train_rows']} tasks, {record['total']} steps{resumed}{seconds}"
        case "validation":
            return f"validation at step {record['step']}: {numbers}, {record['episodes']} episodes{seconds}"
        case "step":
            return f"step {step}: {numbers}{seconds}"
        case "checkpoint":
            return f"checkpoint {record['path']}"
        case "recovered":
            return f"removed half-written checkpoints: {', '.join(record['removed'])}"
        case "warning":
            return f"warning: {record['text']}"
        case "gate":
            stops = record["verdict"] != "continue"
            return f"gate at step {record['step']}: {record['verdict']}, {record['reason']}" if stops else ""
        case "done":
            return "done"
        case _:
            return f"{event}: {numbers}"


def _is_torn(file: Path) -> bool:
    """Whether the last line of a file has no end."""
    if not file.is_file() or not file.stat().st_size:
        return False
    with file.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) != b"\n"


def _short(number: float) -> str:
    if isinstance(number, int) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3f}" if abs(number) < 10 else f"{number:.1f}"


def _plain(value: Any) -> Any:
    """JSON data: six digits of a number, null for what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | str | int):
        return value
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
