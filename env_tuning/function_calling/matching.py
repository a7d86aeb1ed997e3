"""How close calls are to the right ones.

Owns: equality of values as the benchmark's AST check sees it, the match of calls, and F1 of names. Refuses: parsing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from env_tuning.metrics.ast_match import plain_text
from env_tuning.metrics.values import alike, equal


class CallMatch(NamedTuple):
    """How a tool's calls compare with the right ones.

    `share` is the mean share of right arguments, over the larger number of calls: an invented call costs as much as a
    missing one.
    """

    share: float
    right: bool
    missing: int
    """Right calls that were not made."""
    wrong: int
    """Calls that are no right ones."""


def same_value(given: Any, right: Any) -> bool:
    """Whether two JSON values are the same: text without case, spaces and punctuation, 2 like 2.0, but not like "2"."""
    return alike(given, right, _same_single)


def _same_single(given: Any, right: Any) -> bool:
    if isinstance(given, str) and isinstance(right, str):
        return plain_text(given) == plain_text(right)
    return equal(given, right)


def argument_share(given: Mapping[str, Any], right: Mapping[str, Any]) -> float:
    """Right arguments over all that either has; 1 when there are none."""
    names = given.keys() | right.keys()
    hits = sum(name in given and same_value(given[name], value) for name, value in right.items())
    return hits / len(names) if names else 1.0


def match_calls(given: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> CallMatch:
    """Pair calls with right ones, best pairs first, whatever their order.

    Args:
        given: the arguments of the calls that were made.
        right: those of the right ones.
    """
    pairs = sorted(
        ((argument_share(one, other), -i, -j) for i, one in enumerate(given) for j, other in enumerate(right)),
        reverse=True,
    )
    taken_given: set[int] = set()
    taken_right: set[int] = set()
    total, exact = 0.0, 0
    for share, i, j in pairs:
        if i in taken_given or j in taken_right:
            continue
        taken_given.add(i)
        taken_right.add(j)
        total += share
        exact += share == 1.0
    longest = max(len(given), len(right))
    return CallMatch(
        share=total / longest if longest else 1.0,
        right=exact == longest,
        missing=len(right) - exact,
        wrong=len(given) - exact,
    )


def f1(given: Sequence[str], right: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of two sets of names; 1 when both are empty."""
    if not given and not right:
        return 1.0
    return 2 * len({*given} & {*right}) / (len({*given}) + len({*right}))
