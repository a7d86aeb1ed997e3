"""Failures for tests: real calls in real environments, and the hints they get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from env_tuning.augmentation.book import HintBook
from env_tuning.calls import ToolCall
from env_tuning.environments.environment import ToolResult
from env_tuning.environments.registry import make_environment
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import Hint


def task_of(tool_class: str, documents: Mapping[str, ToolDoc], config: Mapping[str, Any] | None = None) -> Task:
    """A task of one turn in which all tools are visible."""
    return Task(
        id="hinted",
        split="hinted",
        user_turns=("Do it.",),
        initial_config=json.dumps({tool_class: dict(config or {})}),
        tool_classes=(tool_class,),
        tools=tuple(documents.values()),
        ground_truth=(("nothing()",),),
    )


def hint_after(task: Task, *calls: tuple[str, dict[str, Any]]) -> tuple[ToolResult, Hint | None]:
    """The last call's result in a fresh environment, and its hint."""
    environment = make_environment(task.tool_classes, task.initial_config)
    for name, arguments in calls:
        call = ToolCall(name=name, arguments=arguments)
        result = environment.call(call)
    return result, HintBook(task).hint(0, call, result)
