"""The stage-1 reward: does the model speak the protocol and write calls that run?

Owns: `format_reward`, its first half `well_formed`, and `format_reward_original` with the numbers of the authors' code.
Source: arXiv 2510.10197, equations 1 and 2. By design it knows nothing of success: one harmless call per turn earns
the maximum, so a stage that uses it needs an end (`curriculum`).
"""

from __future__ import annotations

from env_tuning.rewards.original import codes
from env_tuning.trajectory import StepOutcome, Trajectory


def format_reward(trajectory: Trajectory) -> dict[str, float]:
    """``score = is_tool_call * (format + tool_call)``, from 0 to 2.

    ``format`` is the share of messages that kept the protocol; a message cut by a length limit did not. ``tool_call``
    is the share of calling messages whose calls all ran. Without any executed call the score is 0.
    """
    outcomes = [step.outcome for step in trajectory.steps]
    broken = sum(outcome in (StepOutcome.FORMAT_ERROR, StepOutcome.CUT) for outcome in outcomes)
    ran = outcomes.count(StepOutcome.CALLS_OK)
    return _combine(len(outcomes), broken, ran, outcomes.count(StepOutcome.CALLS_FAILED))


def well_formed(trajectory: Trajectory) -> dict[str, float]:
    """The paper's ``R_format`` alone (equation 1), from 0 to 1: the share of messages that kept the protocol."""
    return {"score": format_reward(trajectory)["format"]}


def format_reward_original(trajectory: Trajectory) -> dict[str, float]:
    """The same formula over the original's step codes, in which a message that closes its turn has only a verdict."""
    listed = codes(trajectory)
    return _combine(len(listed), listed.count(-3), listed.count(-1), listed.count(-2))


def _combine(messages: int, broken: int, ran: int, failed: int) -> dict[str, float]:
    format_part = (messages - broken) / messages if messages else 0.0
    calling = ran + failed
    tool_part = ran / calling if calling else 0.0
    is_tool_call = float(calling > 0)
    return {
        "score": is_tool_call * (format_part + tool_part),
        "format": format_part,
        "tool_call": tool_part,
        "is_tool_call": is_tool_call,
    }
