"""What a hint must not say: the solution, and what the task keeps from the model.

Owns: the check of one hint's text against a task. Refuses: judging whether a hint helps. A value counts as known when
the documents of the visible tools hold it (in whatever listing the model reads them), or something it was told, or its
own call. Words are compared whole; a ground-truth value that is a common word counts like any other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from env_tuning.calls import parse_call
from env_tuning.environments.registry import TOOL_CLASSES, tool_class
from env_tuning.task import Task

_CALL = re.compile(r"(\w+)\s*\(")
_JSON_CALL = re.compile(r'"(?:name|arguments)"\s*:')


class LeakCheck:
    """The check for one task; made once, since a task's solution has to be read for it."""

    def __init__(self, task: Task) -> None:
        """Read the solution's calls and values, and the names of all tools there are."""
        self._task = task
        calls = [parse_call(text) for turn in task.ground_truth for text in turn]
        self._calls = [
            (call.name, tuple(argument_values((*call.positional, *call.arguments.values())))) for call in calls
        ]
        self._values = sorted({value for _, values in self._calls for value in values})
        self._own = frozenset(tool.name for tool in task.tools)
        self._tools = self._own | _all_tools()
        self._documents: dict[int, str] = {}

    def violations(self, text: str, turn: int, seen: Iterable[str]) -> tuple[str, ...]:
        """Why a hint must not be shown; empty if it may be.

        Args:
            text: the hint.
            turn: when it would be shown.
            seen: what the model was told (requests up to this turn, results) and wrote (its own call), as texts. The
                documents of visible tools need not be among them.
        """
        return tuple(self._violations(text, turn, seen))

    def _violations(self, text: str, turn: int, seen: Iterable[str]) -> Iterator[str]:
        held_back = self._task.held_back(turn)
        for name in sorted(held_back):
            if holds(text, name):
                yield f"names {name!r}, which the task holds back at turn {turn}"
        for name in sorted(self._tools - self._own):
            if name in text and names_tool(text, name):
                yield f"names {name!r}, which the task does not have"
        told: tuple[str, ...] | None = None
        for value in self._values:
            if not holds(text, value):
                continue
            told = (*seen, self._visible_documents(turn)) if told is None else told
            if not any(holds(part, value) for part in told):
                yield f"contains {value!r}, a value of the solution that the model has not seen"
        yield from self._complete_calls(text)

    def _complete_calls(self, text: str) -> Iterator[str]:
        for found in _CALL.finditer(text):
            if found[1] in self._tools:
                yield f"writes a call of {found[1]!r}"
        if _JSON_CALL.search(text):
            yield "writes a call as JSON"
        for name, values in self._calls:
            # A full stop is in every sentence, and also a path.
            written = [value for value in values if any(map(str.isalnum, value))]
            if written and names_tool(text, name) and all(holds(text, value) for value in values):
                yield f"gives away the solution's call of {name!r}"

    def _visible_documents(self, turn: int) -> str:
        if turn not in self._documents:
            self._documents[turn] = "\n".join(tool.json for tool in self._task.visible_tools(turn)).casefold()
        return self._documents[turn]


def leaks(text: str, task: Task, turn: int, seen: Sequence[str]) -> tuple[str, ...]:
    """`LeakCheck.violations` for a single hint."""
    return LeakCheck(task).violations(text, turn, seen)


def argument_values(arguments: Iterable[Any]) -> Iterator[str]:
    """Every text and number in a call's arguments, as it would stand in a sentence."""
    for argument in arguments:
        if isinstance(argument, bool) or argument is None:
            continue
        if isinstance(argument, Mapping):
            yield from argument_values(argument.values())
        elif isinstance(argument, list | tuple):
            yield from argument_values(argument)
        elif isinstance(argument, float) and argument.is_integer():
            yield str(int(argument))
        elif text := str(argument).strip().casefold():
            yield text


def holds(text: str, word: str) -> bool:
    """Whether a text holds a word or phrase as a whole, in any case."""
    start = (folded := text.casefold()).find(word := word.casefold())
    while start >= 0:
        end = start + len(word)
        before, after = folded[start - 1 : start] if start else "", folded[end : end + 1]
        # Part of a longer word or number is something else.
        if not (_joins(before) and _joins(word[:1])) and not (_joins(after) and _joins(word[-1:])):
            return True
        start = folded.find(word, start + 1)
    return False


def _joins(character: str) -> bool:
    return character.isalnum() or character == "_"


def names_tool(text: str, tool: str) -> bool:
    """Whether a text means the tool: some tools are called by common words, and then only code counts."""
    if "_" in tool or tool != tool.lower():
        return holds(text, tool)
    return f"`{tool}`" in text or f"'{tool}'" in text or re.search(rf"\b{re.escape(tool)}\s*\(", text) is not None


@functools.cache
def _all_tools() -> frozenset[str]:
    return frozenset(tool for name in TOOL_CLASSES for tool in tool_class(name).tools)
