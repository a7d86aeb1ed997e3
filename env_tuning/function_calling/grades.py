"""The grade of a message, as the trajectory carries it from the episode to the rewards.

Owns: `Grade`, its form in a trajectory (the raw result of the step's only call) and reading it back. Refuses: grading.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from env_tuning.trajectory import Trajectory


class Stage(enum.Enum):
    """What a message was asked for."""

    SELECT = "select_tools"
    FILL = "fill_parameters"
    ASK = "ask_user"


@dataclass(frozen=True, kw_only=True)
class Grade:
    """How good a message was.

    Attributes:
        stage: what it was asked for.
        share: 0 to 1: F1 of names, or the share of right arguments.
        right: whether nothing is missing, wrong or too much.
        partial: whether all it has is right, but something is missing.
        invented: names of tools that were not among the candidates.
        needed: of a selection, the name of the tool of every call that the request needs.
        candidates: of a selection, how many tools were shown.
    """

    stage: Stage
    share: float
    right: bool
    partial: bool = False
    invented: int = 0
    needed: tuple[str, ...] = ()
    candidates: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "stage": self.stage.value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Grade:
        """Inverse of `to_dict`."""
        return cls(**{**data, "stage": Stage(data["stage"]), "needed": tuple(data.get("needed", ()))})


def has_grades(trajectory: Trajectory) -> bool:
    """Whether it is an episode of this system with anything in it."""
    stages = {stage.value for stage in Stage}
    return any(call.name in stages for step in trajectory.steps for call in step.calls[:1])


def grades(trajectory: Trajectory) -> list[Grade]:
    """The grades of the closed turns, in order.

    Raises:
        ValueError: the trajectory is none of this system.
    """
    return [grade for grade, _ in read_grades(trajectory)]


def read_grades(trajectory: Trajectory) -> list[tuple[Grade, bool]]:
    """The grades of the closed turns, in order, and for each whether the message named or called anything.

    Raises:
        ValueError: the trajectory is none of this system.
    """
    records = [step.calls[0] for step in trajectory.steps if step.closed_turn and step.calls]
    if len(records) != len(trajectory.verdicts):
        raise ValueError(f"{trajectory.task_id} has no grades: this reward is for the interaction function_calling")
    try:
        return [
            (Grade.from_dict(json.loads(record.result or "")), any(map(record.arguments.get, ("names", "calls"))))
            for record in records
        ]
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"{trajectory.task_id} has no grades: this reward is for the interaction function_calling"
        ) from None
