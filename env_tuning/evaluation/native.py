"""Native tool calls: what goes over the wire as ``tools`` and ``tool_calls``, and its text form for an episode.

Owns: tool documents as the endpoint wants them, and `NativeCalls`, the protocol whose text is the JSON of an assistant
message, so that episodes, records and the judge need not know of a second kind of message. Refuses: requests. The model
is shown no prompt: the server writes the tools into the conversation in the form that the model was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from env_tuning.calls import ToolCall
from env_tuning.protocols.base import Action, Answer, Malformed, PromptVersion, Protocol, ToolListing, UseTools
from env_tuning.protocols.json_calls import call_record, read_calls
from env_tuning.task import ToolDoc

_JSON_TYPES: Mapping[str, str | None] = MappingProxyType(
    {"dict": "object", "float": "number", "tuple": "array", "list": "array", "bool": "boolean", "any": None}
)
"""The benchmark's names of types that JSON schema has under another name, or not at all."""


class NativeCalls(Protocol):
    """``{"content": ..., "tool_calls": [{"name": ..., "arguments": "JSON"}]}``; without calls it is the answer."""

    name: ClassVar[str] = "native"

    def system_prompt(self, tools: Sequence[ToolDoc], *, listing: ToolListing, version: PromptVersion) -> str:
        """None: the benchmark's own function-calling mode has no system prompt either."""
        return ""

    def parse(self, text: str) -> Action:
        """The calls, unless the arguments of one are no JSON object: then none of the message runs."""
        message = json.loads(text)
        thought = message.get("reasoning") or ""
        if not message["tool_calls"]:
            return Answer(message["content"], thought)
        calls = read_calls(json.dumps(message["tool_calls"]))
        return Malformed(calls) if isinstance(calls, str) else UseTools(calls, thought or message["content"])

    def write_calls(self, calls: Sequence[ToolCall], thought: str = "") -> str:
        """The thought becomes the content beside the calls."""
        records = [call_record(call) for call in calls]
        written = [{**record, "arguments": json.dumps(record["arguments"], ensure_ascii=False)} for record in records]
        return message_text(thought, written)

    def write_answer(self, text: str, thought: str = "") -> str:
        """A message without calls."""
        return message_text(text, [], reasoning=thought)

    def observation(self, results: Sequence[str], names: Sequence[str] = ()) -> str:
        """The results as a JSON array; each is sent as a message of its own."""
        return json.dumps(list(results), ensure_ascii=False)

    def format_feedback(self, malformed: Malformed) -> str:
        """The one-line fault, sent as the result of every call of the message."""
        return malformed.feedback

    def released(self, tools: Sequence[ToolDoc], *, listing: ToolListing) -> str:
        """A sentence: the documents are in ``tools`` from now on."""
        return "I have added functions to those you can use. What about now?"


def message_text(content: str, calls: Sequence[Mapping[str, Any]], *, reasoning: str = "") -> str:
    """What `NativeCalls.parse` reads: content, name and arguments of every call, and what the server keeps apart."""
    message = {"content": content, "tool_calls": list(calls)}
    return json.dumps({**message, "reasoning": reasoning} if reasoning else message, ensure_ascii=False)


def function_tool(tool: ToolDoc) -> dict[str, Any]:
    """A document as an entry of ``tools``; what the tool returns is told in the description, as there is no field."""
    description = tool.description
    if tool.response is not None:
        description += f" Returns: {json.dumps(tool.response, ensure_ascii=False)}"
    parameters = {"type": "object", "properties": {}, **_schema(tool.parameters)}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": description, "parameters": parameters},
    }


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema in JSON schema's own names, at every depth."""
    written: dict[str, Any] = dict(schema)
    if isinstance(kind := schema.get("type"), str):
        written["type"] = _JSON_TYPES.get(kind, kind)
        if written["type"] is None:
            del written["type"]
    if written.get("type") == "array":
        # Servers refuse arrays that say nothing of their items.
        written.setdefault("items", {})
    if isinstance(properties := schema.get("properties"), Mapping):
        written["properties"] = {name: _schema(value) for name, value in properties.items()}
    for name in ("items", "additionalProperties"):
        if isinstance(written.get(name), Mapping):
            written[name] = _schema(written[name])
    if isinstance(options := schema.get("anyOf"), list):
        written["anyOf"] = [_schema(option) for option in options]
    return written
