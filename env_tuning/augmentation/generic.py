"""Hints that every environment has for free: unknown tools, and arguments that do not fit a tool's document.

Owns: what can be said from the visible documents and Python's own error texts. Refuses: knowing any tool.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from env_tuning.augmentation.rules import ErrorCategory, Failure, HintKind, HintRule, Text

_NAMES_SHOWN = 3
_NAMES_LISTED = 12
_NAME_CHARACTERS = 48
_ITEMS_CHECKED = 50
_NEAR = 0.4
_TRUST_IN_WORDS = 0.7
_MISSING = object()

Schema = Mapping[str, Any]


def quote(name: object) -> str:
    """A name that a model wrote, in backticks: one line, and not longer than names are."""
    text = " ".join(str(name)[: 2 * _NAME_CHARACTERS].split()).replace("`", "'")
    return f"`{text if len(text) <= _NAME_CHARACTERS else text[:_NAME_CHARACTERS] + '...'}`"


def _listed(names: Sequence[object]) -> str:
    """Documented names in backticks, separated by commas; of very many the first ones."""
    return f"`{'`, `'.join(map(str, names[:_NAMES_LISTED]))}`"


@functools.lru_cache(maxsize=1024)
def nearest(name: str, known: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The known tools that a wrong name may mean, best first; none if none is near.

    Args:
        name: what was called.
        known: name and description of every tool: a wrong name is misspelt, or says what the tool does.
    """
    pairs, words = _pairs(name), _words(name)
    scores = sorted(
        (-max(_likeness(pairs, _pairs(candidate)), _described_share(words, description)), candidate)
        for candidate, description in known
    )
    return tuple(candidate for score, candidate in scores[:_NAMES_SHOWN] if score <= -_NEAR)


@functools.lru_cache(maxsize=4096)
def _pairs(name: str) -> frozenset[str]:
    """The pairs of neighbouring letters of a name, whatever its case and its separators."""
    letters = re.sub(r"[\W_]", "", name.lower())
    return frozenset(map("".join, itertools.pairwise(letters)))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Dice's coefficient."""
    return 2 * len(one & other) / ((len(one) + len(other)) or 1)


_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SAY_NOTHING = frozenset(
    {"get", "set", "do", "run", "the", "to", "of", "in", "by", "for", "from", "with", "and", "all"}
)


def _words(name: str) -> tuple[str, ...]:
    """The words of a name that say something, in small letters."""
    found = (word.lower() for word in _WORD.findall(name))
    return tuple(dict.fromkeys(word for word in found if len(word) > 1 and word not in _SAY_NOTHING))


@functools.lru_cache(maxsize=1024)
def _beginnings(description: str) -> frozenset[str]:
    """All beginnings of the words of a description; the benchmark's start with what they say of the whole class."""
    words = _WORD.findall(description.rpartition("Tool description:")[2].lower())
    return frozenset(word[:end] for word in words for end in range(2, len(word) + 1))


def _described_share(words: tuple[str, ...], description: str) -> float:
    """How much of a name a description says, from 0 to 1; half of a name or less counts as nothing."""
    known = _beginnings(description)
    share = sum(word in known for word in words) / (len(words) or 1)
    return share * _TRUST_IN_WORDS if share > 0.5 else 0.0


_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "string": "a text in quotes",
        "integer": "a whole number without quotes",
        "number": "a number without quotes",
        "float": "a number without quotes",
        "boolean": "true or false without quotes",
        "array": "a list",
        "tuple": "a list",
        "object": "an object",
        "dict": "an object",
        "null": "null",
    }
)
_TYPES: Mapping[str, Any] = MappingProxyType(
    {
        "string": str,
        "integer": int,
        "number": (int, float),
        "float": (int, float),
        "boolean": bool,
        "array": list,
        "tuple": list,
        "object": dict,
        "dict": dict,
        "null": type(None),
    }
)


def fits(value: Any, schema: Any) -> bool:
    """Whether a value has the type that its schema asks for; a schema that says nothing takes everything."""
    if type(schema) is not dict and not isinstance(schema, Mapping):
        return True
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    if schema.get("enum"):
        return value in schema["enum"]
    kind = _TYPES.get(schema.get("type", ""))
    if kind is None:
        return True
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return False
    if not isinstance(value, list):
        return True
    items = schema.get("items")
    return items is None or all(fits(item, items) for item in value[:_ITEMS_CHECKED])


def _wanted(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_wanted(option) for option in schema["anyOf"]))
    if schema.get("enum"):
        return "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    words = _WORDS.get(str(schema.get("type")), "of another type")
    items = schema.get("items")
    if isinstance(items, Mapping) and (inner := _WORDS.get(str(items.get("type")))):
        return f"{words}, each item {inner}"
    return words


def well_typed(failure: Failure) -> bool:
    """Whether every documented argument has its type, so that something else must be wrong."""
    return _misfit(failure) is None


def _misfit(failure: Failure) -> tuple[str, Schema] | None:
    """The first documented parameter whose value has another type."""
    for name, schema in failure.properties.items():
        value = failure.arguments.get(name, _MISSING)
        if value is _MISSING or fits(value, schema):
            continue
        # The benchmark's documents write the default None as text, and do not say that null is allowed.
        if value is None and schema.get("default") in (None, "None") and name not in failure.required:
            continue
        return name, schema
    return None


def _unknown_tool(failure: Failure) -> str:
    known = tuple((doc.name, doc.description) for doc in failure.visible.values())
    near = nearest(failure.tool[:_NAME_CHARACTERS], known)
    if near:
        return f"There is no tool of that name. Similar ones in your list: {_listed(near)}. Check what they do first."
    return "There is no tool of that name. Use only the tools in your list, or say that none of them can do this."


def _unexpected_argument(failure: Failure) -> str | None:
    known = failure.properties
    # Python complains of the first one.
    wrong = next((name for name in failure.arguments if name not in known), None)
    if wrong is None:
        return None
    if not known:
        return "This tool takes no arguments at all; give it an empty object."
    listed = _listed(list(known))
    return f"{quote(wrong)} is no parameter of this tool. Its parameters are {listed}."


def _missing_argument(failure: Failure) -> str | None:
    missing = [name for name in failure.required if name not in failure.arguments]
    if not missing:
        return None
    return (
        f"Also give {_listed(missing)}. Take the value from the user's words or from an earlier "
        "result; if it is in neither, look for a tool that tells it, or ask."
    )


def _wrong_type(failure: Failure) -> str | None:
    found = _misfit(failure)
    return None if found is None else f"`{found[0]}` must be {_wanted(found[1])}."


_PLACEHOLDER = re.compile(r"(?:\$[A-Za-z_][\w.]*|\$?\{{1,2}[^{}]{1,60}\}{1,2}|<[\w .-]{1,60}>)", re.ASCII)
_OPENING = ("$", "{", "<")


def _placeholder(failure: Failure) -> str | None:
    for name, value in failure.arguments.items():
        if isinstance(value, str) and value[:1] in _OPENING and len(value) < 80 and _PLACEHOLDER.fullmatch(value):
            return (
                f"{quote(name)} holds a placeholder, and nothing is filled in for you. Make the call that tells the "
                "value first, read its result, and write the value itself in a later message."
            )
    return None


_ENUM = re.compile(r"\[Enum\]:\s*(?:\[([^\]]*)\]|([^.]*))")


@functools.lru_cache(maxsize=1024)
def _described(description: str) -> tuple[str, ...]:
    found = _ENUM.search(description)
    return tuple(part.strip(" \"'") for part in (found[1] or found[2]).split(",")) if found else ()


def documented_values(schema: Schema) -> tuple[Any, ...]:
    """The values that a parameter's document allows: an ``enum``, or the benchmark's ``[Enum]`` in its description."""
    return tuple(schema.get("enum") or _described(str(schema.get("description", ""))))


def documented(parameter: str, more: str = "") -> Text:
    """A text that repeats what the document of a parameter allows, and adds a sentence."""

    def write(failure: Failure) -> str | None:
        return spelled(tuple(map(str, documented_values(failure.properties.get(parameter, {})))))

    @functools.lru_cache(maxsize=64)
    def spelled(values: tuple[str, ...]) -> str:
        if not values:
            return f"Use one of the values that the description of `{parameter}` allows. {more}".rstrip()
        return f"`{parameter}` takes exactly one of these spellings: {_listed(values)}. {more}".rstrip()

    return write


UNKNOWN = (
    HintRule(
        name="generic.unknown_tool",
        pattern=r"^Error during execution: name '.*' is not defined$",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CORRECT_FORMAT,
        text=_unknown_tool,
    ),
)
"""For names that are no tools, or not yet."""

NAMES = (
    HintRule(
        name="generic.unexpected_argument",
        pattern=r"got an unexpected keyword argument",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text=_unexpected_argument,
    ),
    HintRule(
        name="generic.missing_argument",
        pattern=r"missing \d+ required",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text=_missing_argument,
    ),
)
"""For calls that Python could not make, because of the names of the arguments; before a tool's own rules."""

VALUES = (
    HintRule(
        name="generic.placeholder",
        pattern="",
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text=_placeholder,
    ),
    HintRule(
        name="generic.wrong_type",
        pattern="",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text=_wrong_type,
    ),
)
"""For arguments that cannot be right, whatever the error says; after a tool's own rules."""

LIMITS = (
    HintRule(
        name="generic.too_much",
        pattern=r"^Error during execution: "
        r"(?:the (?:arguments|results?|file system) |more than \d|too many |a (?:name of|number written) |precision)",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This call is too large to run. Use shorter texts and fewer items, or split the work over several calls.",
    ),
)
"""For calls that the environment refuses because of their cost (`environments/limits.py`)."""

RULES = (*NAMES, *VALUES, *LIMITS)
"""For every tool of every environment."""
