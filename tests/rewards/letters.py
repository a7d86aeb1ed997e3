"""Trajectories written as letters, for tests of rewards."""

from __future__ import annotations

from env_tuning.trajectory import StepOutcome, StepRecord, StopReason, Trajectory, TurnVerdict

LETTERS = {
    "f": StepOutcome.FORMAT_ERROR,
    "c": StepOutcome.CALLS_OK,
    "x": StepOutcome.CALLS_FAILED,
    "a": StepOutcome.ANSWER,
    "r": StepOutcome.CALLS_REFUSED,
    "l": StepOutcome.CUT,
}


def episode(outcomes: str, verdicts: str = "", turns: int = 3, stop: StopReason = StopReason.COMPLETED) -> Trajectory:
    """Steps as letters; a capital letter is a step that closed its turn; verdicts as 0 and 1."""
    steps, turn = [], 0
    for letter in outcomes:
        closed = letter.isupper() or letter in "ar"
        steps.append(StepRecord(turn=turn, text="", outcome=LETTERS[letter.lower()], closed_turn=closed))
        turn += closed
    return Trajectory(
        task_id="t",
        split="s",
        turns=turns,
        steps=tuple(steps),
        verdicts=tuple(TurnVerdict(turn=at, correct=mark == "1") for at, mark in enumerate(verdicts)),
        stop=stop,
    )
