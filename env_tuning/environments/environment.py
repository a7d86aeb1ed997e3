"""`Environment`: the tool classes of one episode, behind one `call`.

Owns: dispatch over the allow-list, the text of results and errors, the limits on what a call may cost
(`limits.py`), snapshots across classes. Refuses: parsing model text, deciding which tools an episode may see
(`episode.py`), hints.
Behaviour of results and errors is at parity with bfcl_eval 2026.3.23 (see docs/parity.md).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from env_tuning.calls import ToolCall
from env_tuning.environments import limits
from env_tuning.environments.tool_class import ToolClass


class CallStatus(enum.Enum):
    """How a call ended."""

    OK = "ok"
    """The tool returned a value that is no error."""
    ERROR = "error"
    """The tool ran and returned ``{"error": ...}``: it understood the call and declined."""
    EXCEPTION = "exception"
    """The call could not run: unknown tool, wrong arguments, or the tool raised."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The raw text of a result, as the judge compares it, and how the call ended."""

    text: str
    status: CallStatus


class Environment:
    """The live tool classes of one episode. Single-use, and owned by one episode alone."""

    def __init__(self, tool_classes: Mapping[str, ToolClass]) -> None:
        """Bind the tools of every class; a name that two classes share is a `ValueError`."""
        self.tool_classes = dict(tool_classes)
        self._tools: dict[str, tuple[Callable[..., Any], ToolClass]] = {}
        for instance in self.tool_classes.values():
            for name, function in instance.tools.items():
                if name in self._tools:
                    raise ValueError(f"two tool classes of one environment have a tool named {name!r}")
                self._tools[name] = (function, instance)

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
            arguments = call.arguments
            limits.check_size(
                "the arguments",
                (call.name, *call.positional, *arguments, *arguments.values()),
                limits.ARGUMENTS,
            )
            bound = self._tools.get(call.name)
            if bound is None:
                return unknown_tool(call.name)
            function, instance = bound
            value = function(instance, *call.positional, **arguments)
            text = _bounded(value)
        # Whatever a tool raises on model input is an observation, as in the benchmark. Running out of stack is too.
        except Exception as error:
            return ToolResult(f"Error during execution: {_message(error)}", CallStatus.EXCEPTION)
        failed = isinstance(value, dict) and "error" in value
        return ToolResult(text, CallStatus.ERROR if failed else CallStatus.OK)

    def snapshot(self) -> dict[str, Any]:
        """Independent copies of every class's public state."""
        return {name: instance.snapshot() for name, instance in self.tool_classes.items()}

    def mismatches(self, snapshot: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the classes whose public state differs from the snapshot."""
        return tuple(name for name, instance in self.tool_classes.items() if not instance.matches(snapshot[name]))


def unknown_tool(name: str) -> ToolResult:
    """The result of calling a name that is no tool (the benchmark's wording, a Python NameError)."""
    return ToolResult(f"Error during execution: name '{name}' is not defined", CallStatus.EXCEPTION)


def render(value: Any) -> str:
    """A tool's return value as the text a model reads and the judge compares."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        # Not only TypeError and ValueError: a very deep value exhausts the encoder's stack.
        except Exception:
            return str(value)
    return str(value)


def _bounded(value: Any) -> str:
    """`render`, of a value and to a text of bounded size."""
    limits.check_size("the results", (value,), limits.RESULT)
    text = render(value)
    if len(text) > limits.RESULT.characters:
        raise limits.CostError(f"the results contain more than {limits.RESULT.characters} characters")
    return text


def _message(error: Exception) -> str:
    try:
        return str(error)[: limits.RESULT.characters]
    # The text of an error is made of what a tool raised it with, which may be impossible to print.
    except Exception:
        return type(error).__name__
