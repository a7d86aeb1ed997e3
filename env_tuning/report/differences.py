"""Where two states differ, as few short lines.

Owns: walking two JSON-like values side by side, and excerpts of the values that differ. Refuses: knowing whose states
they are. Values are compared as the judge compares them, with ``==``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EXCERPT = 240
"""Characters that are shown of one value."""
_BEFORE = 40
"""Of them, at most so many before the first character that differs."""
_DEPTH = 80
"""Levels that are taken apart; what differs deeper is shown with all that is around it."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that differs.

    Attributes:
        where: the way to it, for example ``TicketAPI.ticket_queue[0].status``.
        expected: an excerpt of the reference's value as JSON; empty if the reference has none there.
        actual: the same of the episode.
    """

    where: str
    expected: str
    actual: str


def differences(where: str, expected: Any, actual: Any) -> Iterator[Difference]:
    """The innermost values that differ, in the order of the expected value.

    Lists are compared without their common beginning and end, so that one entry too many is one difference.
    """
    return _walk(where, expected, actual, _DEPTH)


class _Absent:
    """Stands for a value that one side has not."""


_ABSENT = _Absent()


def _walk(where: str, expected: Any, actual: Any, depth: int) -> Iterator[Difference]:
    if depth and isinstance(expected, dict) and isinstance(actual, dict):
        for key in dict.fromkeys([*expected, *actual]):
            place = f"{where}.{key}" if str(key).isidentifier() else f"{where}[{_json(key)}]"
            yield from _walk(place, expected.get(key, _ABSENT), actual.get(key, _ABSENT), depth - 1)
    elif depth and isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        yield from _walk_lists(where, expected, actual, depth)
    elif not (expected == actual):  # noqa: SIM201 (as the judge asks: == of odd types is no opposite of !=)
        yield _difference(where, expected, actual)


def _walk_lists(where: str, expected: Any, actual: Any, depth: int) -> Iterator[Difference]:
    first = _common(expected, actual)
    last = _common(expected[first:][::-1], actual[first:][::-1])
    middles = (side[first : len(side) - last] for side in (expected, actual))
    for number, (wanted, found) in enumerate(itertools.zip_longest(*middles, fillvalue=_ABSENT), first):
        yield from _walk(f"{where}[{number}]", wanted, found, depth - 1)


def _common(one: Any, other: Any) -> int:
    """How many leading items are equal."""
    return len(list(itertools.takewhile(bool, (a == b for a, b in zip(one, other, strict=False)))))


def _difference(where: str, expected: Any, actual: Any) -> Difference:
    wanted, found = _json(expected), _json(actual)
    start = max(0, _common(wanted, found) - _BEFORE) if max(len(wanted), len(found)) > EXCERPT else 0
    return Difference(where=where, expected=_excerpt(wanted, start), actual=_excerpt(found, start))


def _excerpt(text: str, start: int) -> str:
    part = text[start : start + EXCERPT]
    return ("…" if start and part else "") + part + ("…" if len(text) > start + EXCERPT else "")


def _json(value: Any) -> str:
    if value is _ABSENT:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # state of an author's class: keys that are no text, a cycle
        return repr(value)
