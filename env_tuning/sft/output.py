"""The output folder of a run, and when a run has learned enough.

Owns: names of files, one line of JSON per event, boards, early stopping. Refuses: training, and whose folder it is
(`env_tuning.run_folder`).

Besides ``settings.json`` and ``metrics.jsonl`` there are ``checkpoints/`` (to resume from) and ``model/`` (the weights
with the lowest validation loss so far, as a Hugging Face folder).
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.verl_plugin.boards import boards_of
from env_tuning.verl_plugin.progress import PREFIX, read_events


@dataclass(frozen=True)
class RunFolder:
    """One run's files."""

    path: Path

    @property
    def settings(self) -> Path:
        """What the training processes read."""
        return self.path / "settings.json"

    @property
    def metrics(self) -> Path:
        """Events: ``step`` with ``loss``, or ``validation_loss``; resumed runs append."""
        return self.path / "metrics.jsonl"

    @property
    def model(self) -> Path:
        """The best weights so far."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """What a resumed run goes on from."""
        return self.path / "checkpoints"

    @property
    def summary(self) -> Path:
        """Written when the run has ended; its presence says so."""
        return self.path / "summary.json"

    def tell(self, step: int, **values: float) -> None:
        """Append an event and print its line."""
        rounded = {name: round(value, 5) for name, value in values.items()}
        with self.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **rounded}) + "\n")
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        print(f"{PREFIX}step {step}: {shown}", flush=True)

    def finish(self, *, best_step: int, best_loss: float, steps: int, conversations: int, seconds: float) -> None:
        """Write the summary of a run that has ended, and print it."""
        losses = [event["loss"] for event in read_events(self.metrics) if "loss" in event]
        summary = {
            "steps": steps,
            "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None,
            "best_step": best_step,
            "best_validation_loss": round(best_loss, 5),
            "seconds": round(seconds, 1),
            "conversations_per_second": round(conversations / seconds, 1) if seconds else None,
            "model": str(self.model),
        }
        replace_text(self.summary, json.dumps(summary, indent=2) + "\n")
        for name, value in summary.items():
            print(f"{PREFIX}{name.replace('_', ' ')}: {value}", flush=True)


def boards(environ: Mapping[str, str]) -> list[str]:
    """Where losses go besides the terminal, which `RunFolder.tell` writes to; the first process says what is missing.

    Args:
        environ: of one of torchrun's processes.
    """
    chosen = boards_of(None, environ, wandb_installed=importlib.util.find_spec("wandb") is not None)
    if chosen.warning and environ.get("RANK", "0") == "0":
        print(f"{PREFIX}warning: {chosen.warning}", flush=True)
    return [name for name in chosen.names if name != "console"]


@dataclass
class Patience:
    """Early stopping: how long the validation loss has not fallen.

    Attributes:
        limit: validations without a lower loss that end the run; 0: none does.
        best_loss: the lowest loss.
        best_step: where it was.
        without: validations since then.
    """

    limit: int
    best_loss: float = math.inf
    best_step: int = 0
    without: int = 0

    def see(self, step: int, loss: float) -> bool:
        """Take a validation; whether it is the best so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.without = loss, step, 0
            return True
        self.without += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether the run should end."""
        return 0 < self.limit <= self.without

    @classmethod
    def replayed(cls, limit: int, events: Iterable[dict[str, Any]], *, until: int) -> Patience:
        """What was known at a step of a run that is resumed there."""
        patience = cls(limit)
        for event in events:
            if "validation_loss" in event and event["step"] <= until:
                patience.see(event["step"], event["validation_loss"])
        return patience
