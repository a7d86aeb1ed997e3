"""What one call may cost, whatever a model wrote.

Owns: the limits, each with the reason for its size, and the one bounded check of a value's size. Refuses: limits that
a person would tune (messages, steps, shown characters: `episode.Rules`). These are far above anything in the
benchmark (the largest argument of its solutions has 300 characters, the largest result 32,000), so no legal result
depends on them; they only turn a hang or a lost worker into an error that the model reads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Size(NamedTuple):
    """How large a value may be, as `check_size` counts."""

    values: int
    """Numbers, texts, keys, lists and objects at all depths."""
    characters: int
    """Of all texts together, and bytes of all whole numbers."""
    depth: int
    """Levels of containers."""
    bits: int
    """Of one whole number."""


ARGUMENTS = Size(values=10_000, characters=100_000, depth=32, bits=14_300)
"""Of the arguments of one call, the tool's name included.

State is made of arguments: at this depth it stays far from Python's recursion limit when it is copied and compared.
14,300 bits are a little more than the 4,300 digits that Python reads and prints.
"""

RESULT = Size(values=100_000, characters=500_000, depth=64, bits=sys.maxsize)
"""Of a tool's return value, before it becomes text; the text has the same limit of characters.

Numbers of any size pass: Python itself refuses to print large ones, in words that the benchmark shows.
"""

SMALL_EPISODE = 20_000
"""Weight of all arguments of an episode up to which results are not measured before they become text.

Tools repeat what they were given, at worst a list of half this size in a thousand records.
"""

MATH_DIGITS = 1_000
"""Digits that `logarithm` and `square_root` may be asked for (7 ms, where 4,300 digits take 70), and characters of a
number that `logarithm` is given as text.
"""

EXPONENT_CHARACTERS = 12
"""Characters after the ``e`` of a number that `logarithm` is given as text."""

PRINTABLE_BITS = 14_285
"""A number of more bits has more than 4,300 digits, which Python refuses to print: `power` need not compute it."""

TREE_ENTRIES = 20_000
"""Entries that an episode may add to its file system, and that one walk over it may visit.

A directory copied into itself again and again is a small graph with exponentially many paths.
"""

TREE_CHARACTERS = 2_000_000
"""Characters of paths or of file contents that one walk over the file system may read."""

NAME_CHARACTERS = 1_000
"""Characters of one file or directory name."""

SHARED_MENTIONS = 1_000
"""Mentions of one tweet. Tweets can share the list, so that a few calls show it many times."""


_WORD = 2**63


class CostError(Exception):
    """A call would cost more than a limit of this module allows."""


def check_arguments(name: str, positional: Sequence[Any], arguments: Mapping[str, Any]) -> int:
    """Refuse a call whose arguments are too large; returns their weight, values and characters together.

    Raises:
        CostError: says which limit.
    """
    weight = len(name)
    values = (*arguments, *arguments.values(), *positional)
    for value in values:
        # Most arguments are short texts and small numbers, which need no more than this.
        kind = type(value)
        if kind is str:
            weight += len(value)
        elif kind is float or kind is bool or value is None or (kind is int and -_WORD < value < _WORD):
            weight += 1
        else:
            return check_size("the arguments", (name, *values), ARGUMENTS)
    if weight > ARGUMENTS.characters or len(values) > ARGUMENTS.values:
        return check_size("the arguments", (name, *values), ARGUMENTS)
    return weight


def check_size(what: str, roots: Iterable[Any], most: Size) -> int:
    """Refuse a value that is too large to work with, after looking at no more than the limits allow.

    Goes level by level, so that neither deep, cyclic nor shared structures can make it expensive. Objects of other
    types count as one value each.

    Args:
        what: names the value in the error, such as "the arguments".
        roots: the values, together.
        most: the limits.

    Returns:
        the number of values and of characters, together.

    Raises:
        CostError: says which limit.
    """
    values, characters, depth, bits = most
    level = roots
    while True:
        below: list[Any] = []
        for item in level:
            # Runs in every call: exact types first, the most frequent ones first.
            kind = type(item)
            values -= 1
            if kind is str:
                characters -= len(item)
            elif kind is float or kind is bool or item is None:
                continue
            elif kind is int:
                if item.bit_length() > bits:
                    raise CostError(f"{what} contain a number of more than {bits} bits")
                characters -= item.bit_length() >> 3
            elif isinstance(item, dict):
                if 2 * len(item) > values - len(below):
                    raise CostError(f"{what} contain more than {most.values} values")
                below += item
                below += item.values()
            elif isinstance(item, (list, tuple, set, frozenset)):
                if len(item) > values - len(below):
                    raise CostError(f"{what} contain more than {most.values} values")
                below += item
            elif isinstance(item, (str, bytes)):
                characters -= len(item)
        if values < 0:
            raise CostError(f"{what} contain more than {most.values} values")
        if characters < 0:
            raise CostError(f"{what} contain more than {most.characters} characters")
        if not below:
            return most.values - values + most.characters - characters
        if not depth:
            raise CostError(f"{what} are nested deeper than {most.depth} levels")
        depth -= 1
        level = below
