"""The original's step codes, as a view on a trajectory.

Owns: `codes`, for comparison with the authors' numbers and for the conformance vectors. Nothing else in the project
reads or stores codes. -3 format error, -2 a call raised, -1 calls ran, 0 or 1 the verdict of the turn that the
message closed.
"""

from __future__ import annotations

from env_tuning.trajectory import StepOutcome, Trajectory

_CODES = {StepOutcome.FORMAT_ERROR: -3, StepOutcome.CALLS_FAILED: -2, StepOutcome.CALLS_OK: -1}


def codes(trajectory: Trajectory) -> list[int]:
    """One code per complete message; a message cut by a length limit has none."""
    verdicts = {verdict.turn: verdict.correct for verdict in trajectory.verdicts}
    return [
        int(verdicts[step.turn]) if step.closed_turn else _CODES[step.outcome]
        for step in trajectory.steps
        if step.outcome is not StepOutcome.CUT
    ]
