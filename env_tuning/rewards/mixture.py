"""Weighted sums of rewards, written as text: ``0.9 progress + 0.1 format``.

Owns: the grammar and the sum. Refuses: knowing which rewards there are (`registry.py`).

    mixture = term { "+" term }
    term    = [ number [ "*" ] ] name
    name    = a registered name, or package.module:function
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from env_tuning.rewards.score import Score, as_score
from env_tuning.trajectory import Trajectory

_TERM = re.compile(
    r"(?:(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?)(?:\s*\*\s*|\s+))?(?P<name>[^\W\d][\w.]*(?::[\w.]+)?)"
)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One part of a mixture as it was written; the weight is None where none was."""

    weight: float | None
    name: str

    @property
    def label(self) -> str:
        """What its numbers are logged under: a registered name, or the name of the function."""
        return self.name.rpartition(":")[2]


def read_terms(text: str) -> tuple[Term, ...]:
    """The terms of a mixture, in order; a lone name is one term without a weight.

    Raises:
        ValueError: a term cannot be read, or two terms would be logged under one name; the message quotes the term.
    """
    terms = tuple(_read_term(part.strip(), text) for part in text.split("+"))
    label, count = Counter(term.label for term in terms).most_common(1)[0]
    if count > 1:
        raise ValueError(f"reward {text!r}: {label!r} stands in {count} terms, which could not be told apart in logs")
    return terms


def _read_term(part: str, text: str) -> Term:
    found = _TERM.fullmatch(part)
    if found is None:
        raise ValueError(
            f"reward {text!r}: cannot read {part!r}; write a name, or numbers and names as in 0.9 progress + 0.1 format"
        )
    weight = None if found["weight"] is None else float(found["weight"])
    return Term(weight=weight, name=found["name"])


@dataclass(frozen=True)
class Mixture:
    """A weighted sum, itself a reward: ``score = sum of weight * score``, and turn by turn the same.

    The numbers of every term are logged unweighted, as ``label/score`` and ``label/part``.
    """

    terms: Sequence[tuple[Term, Callable[[Trajectory], Mapping[str, float]]]]

    def __call__(self, trajectory: Trajectory) -> Score:
        """Score an episode."""
        scores = [
            (1.0 if term.weight is None else term.weight, term.label, as_score(reward(trajectory)))
            for term, reward in self.terms
        ]
        return Score(
            score=_sum(weight * score.score for weight, _, score in scores),
            turns=tuple(
                _sum(weight * amount for (weight, _, _), amount in zip(scores, amounts, strict=True))
                for amounts in zip_longest(*(score.turns for _, _, score in scores), fillvalue=0.0)
            ),
            parts={f"{label}/{name}": value for _, label, score in scores for name, value in score.items()},
        )


def _sum(values: Any) -> float:
    return math.fsum(values)
