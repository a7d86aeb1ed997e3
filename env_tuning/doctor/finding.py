"""`Finding`: one thing that is wrong, which key it is about, and what to set instead.

Owns: the record and its one line. Refuses: finding anything.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """What is done about a finding."""

    ERROR = "error"
    """The run would fail, hang or train on something else than it says: it is not started."""
    WARNING = "warning"
    """The run does what it says, but perhaps not what was meant."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        key: the setting, in Hydra's dotted form, or what else is to be changed.
        problem: what is wrong, with the values that make it wrong.
        fix: what to do; empty where the problem's words end with it.
        severity: whether it stops the run.
        rule: which rule found it; `examine` fills it in. ``env_tuning.accept`` lists such names.
    """

    key: str
    problem: str
    fix: str = ""
    severity: Severity = Severity.ERROR
    rule: str = ""

    @property
    def line(self) -> str:
        """Problem and fix as one line."""
        return f"{self.problem}; {self.fix}" if self.fix else self.problem


def said_by(error: Exception, key: str) -> Finding:
    """What another room's error says; its message names the fix."""
    return Finding(key=key, problem=" ".join(str(error).split()))
