"""JSON values compared place by place.

Owns: walking two values together, and equality of single ones. Refuses: what else may count as the same (`executed`,
`function_calling.matching`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def alike(given: Any, right: Any, same: Callable[[Any, Any], bool]) -> bool:
    """Whether two values have the same places, and single values that are the same in all of them.

    Args:
        given: the value.
        right: what it should be.
        same: of two values, the second of which holds no others.
    """
    if isinstance(right, Mapping):
        return (
            isinstance(given, Mapping)
            and given.keys() == right.keys()
            and all(alike(given[name], value, same) for name, value in right.items())
        )
    if isinstance(right, Sequence) and not isinstance(right, str):
        return (
            isinstance(given, Sequence)
            and not isinstance(given, str)
            and len(given) == len(right)
            and all(alike(one, other, same) for one, other in zip(given, right, strict=True))
        )
    return same(given, right)


def equal(given: Any, right: Any) -> bool:
    """Whether two single values are the same: 2 like 2.0, but not like true or "2"."""
    return is_number(given) is is_number(right) and bool(given == right)


def is_number(value: Any) -> bool:
    """Whether it is a number of JSON, which true is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
