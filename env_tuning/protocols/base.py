"""How a model speaks: the contract between a prompt and the parser of what comes back.

Owns: `Action` (what a message means), `Protocol` (prompt, parser and writer made by one object, so that they
cannot disagree) and the two listings of tools. Refuses: knowing which environment it talks to.
"""

from __future__ import annotations

import abc
import enum
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from env_tuning.calls import ToolCall
from env_tuning.task import Task, ToolDoc


class UseTools(NamedTuple):
    """The message asks for calls, at least one."""

    calls: tuple[ToolCall, ...]
    thought: str = ""


class Answer(NamedTuple):
    """The message answers the user and closes the turn."""

    text: str
    thought: str = ""


class Malformed(NamedTuple):
    """The message breaks the protocol; `feedback` tells the model how, in one line."""

    feedback: str


Action = UseTools | Answer | Malformed


class ToolListing(enum.Enum):
    """How a prompt shows the tools. The tools are the same in every listing."""

    JSON = "json"
    """Full JSON documents, as the benchmark does: 3,400 to 7,300 tokens a task with a Qwen tokenizer."""
    SIGNATURES = "signatures"
    """One signature line per tool, for small models and machines."""


class PromptVersion(enum.Enum):
    """Which system prompt of the paper (appendix F) is followed."""

    V1 = "v1"
    """Stages 1 and 2."""
    V2 = "v2"
    """Stages 3 and 4: also be resourceful before asking, and never guess what is missing."""


class Protocol(abc.ABC):
    """One way of speaking. Stateless: one object serves all episodes."""

    name: ClassVar[str]

    @abc.abstractmethod
    def system_prompt(self, tools: Sequence[ToolDoc], *, listing: ToolListing, version: PromptVersion) -> str:
        """The system message for a set of tools."""

    @abc.abstractmethod
    def parse(self, text: str) -> Action:
        """What a message means. Never raises and never evaluates anything."""

    @abc.abstractmethod
    def write_calls(self, calls: Sequence[ToolCall], thought: str = "") -> str:
        """A message that `parse` reads back as these calls."""

    @abc.abstractmethod
    def write_answer(self, text: str, thought: str = "") -> str:
        """A message that `parse` reads back as this answer."""

    @abc.abstractmethod
    def observation(self, results: Sequence[str], names: Sequence[str] = ()) -> str:
        """The next message after calls: their results, one string per call, and what to do next.

        Args:
            results: in the order of the calls.
            names: of the tools that were called, for protocols that show them.
        """

    @abc.abstractmethod
    def format_feedback(self, malformed: Malformed) -> str:
        """The next message after a message that broke the protocol."""

    def released(self, tools: Sequence[ToolDoc], *, listing: ToolListing) -> str:
        """The user message of a turn that only releases tools held back so far."""
        return f"{list_tools(tools, listing)}\nI have added the functions above to those you can use. What about now?"

    def request(self, task: Task, turn: int, *, listing: ToolListing) -> str:
        """What the user says at a turn: the tools released at it, if any, then the user's own text, if any."""
        released = task.released_tools(turn)
        parts = [self.released(released, listing=listing)] if released else []
        return "\n".join([*parts, *filter(None, [task.user_turns[turn]])])


def list_tools(tools: Sequence[ToolDoc], listing: ToolListing) -> str:
    """The tools as prompt text: a JSON array, or one signature per line."""
    if listing is ToolListing.JSON:
        return f"[{', '.join(tool.json for tool in tools)}]"
    return "\n".join(signature(tool) for tool in tools)


def signature(tool: ToolDoc) -> str:
    """One line such as ``sort(file_name: string)``; optional parameters show ``= default``."""
    required = set(tool.parameters.get("required", ()))
    parts = []
    for name, schema in tool.parameters.get("properties", {}).items():
        part = f"{name}: {_type_name(schema)}"
        if name not in required:
            part += f" = {json.dumps(schema.get('default'), ensure_ascii=False)}"
        parts.append(part)
    return f"{tool.name}({', '.join(parts)})"


def _type_name(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " | ".join(_type_name(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind in ("array", "tuple") and isinstance(schema.get("items"), Mapping):
        return f"{kind}[{_type_name(schema['items'])}]"
    if kind in ("dict", "object") and schema.get("properties"):
        return "{" + ", ".join(f"{key}: {_type_name(value)}" for key, value in schema["properties"].items()) + "}"
    if kind in ("dict", "object") and isinstance(schema.get("additionalProperties"), Mapping):
        return f"{kind}[{_type_name(schema['additionalProperties'])}]"
    return kind
