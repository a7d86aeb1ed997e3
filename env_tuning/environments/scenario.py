"""`Scenario`: what a user asks of an author's tool class, and `tasks_of`, which makes `Task`s of it.

Owns: scripted user turns with their reference calls, for environments of one tool class. Refuses: tasks over several
classes (write `Task`s), files (`data/`), judging (`judge.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from env_tuning.calls import parse_call
from env_tuning.environments.registry import tool_class
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.task import Task


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One conversation to be played.

    Attributes:
        turns: what the user says at every turn, and the calls that a right solution makes then, as Python text such
            as ``"park(plate='AB 12')"``. No calls: the right act is to answer.
        config: the initial configuration, what the class's ``__init__`` is given. Plain JSON data.
        releases: turn to the names of tools that become visible and callable at that turn.
    """

    turns: Sequence[tuple[str, Sequence[str]]]
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    releases: Mapping[int, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Reject turns that are no pairs of text and calls."""
        for number, turn in enumerate(self.turns):
            if not isinstance(turn, tuple) or len(turn) != 2 or isinstance(turn[1], str):
                raise ValueError(f"turn {number} is {turn!r}; write (what the user says, [calls])")
            for call in turn[1]:
                parse_call(call)


def tasks_of(name: str) -> tuple[Task, ...]:
    """The tasks of an author's class, one for each of its scenarios.

    Args:
        name: the class, as `registry.tool_class` takes it, such as ``garage:Garage``. Rows carry this name: the module
            must be importable wherever they are played.

    Raises:
        ValueError: no such class, its tools cannot be documented, or a scenario does not fit.
    """
    found = tool_class(name)
    scenarios = tuple(found.scenarios())
    tools = tool_docs_of(found)
    return tuple(
        Task(
            id=f"{found.__name__}_{number}",
            split=found.__name__,
            user_turns=tuple(text for text, _ in scenario.turns),
            initial_config=json.dumps({name: dict(scenario.config)}, ensure_ascii=False),
            tool_classes=(name,),
            tools=tools,
            ground_truth=tuple(tuple(calls) for _, calls in scenario.turns),
            releases={turn: tuple(names) for turn, names in scenario.releases.items()},
        )
        for number, scenario in enumerate(scenarios)
    )
