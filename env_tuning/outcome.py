"""How a run ended: ``outcome.json`` of its output folder, there only when training ended regularly.

Owns: the record, how it follows from the run's events and checkpoints, and whether it still holds when the same command
is given again. Refuses: deciding that training ends
(`curriculum.gate`, the trainer), verl imports. A run that was killed or failed has no outcome and is continued.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.curriculum import checkpoints
from env_tuning.curriculum.gate import Decision, GateSettings, Verdict, best_step, history
from env_tuning.verl_plugin.progress import validations

OUTCOME_FILE = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a run.

    Attributes:
        step: the last update.
        total: updates that the configuration allowed.
        decision: why it ended. Without a gate the verdict is ``budget``: all steps are done.
        best_step: the validated step with the highest accuracy, None without a validation.
        checkpoint: what to go on from, relative to the output folder if it lies there: the best one after a
            ``fall_back``, else the last one; None if the run never saved.
        checkpoint_step: the update that checkpoint was saved after.
        last_validation: the means of the last validation.
        best_validation: the means at `best_step`.
    """

    step: int
    total: int
    decision: Decision
    best_step: int | None = None
    checkpoint: str | None = None
    checkpoint_step: int | None = None
    last_validation: Mapping[str, Any] | None = None
    best_validation: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {**asdict(self), "decision": self.decision.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outcome:
        """Inverse of `to_dict`."""
        return cls(**{**data, "decision": Decision.from_dict(data["decision"])})


def conclude(
    events: Iterable[Mapping[str, Any]],
    metric: str,
    decision: Decision | None,
    *,
    step: int,
    total: int,
    output: Path,
    saves: Path,
    best: Path,
) -> Outcome:
    """The outcome of a run that ended after `step`.

    Args:
        events: of its ``progress.jsonl``.
        metric: what its validations are judged by.
        decision: the gate's, None if the steps ran out.
        step: the last update.
        total: updates that the configuration allowed.
        output: the run's output folder.
        saves: the folder of its checkpoints.
        best: the folder of its best checkpoint.
    """
    events = list(events)
    measured = validations(events)
    best_one = best_step(history(events, metric))
    if decision is None:
        reason = f"all {step} steps are done"
        decision = Decision(verdict=Verdict.BUDGET, reason=reason, step=step, best_step=best_one)
    checkpoint = _checkpoint_of(decision, saves, best)
    return Outcome(
        step=step,
        total=total,
        decision=decision,
        best_step=best_one,
        checkpoint=None if checkpoint is None else _relative(checkpoint, output),
        checkpoint_step=None if checkpoint is None else checkpoints.step_of(checkpoint),
        last_validation=measured[max(measured)] if measured else None,
        best_validation=None if best_one is None else measured[best_one],
    )


def _checkpoint_of(decision: Decision, saves: Path, best: Path) -> Path | None:
    """The best checkpoint after a fall-back, else the last one; the last one, too, where the best was lost."""
    if decision.verdict is Verdict.FALL_BACK and decision.best_step is not None:
        found = checkpoints.find(decision.best_step, best, saves)
        if found is not None:
            return found
    steps = checkpoints.complete_steps(saves)
    return checkpoints.checkpoint_folder(saves, steps[-1]) if steps else None


def _relative(folder: Path, output: Path) -> str:
    return str(folder.relative_to(output) if folder.is_relative_to(output) else folder)


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome of a run's output folder; None if it has not ended regularly."""
    try:
        return Outcome.from_dict(json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Put the outcome into a run's output folder."""
    replace_text(folder / OUTCOME_FILE, json.dumps(outcome.to_dict(), indent=1) + "\n")


def discard_outcome(folder: Path) -> None:
    """Forget that a run had ended."""
    (folder / OUTCOME_FILE).unlink(missing_ok=True)


def step_limit(total: int, gate: GateSettings | None) -> int:
    """How many updates a run may make: its configured steps, or the budget of its gate if that is less."""
    return min(total, gate.budget_steps) if gate is not None and gate.budget_steps is not None else total


def still_holds(outcome: Outcome, limit: int) -> bool:
    """Whether a run that may make `limit` updates has nothing left to do.

    A gate's advance or fall-back stands. A spent budget is no longer spent when it has grown.
    """
    return outcome.decision.verdict in (Verdict.ADVANCE, Verdict.FALL_BACK) or limit <= outcome.step
