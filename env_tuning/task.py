"""`Task`: one multi-turn problem as data.

Owns: the fields of a task and their reading from a parquet row. Refuses: reading files, rendering prompts
(`protocols/`), running anything.
"""

from __future__ import annotations

import enum
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple


@dataclass(frozen=True, kw_only=True)
class ToolDoc:
    """What a model is told about one tool.

    Attributes:
        name: the tool's name.
        description: one or more sentences.
        parameters: JSON-schema-like object (``type``, ``properties``, ``required``).
        response: JSON-schema-like object of the result, or None.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    response: Mapping[str, Any] | None = None

    @functools.cached_property
    def json(self) -> str:
        """The document as JSON text; rendered once, since many prompts hold it."""
        return json.dumps(self.as_dict(), ensure_ascii=False)

    def as_dict(self) -> dict[str, Any]:
        """The document as plain JSON data, keys in the order of the fields, no response when there is none.

        Shared, not copied (a prompt lists up to 39 documents): read it, never change it.
        """
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class AnswerKind(enum.Enum):
    """How a final answer is compared with the right one."""

    NUMBER = "number"
    """The answer mentions the number, and few others."""
    MATHS = "maths"
    """What the answer puts into a box means the same."""
    WORDS = "words"
    """The answer holds the words."""


class Expected(NamedTuple):
    """What is known of the right answer to one turn, in tasks that are judged by answers and not by calls."""

    answer: str | None = None
    """None: nobody says what is right."""
    kind: AnswerKind = AnswerKind.WORDS
    needs_tools: bool | None = None
    """Whether the turn cannot be answered without a tool; None: nobody says."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: what the user asks turn after turn, in which world, and what a right solution does.

    Attributes:
        id: the benchmark's id, for example ``multi_turn_miss_func_12``.
        split: the category the task is reported under, for example ``multi_turn_base``.
        user_turns: the user's text of every turn; empty where a turn only releases held-back tools.
        initial_config: JSON text, an object from tool class name to that class's initial configuration.
        tool_classes: names (or dotted paths) of the tool classes, in order.
        tools: documents of all tools, the held-back ones included, in prompt order.
        releases: turn index to the names of the tools that become visible and callable at that turn.
        ground_truth: for every turn the calls of the reference solution, as strings `parse_call` reads.
        long_context: whether the world is padded with the benchmark's long-context data.
        expected: for every turn what is known of the right answer, if answers are judged; empty if calls are. The
            ground truth has no calls then.
    """

    id: str
    split: str
    user_turns: tuple[str, ...]
    initial_config: str
    tool_classes: tuple[str, ...]
    tools: tuple[ToolDoc, ...]
    ground_truth: tuple[tuple[str, ...], ...]
    releases: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    long_context: bool = False
    expected: tuple[Expected, ...] = ()

    def __post_init__(self) -> None:
        """Reject a task whose parts do not fit together."""
        if not self.user_turns or len(self.user_turns) != len(self.ground_truth):
            raise ValueError(
                f"task {self.id}: {len(self.user_turns)} user turns but {len(self.ground_truth)} ground-truth turns"
            )
        if self.expected and (len(self.expected) != len(self.user_turns) or any(self.ground_truth)):
            raise ValueError(
                f"task {self.id}: expected answers stand for every turn, and instead of ground-truth calls"
            )
        names = {tool.name for tool in self.tools}
        for turn, released in self.releases.items():
            if not 0 < turn < self.turns or not names.issuperset(released):
                raise ValueError(
                    f"task {self.id}: releases {released} at turn {turn} of {self.turns}: no such tool or turn"
                )

    @property
    def turns(self) -> int:
        """Number of user turns."""
        return len(self.user_turns)

    def held_back(self, turn: int) -> frozenset[str]:
        """Names of the tools not yet released at a turn."""
        return frozenset(name for at, names in self.releases.items() if at > turn for name in names)

    def visible_tools(self, turn: int) -> tuple[ToolDoc, ...]:
        """Documents of the tools that the model may know at a turn."""
        hidden = self.held_back(turn)
        return tuple(tool for tool in self.tools if tool.name not in hidden)

    def released_tools(self, turn: int) -> tuple[ToolDoc, ...]:
        """Documents of the tools that become visible at exactly this turn."""
        names = self.releases.get(turn, ())
        return tuple(tool for tool in self.tools if tool.name in names) if names else ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Task:
        """Read the ``interaction_kwargs`` of a parquet row (schema: docs/reference/columns.md).

        Raises:
            ValueError: a field is missing or has the wrong shape; the message names the fix.
        """
        try:
            turns = [list(messages) for messages in row["question"]]
            return cls(
                id=str(row["id"]),
                split=str(row["split"]),
                user_turns=tuple("\n".join(message["content"] for message in messages) for messages in turns),
                initial_config=_json_text(row["initial_config"]),
                tool_classes=tuple(row["involved_classes"]),
                tools=_tools(row["tools"]),
                ground_truth=tuple(tuple(calls) for calls in row["ground_truth"]),
                releases={int(turn): tuple(names) for turn, names in json.loads(row["releases"]).items()},
                long_context=bool(row["long_context"]),
            )
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"row {row.get('id', '?')!r} is not a task of this version ({error!r}); "
                "rebuild the data: env-tuning prepare"
            ) from None


def tool_docs(records: Sequence[Mapping[str, Any]]) -> list[ToolDoc]:
    """Tool documents from plain JSON records; unknown keys are dropped."""
    return [
        ToolDoc(
            name=record["name"],
            description=record.get("description", ""),
            parameters=record.get("parameters", {"type": "dict", "properties": {}, "required": []}),
            response=record.get("response"),
        )
        for record in records
    ]


@functools.lru_cache(maxsize=256)
def _tools(text: str) -> tuple[ToolDoc, ...]:
    """The documents of a row; tasks with the same tools share them."""
    return tuple(tool_docs(json.loads(text)))


def _json_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected JSON text, got {type(value).__name__}")
    return value
