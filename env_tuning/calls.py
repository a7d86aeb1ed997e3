"""Tool calls and the literal parser for ground-truth strings such as ``sort('a')``.

Owns: `ToolCall`, the one representation of a call from any source, and `parse_call`, which reads a
Python-style call made of literals. Refuses: evaluating anything. A name, an attribute, an operator or
a nested call in a string is a `CallSyntaxError`, never code that runs.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

UNKNOWN_TOOL = "unknown tool"
WRONG_ARGUMENTS = "wrong arguments"
"""How the results of calls begin that a check against the tools' documents did not let run."""

MAX_CALL_CHARACTERS = 100_000


class CallSyntaxError(ValueError):
    """The text is not one call made of literals."""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of one tool.

    Attributes:
        name: the tool's name, as the model or the ground truth wrote it.
        arguments: keyword arguments, JSON-like values.
        positional: positional arguments; models have no way to write them, ground truth uses them.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()

    def __str__(self) -> str:
        """Render as Python source, the form `parse_call` reads back."""
        parts = [repr(value) for value in self.positional]
        parts += [f"{key}={value!r}" for key, value in self.arguments.items()]
        return f"{self.name}({', '.join(parts)})"


def parse_call(text: str) -> ToolCall:
    """Read ``name(1, key='value')`` into a `ToolCall`.

    Raises:
        CallSyntaxError: not a single call of a plain name with literal arguments.
    """
    if len(text) > MAX_CALL_CHARACTERS:
        raise CallSyntaxError(f"call of {len(text)} characters; the limit is {MAX_CALL_CHARACTERS}")
    text = text.strip()
    usual = _read_usual(text)
    return _read_any(text) if usual is None else usual


def _read_any(text: str) -> ToolCall:
    """The call, read with Python's own parser, which decides what a call is."""
    try:
        node = ast.parse(text, mode="eval").body
    # The parser itself gives up on deep nesting with the last two.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CallSyntaxError(f"not a call: {text[:80]!r} ({error})") from None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise CallSyntaxError(f"not a call of a plain name: {text[:80]!r}")
    try:
        positional = tuple(ast.literal_eval(argument) for argument in node.args)
        arguments = {_name_of(argument): ast.literal_eval(argument.value) for argument in node.keywords}
    # OverflowError: the sum of a huge whole number and an imaginary one.
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise CallSyntaxError(f"arguments are not literals: {text[:80]!r} ({error})") from None
    if len(arguments) < len(node.keywords):
        raise CallSyntaxError(f"an argument is given twice: {text[:80]!r}")
    return ToolCall(name=node.func.id, arguments=arguments, positional=positional)


def _name_of(argument: ast.keyword) -> str:
    if argument.arg is None:
        raise CallSyntaxError("** arguments are not literals")
    return argument.arg


# Nearly every call is a plain name with a few plain values. Read so, it takes a third of the time of Python's parser,
# which gets whatever is written otherwise: escapes, other forms of numbers, nested lists, comments.
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_PLAIN = """'[^']*'|"[^"]*"|-?(?:0|[1-9][0-9]{0,17})(?:\\.[0-9]{1,17})?|True|False|None"""
_LIST = rf"\[(?:(?:{_PLAIN})(?:, ?(?:{_PLAIN}))*)?\]"
_OPENING = re.compile(rf"({_NAME})\(")
_ARGUMENT = re.compile(rf"(?:({_NAME}) ?= ?)?(?:({_PLAIN})|({_LIST}))(?:, ?|\)\Z)")
_ITEM = re.compile(_PLAIN)
_CONSTANTS = MappingProxyType({"True": True, "False": False, "None": None})
_RESERVED = frozenset({*keyword.kwlist, "__debug__"})


def _read_usual(text: str) -> ToolCall | None:
    """The call, if it is written in the usual way; None for any other text, a call or not."""
    if not text.isascii() or not text.isprintable() or "\\" in text or text[-1:] != ")":
        return None
    opening = _OPENING.match(text)
    if opening is None or opening[1] in _RESERVED:
        return None
    positional: list[Any] = []
    arguments: dict[str, Any] = {}
    position, end = opening.end(), len(text)
    if position == end - 1:
        position = end
    while position < end:
        found = _ARGUMENT.match(text, position)
        if found is None:
            return None
        name, plain, items = found.groups()
        value = _plain(plain) if plain else [_plain(item) for item in _ITEM.findall(items)]
        if name is None:
            if arguments:
                return None
            positional.append(value)
        elif name in arguments or name in _RESERVED:
            return None
        else:
            arguments[name] = value
        position = found.end()
    return ToolCall(name=opening[1], arguments=arguments, positional=tuple(positional))


def _plain(literal: str) -> str | float | bool | None:
    if literal[0] in "'\"":
        return literal[1:-1]
    if literal in _CONSTANTS:
        return _CONSTANTS[literal]
    return float(literal) if "." in literal else int(literal)
