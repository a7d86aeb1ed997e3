"""What an episode of the function-calling system is worth.

Owns: the dense default and the table of the system's origin, as pure functions of a trajectory, paid turn by turn.
Refuses: grading messages (`episode`). Use them as ``env_tuning.reward=env_tuning.function_calling.rewards:dense``.
"""

from __future__ import annotations

from env_tuning.function_calling.grades import Grade, Stage, grades
from env_tuning.rewards.score import Score
from env_tuning.trajectory import Trajectory

_SUCCESS = 0.5


def dense(trajectory: Trajectory) -> Score:
    """Between 0 and 1: half for the mean share of the turns (F1 of names, right arguments), half for success.

    The mean is over the turns of a perfect episode, so that ending early never pays. Success is that all of them are
    right; it is paid with the last.
    """
    graded = grades(trajectory)
    success = is_success(trajectory)
    turns = [(1 - _SUCCESS) * grade.share / trajectory.turns for grade in graded]
    if success:
        turns[-1] += _SUCCESS
    return Score(score=sum(turns), turns=tuple(turns), parts=parts(graded, success))


def origin(trajectory: Trajectory) -> Score:
    """The table of the system's origin.

    Selection: 1 if right, -0.5 if only something is missing, else -1. Filling a tool: 1 if right, else -1. The first
    error ends the count. An episode without one gets 2 / messages more at its end. Choosing no tool where none suits,
    and questions, of which the table knows nothing, count like selection and filling. Play it with
    ``stop_at_error: true``.
    """
    graded = grades(trajectory)
    success = is_success(trajectory)
    turns = []
    for grade in graded:
        partial = grade.stage is Stage.SELECT and grade.partial
        turns.append(1.0 if grade.right else -0.5 if partial else -1.0)
        if not grade.right:
            break
    if success:
        turns[-1] += 2.0 / len(graded)
    return Score(score=sum(turns), turns=tuple(turns), parts=parts(graded, success))


def is_success(trajectory: Trajectory) -> bool:
    """Whether every turn of a perfect episode was reached and is right."""
    return trajectory.correct_turns == trajectory.turns


def parts(graded: list[Grade], success: bool) -> dict[str, float]:
    """Numbers to log; a stage that the episode never reached is 0 there."""
    numbers = {"success": float(success), "invented_tools": float(sum(grade.invented for grade in graded))}
    for name, stage in (("selection", Stage.SELECT), ("filling", Stage.FILL), ("questioning", Stage.ASK)):
        shares = [grade.share for grade in graded if grade.stage is stage]
        numbers[name] = sum(shares) / len(shares) if shares else 0.0
    return numbers
