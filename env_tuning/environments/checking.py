"""Calls checked against the tools' documents before they run.

Owns: `CheckedEnvironment`, and what is wrong with arguments, in one line. Refuses: benchmarks whose own classes answer
wrong arguments in their own words (`Environment`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from env_tuning.calls import UNKNOWN_TOOL, WRONG_ARGUMENTS, ToolCall
from env_tuning.environments import limits
from env_tuning.environments.environment import CallStatus, Environment, ToolResult
from env_tuning.environments.tool_class import ToolClass
from env_tuning.task import ToolDoc


class CheckedEnvironment(Environment):
    """An environment whose tools get only arguments that their documents allow."""

    def __init__(self, tool_classes: Mapping[str, ToolClass], tools: Sequence[ToolDoc]) -> None:
        """Bind the tools that are documented; others do not exist."""
        super().__init__(tool_classes)
        self._documents = {tool.name: tool for tool in tools}

    def call(self, call: ToolCall) -> ToolResult:
        """Run one call, or say what is wrong with it."""
        document = self._documents.get(call.name)
        if document is None:
            known = ", ".join(self._documents)
            return ToolResult(f"{UNKNOWN_TOOL}: {call.name[:80]}; there are {known}", CallStatus.EXCEPTION)
        try:
            limits.check_arguments(call.name, call.positional, call.arguments)
        except limits.CostError as error:
            return ToolResult(f"{WRONG_ARGUMENTS}: {error}", CallStatus.EXCEPTION)
        fault = argument_fault(document, call.arguments)
        return super().call(call) if fault is None else ToolResult(f"{WRONG_ARGUMENTS}: {fault}", CallStatus.EXCEPTION)


def argument_fault(tool: ToolDoc, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments of a call, in one line; None if nothing is."""
    properties = tool.parameters.get("properties", {})
    if unknown := [name for name in arguments if name not in properties]:
        return f"{tool.name} has no parameter {unknown[0][:80]!r}; it has {', '.join(properties) or 'none'}"
    errors = sorted(_validator(tool.json).iter_errors(dict(arguments)), key=lambda error: list(map(str, error.path)))
    if not errors:
        return None
    error = errors[0]
    where = ".".join(map(str, error.absolute_path))
    return f"{where}: {error.message[:200]}" if where else error.message[:200]


@functools.lru_cache(maxsize=1024)
def _validator(document: str) -> Any:
    """Made once for every tool; the package is loaded with the first one."""
    import json

    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(document)["parameters"])
