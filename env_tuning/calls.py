"""Tool calls and the literal parser for ground-truth strings such as ``sort('a')``.

Owns: `ToolCall`, the one representation of a call from any source, and `parse_call`, which reads a
Python-style call made of literals. Refuses: evaluating anything. A name, an attribute, an operator or
a nested call in a string is a `CallSyntaxError`, never code that runs.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    try:
        node = ast.parse(text.strip(), mode="eval").body
    # The parser itself gives up on deep nesting with the last two.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CallSyntaxError(f"not a call: {text[:80]!r} ({error})") from None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise CallSyntaxError(f"not a call of a plain name: {text[:80]!r}")
    try:
        positional = tuple(ast.literal_eval(argument) for argument in node.args)
        arguments = {_keyword(keyword): ast.literal_eval(keyword.value) for keyword in node.keywords}
    # OverflowError: the sum of a huge whole number and an imaginary one.
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise CallSyntaxError(f"arguments are not literals: {text[:80]!r} ({error})") from None
    if len(arguments) < len(node.keywords):
        raise CallSyntaxError(f"an argument is given twice: {text[:80]!r}")
    return ToolCall(name=node.func.id, arguments=arguments, positional=positional)


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise CallSyntaxError("** arguments are not literals")
    return keyword.arg
