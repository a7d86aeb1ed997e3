"""Accuracy rewards: how many turns are right.

Owns: `progress` and `binary`. All turns of the task are in the denominator, also those that a limit cut off: an
average over the closed turns alone would pay a model for running into the limit.
"""

from __future__ import annotations

from env_tuning.trajectory import Trajectory


def progress(trajectory: Trajectory) -> dict[str, float]:
    """The share of turns judged correct, from 0 to 1 (arXiv 2510.10197, section 3.4)."""
    return {"score": trajectory.correct_turns / trajectory.turns}


def binary(trajectory: Trajectory) -> dict[str, float]:
    """1 when every turn is correct, else 0: the benchmark's own metric."""
    return {"score": float(trajectory.correct_turns == trajectory.turns)}
