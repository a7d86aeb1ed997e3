"""`Environment`: the tool classes of one episode, behind one `call`.

Owns: dispatch over the allow-list, the text of errors, the limits on what a call may cost (`limits.py`), snapshots
across classes. Refuses: parsing model text, printing results (`rendering.py`), deciding which tools an episode may
see (`episode.py`), hints.
Behaviour of results and errors is at parity with bfcl_eval 2026.3.23 (see docs/parity.md).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from env_tuning.calls import ToolCall
from env_tuning.environments import limits
from env_tuning.environments.rendering import render
from env_tuning.environments.tool_class import ToolClass


class CallStatus(enum.Enum):
    """How a call ended."""

    OK = "ok"
    """The tool returned a value that is no error."""
    ERROR = "error"
    """The tool ran and returned ``{"error": ...}``: it understood the call and declined."""
    EXCEPTION = "exception"
    """The call could not run: unknown tool, wrong arguments, or the tool raised."""


class ToolResult(NamedTuple):
    """The raw text of a result, as the judge compares it, and how the call ended."""

    text: str
    status: CallStatus


class Environment:
    """The live tool classes of one episode. Single-use, and owned by one episode alone."""

    def __init__(self, tool_classes: Mapping[str, ToolClass]) -> None:
        """Bind the tools of every class; a name that two classes share is a `ValueError`."""
        self.tool_classes = dict(tool_classes)
        self._names = tuple(self.tool_classes)
        self._instances = tuple(self.tool_classes.values())
        self._tools = _dispatch(tuple(type(instance) for instance in self._instances))
        self._given = 0
        self._called: set[str] = set()
        self._differing: set[str] = set()

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Every callable tool, in class order."""
        return tuple(self._tools)

    def call(self, call: ToolCall) -> ToolResult:
        """Run one call. Never raises for what a model wrote: failures come back as text.

        Arguments and return value are measured here, once for all tools; what a small argument can make expensive
        is the tool's own to refuse.
        """
        try:
            self._given += limits.check_arguments(call.name, call.positional, call.arguments)
            bound = self._tools.get(call.name)
            if bound is None:
                return unknown_tool(call.name)
            function, position = bound
            self._called.add(self._names[position])
            value = function(self._instances[position], *call.positional, **call.arguments)
            # A result is made of the initial state and of arguments: while these are few, it cannot be too large.
            if self._given > limits.SMALL_EPISODE:
                limits.check_size("the results", (value,), limits.RESULT)
            text = render(value)
            if len(text) > limits.RESULT.characters:
                raise limits.CostError(f"the results contain more than {limits.RESULT.characters} characters")
        # Whatever a tool raises on model input is an observation, as in the benchmark. Running out of stack is too.
        except Exception as error:
            return ToolResult(f"Error during execution: {_message(error)}", CallStatus.EXCEPTION)
        failed = isinstance(value, dict) and "error" in value
        return ToolResult(text, CallStatus.ERROR if failed else CallStatus.OK)

    @property
    def waits(self) -> bool:
        """Whether a tool of a class may wait for something outside of this process."""
        return any(instance.waits for instance in self._instances)

    def end_episode(self) -> None:
        """Free what the classes hold outside of this process."""
        for instance in self._instances:
            instance.end_episode()

    def snapshot(self) -> dict[str, Any]:
        """Independent copies of every class's public state."""
        return {name: instance.snapshot() for name, instance in self.tool_classes.items()}

    def mismatches(self, snapshot: Mapping[str, Any], changed: Collection[str] | None = None) -> tuple[str, ...]:
        """Names of the classes whose public state differs from the snapshot.

        Args:
            snapshot: per class, of the reference.
            changed: the classes in which this snapshot differs from the one of the last comparison (from the initial
                state, at the first). The others are compared only if a tool of theirs was called since; None
                compares all.
        """
        for name, instance in self.tool_classes.items():
            if changed is None or name in changed or name in self._called:
                (self._differing.discard if instance.matches(snapshot[name]) else self._differing.add)(name)
        self._called.clear()
        return tuple(name for name in self._names if name in self._differing) if self._differing else ()


@functools.cache
def _dispatch(classes: tuple[type[ToolClass], ...]) -> Mapping[str, tuple[Callable[..., Any], int]]:
    """Tool name to its function and the position of its class; built once per combination of classes."""
    tools: dict[str, tuple[Callable[..., Any], int]] = {}
    for position, tool_class in enumerate(classes):
        for name, function in tool_class.tools.items():
            if name in tools:
                raise ValueError(f"two tool classes of one environment have a tool named {name!r}")
            tools[name] = (function, position)
    return MappingProxyType(tools)


def unknown_tool(name: str) -> ToolResult:
    """The result of calling a name that is no tool (the benchmark's wording, a Python NameError)."""
    return ToolResult(f"Error during execution: name '{name}' is not defined", CallStatus.EXCEPTION)


def _message(error: Exception) -> str:
    try:
        return str(error)[: limits.RESULT.characters]
    # The text of an error is made of what a tool raised it with, which may be impossible to print.
    except Exception:
        return type(error).__name__
