"""What is counted of every episode, whatever its reward: the metrics of training and validation.

Owns: `episode_numbers` and the names under which it and a reward's parts are logged together. Refuses: averaging.
"""

from __future__ import annotations

from collections.abc import Mapping

from env_tuning.augmentation.metrics import hint_numbers
from env_tuning.rewards.format import format_reward
from env_tuning.trajectory import LimitHit, StopReason, Trajectory

_OF_VERL = frozenset({"reward"})
"""What verl's `_validate` logs itself; a part of this name would double its list."""


def episode_numbers(trajectory: Trajectory) -> dict[str, float]:
    """Every key is there for every episode, so that means over episodes are shares.

    ``turns`` (closed ones), ``steps``, ``coverage`` (closed turns of all), ``correct_turns`` (of all), ``all_correct``,
    ``truncated`` (a limit or an abort cut the episode), the parts of the format reward (``format``, ``tool_call``,
    ``is_tool_call``), ``hints`` (hints shown; by category ``hints/*``), ``stop/*`` (why it ended) and ``limit/*``
    (messages that hit a limit).
    """
    closed, steps = len(trajectory.verdicts), trajectory.steps
    parts = format_reward(trajectory)
    return {
        "turns": float(closed),
        "steps": float(len(steps)),
        "coverage": closed / trajectory.turns,
        "correct_turns": trajectory.correct_turns / trajectory.turns,
        "all_correct": float(trajectory.correct_turns == trajectory.turns),
        "truncated": float(trajectory.stop.is_truncated),
        **{name: parts[name] for name in ("format", "tool_call", "is_tool_call")},
        **hint_numbers(trajectory),
        **{f"stop/{reason.value}": float(trajectory.stop is reason) for reason in StopReason},
        **{f"limit/{hit.value}": float(sum(hit in step.limits for step in steps)) for hit in LimitHit},
    }


def logged_numbers(score: Mapping[str, float], trajectory: Trajectory) -> dict[str, float]:
    """A reward's numbers and the episode's, under names that stay apart.

    A part whose name the episode's numbers or verl use is logged as ``reward/name``.
    """
    numbers = episode_numbers(trajectory)
    taken = numbers.keys() | _OF_VERL
    return {**{f"reward/{name}" if name in taken else name: value for name, value in score.items()}, **numbers}
