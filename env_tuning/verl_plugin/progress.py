"""What a training process tells while it runs: lines for people, records for programs.

Owns: one line of text per event behind a fixed prefix, which the launcher copies from the log to the terminal, and
the same event as one JSON line in ``progress.jsonl`` of the output folder. Refuses: verl imports, and deciding what
is worth telling (`trainer`).

Events: ``start``, ``ready`` (seconds to get there), ``validation`` (step, score and parts), ``step`` (step, total,
reward and parts, tokens, seconds, timings), ``checkpoint`` (step, path), ``done``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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
        """Print the event's line and append its record."""
        record = {"event": event, **{name: _plain(value) for name, value in values.items()}}
        print(PREFIX + line(record), flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def line(record: Mapping[str, Any]) -> str:
    """An event as text, for example ``step 3/80: reward 0.412, format 0.61, ... (3.2 s)``."""
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
        case "done":
            return "done"
        case _:
            return f"{event}: {numbers}"


def _short(number: float) -> str:
    if isinstance(number, int) or abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3f}" if abs(number) < 10 else f"{number:.1f}"


def _plain(value: Any) -> Any:
    """JSON data: six digits of a number, null for what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | str | int):
        return value
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
