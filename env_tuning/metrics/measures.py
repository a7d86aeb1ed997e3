"""The measures over many decisions: AST by category, relevance, irrelevance.

Owns: what a decision is, its category, and shares with their counts. Refuses: making decisions out of anybody's
records (`evaluation.recorded`, `evaluation.single_turn`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """What a measure is a share of."""

    SIMPLE = "simple"
    """AST: one call, of the only function there is."""
    MULTIPLE = "multiple"
    """AST: one call, of one among several functions."""
    PARALLEL = "parallel"
    """AST: several calls of one function."""
    PARALLEL_MULTIPLE = "parallel_multiple"
    """AST: several calls of several functions."""
    EXEC_EXACT = "exec_exact"
    EXEC_REAL_TIME = "exec_real_time"
    EXEC_STRUCTURAL = "exec_structural"
    RELEVANCE = "relevance"
    """Where a call is needed, whether there is any that can be read."""
    IRRELEVANCE = "irrelevance"
    """Where no call is needed, whether there is none."""

    @classmethod
    def of_calls(cls, names: Sequence[str], functions: int) -> Kind:
        """The AST category of the calls that are needed, by their names, with so many functions to choose from."""
        if len(names) == 1:
            return cls.SIMPLE if functions == 1 else cls.MULTIPLE
        return cls.PARALLEL if len({*names}) == 1 else cls.PARALLEL_MULTIPLE


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One thing that was right or wrong."""

    kind: Kind
    right: bool


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many were right, of how many."""

    right: int
    all: int

    @property
    def value(self) -> float:
        """From 0 to 1."""
        return self.right / self.all

    def as_dict(self) -> dict[str, float]:
        """The counts and their share, as files hold them."""
        return {"right": self.right, "all": self.all, "share": self.value}


def shares(decisions: Iterable[Decision]) -> dict[Kind, Share]:
    """The measures of which there is any decision, in the order of `Kind`."""
    found: dict[Kind, list[bool]] = {}
    for decision in decisions:
        found.setdefault(decision.kind, []).append(decision.right)
    return {kind: Share(right=sum(found[kind]), all=len(found[kind])) for kind in Kind if kind in found}


def needing(expects_calls: bool, called: bool) -> Decision:
    """The decision whether to call at all."""
    if expects_calls:
        return Decision(kind=Kind.RELEVANCE, right=called)
    return Decision(kind=Kind.IRRELEVANCE, right=not called)
