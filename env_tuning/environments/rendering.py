"""What a tool returned, as the text that a model reads and the judge compares.

Owns: `render`, and `FixedList` and `FixedText`: values that no episode can change and that are therefore written as
JSON only once, however many results contain them (one quote of a long-context task is 4,000 numbers). Refuses: limits
and errors (`environment.py`).
"""

from __future__ import annotations

import functools
import json
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]
from typing import Any


class FixedList(tuple[Any, ...]):
    """Numbers and texts that read like a list. Give it nothing that can change."""

    @functools.cached_property
    def json(self) -> str:
        """The list as JSON text."""
        return json.dumps(self)

    def __repr__(self) -> str:
        """A list's: this is what results print that have no JSON form."""
        return repr(list(self))


class FixedText(str):
    """A long text that is part of many results."""

    @functools.cached_property
    def json(self) -> str:
        """The text as JSON text."""
        return json.dumps(self)


_FIXED = frozenset({FixedList, FixedText})

# What json.dumps makes anew for every value. Without its check for cycles: they end in a RecursionError, and are
# printed by str like everything without a JSON form.
_encode = c_make_encoder(None, None, encode_basestring_ascii, None, ": ", ", ", False, False, True)


def render(value: Any) -> str:
    """A tool's return value as text: a text as it is, a dictionary as JSON if it has that form, the rest by `str`."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        try:
            return _to_json(value)
        # Not only TypeError and ValueError: a very deep value exhausts the encoder's stack.
        except Exception:
            return str(value)
    return str(value)


def _to_json(record: dict[Any, Any]) -> str:
    """What `json.dumps` gives."""
    if _FIXED.isdisjoint(map(type, record.values())):
        return "".join(_encode(record, 0))
    return f"{{{', '.join(_entry(key, value) for key, value in record.items())}}}"


def _entry(key: Any, value: Any) -> str:
    if type(value) in _FIXED and isinstance(key, str):
        return f"{encode_basestring_ascii(key)}: {value.json}"
    return "".join(_encode({key: value}, 0))[1:-1]
