"""What one program may use, and how its run ended.

Owns: `Bounds`, `Ending`, `Run` and the text that a model reads of a run. Refuses: enforcing (`confinement.py`) and
running anything.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of one program.

    Attributes:
        wall_seconds: from its start to its end. A program that ignores the alarm is killed `GRACE_SECONDS` later.
        cpu_seconds: of all its threads together, counted anew for every program of a kept interpreter.
        memory_mib: address space beyond that of the interpreter with its preloaded modules.
        threads: threads of one interpreter, where the system counts them apart from other processes of the user.
        output_characters: of what it prints that are kept; the rest is counted and dropped.
        file_mib: size of one file in a scratch folder of its own; 0: no folder, and no file can be made or written.
    """

    wall_seconds: float = 5.0
    cpu_seconds: int = 5
    memory_mib: int = 512
    threads: int = 16
    output_characters: int = 10_000
    file_mib: int = 0

    def __post_init__(self) -> None:
        """Reject limits under which nothing can run."""
        for name in ("wall_seconds", "cpu_seconds", "memory_mib", "threads", "output_characters"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        if self.file_mib < 0:
            raise ValueError(f"file_mib is {self.file_mib!r}; it must be 0 or more")


GRACE_SECONDS = 1.0
"""What a program that ignores the alarm at the end of its time gets on top before it is killed."""


class Ending(enum.Enum):
    """How a run ended."""

    OK = "ok"
    """The program came to its end."""
    RAISED = "raised"
    """It raised an exception, or could not be compiled."""
    TIMEOUT = "timeout"
    """Its wall time was up."""
    CPU = "cpu"
    """Its CPU time was up."""
    DIED = "died"
    """The interpreter was lost: the program ended it, crashed it, or it was killed for want of memory."""


class Run(NamedTuple):
    """One run of a program."""

    ending: Ending
    output: str = ""
    """What it printed, cut at the limit."""
    dropped: int = 0
    """Characters that it printed beyond the limit."""
    error: str = ""
    """The traceback, or one sentence on what stopped it; empty for `Ending.OK`."""
    lost: bool = False
    """Whether the interpreter, and with it every variable, is gone."""

    def text(self, *, kept: bool) -> str:
        """What the model reads.

        Args:
            kept: whether variables last from call to call, so that their loss is worth a sentence.
        """
        parts = [self.output.rstrip("\n")] if self.output.strip() else []
        if self.dropped:
            parts.append(f"[{self.dropped} more characters were printed and dropped]")
        if self.error:
            parts.append(self.error)
        if self.lost and kept:
            parts.append("All variables are lost.")
        return "\n".join(parts) or "(The program printed nothing.)"
