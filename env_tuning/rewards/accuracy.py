"""Accuracy rewards: how many turns are right.

Owns: `progress`, `binary`, and `progress_original` with the numbers of the authors' code. All turns of the task are
in the denominator, also those that a limit cut off: an average over the closed turns alone, which is the original's,
pays a model for running into the limit.
"""

from __future__ import annotations

from env_tuning.rewards.score import Score
from env_tuning.trajectory import Trajectory


def progress(trajectory: Trajectory) -> Score:
    """``score = correct turns / turns``, from 0 to 1 (arXiv 2510.10197, section 3.4); each correct turn earns 1/T."""
    return _share(trajectory, trajectory.turns)


def progress_original(trajectory: Trajectory) -> Score:
    """``score = correct turns / closed turns``, 0 if none was closed: ``n(1) / (n(0) + n(1))`` of `original.codes`.

    For comparison with the authors' numbers, not for training: one right turn and a cut earn 1.
    """
    return _share(trajectory, len(trajectory.verdicts))


def binary(trajectory: Trajectory) -> dict[str, float]:
    """1 when every turn is correct, else 0: the benchmark's own metric. No turn earns anything by itself."""
    return {"score": float(trajectory.correct_turns == trajectory.turns)}


def _share(trajectory: Trajectory, turns: int) -> Score:
    """Correct turns as a share of `turns`, earned turn by turn."""
    earned = [0.0] * trajectory.turns
    for verdict in trajectory.verdicts:
        earned[verdict.turn] = verdict.correct / turns
    return Score(score=trajectory.correct_turns / turns if turns else 0.0, turns=tuple(earned))
