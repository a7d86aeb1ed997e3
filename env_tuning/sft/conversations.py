"""`Conversation`: one training row for tool calling, and what a row must look like.

Owns: the shape of messages and tools (those of chat templates: ``tool_calls`` with decoded arguments, ``tool``
messages with results), the check of a row, and calls in messages. Refuses: files (`files.py`), tokens
(`rendering.py`), and correcting a row: a bad one is refused with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from env_tuning.calls import ToolCall

Message = dict[str, Any]
Tool = dict[str, Any]

ROLES = frozenset({"system", "user", "assistant", "tool"})


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One conversation with the tools that the model sees in it.

    Attributes:
        messages: ``role`` and ``content``, and for an assistant that calls tools ``tool_calls``.
        tools: function schemas, as chat templates take them; none for conversations whose prompt lists the tools.
        domain: the set it belongs to, for figures by domain.
        flow: what it shows, a value of `Flow` for our own data, free otherwise.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    domain: str = ""
    flow: str = ""

    def __post_init__(self) -> None:
        """Reject a row that no template can render, or that teaches a call the tools do not take.

        Raises:
            ValueError: with the reason.
        """
        if problem := conversation_problem(self.messages, self.tools):
            raise ValueError(problem)

    @property
    def request(self) -> str:
        """What the user says first; splits keep equal requests together."""
        return next((message["content"] for message in self.messages if message["role"] == "user"), "")


def read_conversation(
    messages: Any, tools: Any = (), *, domain: str = "", flow: str = "", default_tools: Sequence[Tool] = ()
) -> Conversation:
    """A conversation from plain JSON data; arguments given as JSON text are decoded, missing contents are empty.

    Raises:
        ValueError: with the reason.
    """
    if not isinstance(messages, list) or not messages:
        raise ValueError("the messages are no list with at least one message")
    if tools is not None and not isinstance(tools, list | tuple):
        raise ValueError("the tools are no list")
    return Conversation(
        messages=tuple(read_message(number, message) for number, message in enumerate(messages)),
        tools=tuple(tools or default_tools),
        domain=domain,
        flow=flow,
    )


def read_message(number: int, message: Any) -> Message:
    """A message from plain JSON data; arguments given as JSON text are decoded, what is null is left out.

    Args:
        number: its place, for errors.
        message: what was read.

    Raises:
        ValueError: with the reason.
    """
    if not isinstance(message, dict):
        raise ValueError(f"message {number} is no object")
    read = {key: value for key, value in message.items() if value is not None}
    if read.get("role") == "assistant":
        read.setdefault("content", "")
    if "tool_calls" in read:
        if not isinstance(read["tool_calls"], list):
            raise ValueError(f"message {number}: tool_calls is no list")
        read["tool_calls"] = [_tool_call(number, entry) for entry in read["tool_calls"]]
    return read


def call_message(calls: Sequence[ToolCall]) -> Message:
    """An assistant's message that calls tools."""
    wanted = [
        {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}} for call in calls
    ]
    return {"role": "assistant", "content": "", "tool_calls": wanted}


def calls_of(message: Message) -> tuple[ToolCall, ...]:
    """The calls of a message, none if it makes none."""
    functions = (entry["function"] for entry in message.get("tool_calls") or ())
    return tuple(ToolCall(name=function["name"], arguments=function["arguments"]) for function in functions)


def conversation_problem(messages: Sequence[Message], tools: Sequence[Tool]) -> str | None:
    """Why a row cannot be trained on, None if it can."""
    for number, tool in enumerate(tools):
        if problem := tool_problem(tool):
            return f"tool {number}: {problem}"
    waiting: list[ToolCall] = []
    for number, message in enumerate(messages):
        role = message.get("role")
        if role not in ROLES:
            return f"message {number}: role {role!r} is none of {', '.join(sorted(ROLES))}"
        if not isinstance(message.get("content"), str):
            return f"message {number}: content is no text"
        if role == "tool":
            if not waiting:
                return f"message {number}: a tool answers, but no call is open"
            call = waiting.pop(0)
            if message.get("name", call.name) != call.name:
                return f"message {number}: the answer of {message['name']} stands where {call.name} was called"
            continue
        if waiting:
            return f"message {number}: the call of {waiting[0].name} has no answer before it"
        if role == "assistant":
            waiting = list(calls_of(message))
            if not waiting and not message["content"].strip():
                return f"message {number}: the assistant neither speaks nor calls a tool"
            for call in waiting:
                if tools and (problem := call_problem(call, tools)):
                    return f"message {number}: {problem}"
    if messages[-1]["role"] != "assistant" or waiting:
        return "the last message must be an assistant's that calls no tool"
    return None


def call_problem(call: ToolCall, tools: Sequence[Tool]) -> str | None:
    """Why a call does not fit the tools, None if it does: its name, the names of its arguments, plain types."""
    function = next((tool["function"] for tool in tools if tool["function"]["name"] == call.name), None)
    if function is None:
        return f"{call.name} is none of the tools"
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") or {}
    if missing := [name for name in parameters.get("required") or () if name not in call.arguments]:
        return f"{call.name} is called without {', '.join(missing)}"
    for name, value in call.arguments.items():
        if name not in properties:
            return f"{call.name} has no parameter {name}"
        if not _fits(value, properties[name]):
            return f"{call.name}: {name}={json.dumps(value)} does not fit {json.dumps(properties[name])}"
    return None


def tool_problem(tool: Any) -> str | None:
    """Why something is no function schema, None if it is one."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return 'no function schema; expected {"type": "function", "function": {"name": ..., "parameters": ...}}'
    return None


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = _TYPES.get(str(schema.get("type")))
    # A bool is an int to Python and not to JSON.
    return kinds is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))


def _tool_call(number: int, entry: Any) -> dict[str, Any]:
    function = entry.get("function") if isinstance(entry, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError(f'message {number}: a tool call is not {{"function": {{"name": ..., "arguments": {{...}}}}}}')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as error:
            raise ValueError(f"message {number}: the arguments of {function['name']} are no JSON ({error})") from None
    if not isinstance(arguments, dict):
        raise ValueError(f"message {number}: the arguments of {function['name']} are no object")
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
