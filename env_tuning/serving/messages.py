"""Messages on the wire and messages of chat templates, in both directions.

Owns: contents in parts, ids of calls and the order of their results, reading calls out of what a model wrote, and how
much of a text that is still growing may be shown. Refuses: HTTP, tokens, repairing what a model wrote: calls that
cannot be read stay text.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from env_tuning.protocols.base import UseTools
from env_tuning.protocols.hermes import Hermes
from env_tuning.serving.refusals import RequestRefused
from env_tuning.sft.conversations import ROLES, Message, Tool, read_message, tool_problem

CALL_MARK = "<tool_call>"


def read_messages(messages: Any) -> list[Message]:
    """The messages of a request as chat templates take them: plain text, decoded arguments, results in call order.

    Raises:
        RequestRefused: what a client sent is no conversation; the message says which one and why.
    """
    if not isinstance(messages, list) or not messages:
        raise RequestRefused("messages must be a list with at least one message", parameter="messages")
    read: list[Message] = []
    open_calls: dict[str, str] = {}
    results: dict[str, Message] = {}
    for number, message in enumerate(messages):
        checked = _read_one(number, message)
        if checked["role"] == "tool":
            _take_result(number, checked, open_calls, results)
            if len(results) == len(open_calls):
                # Clients may send results in any order; templates show them without ids, so the order says whose.
                read += [results[name] for name in open_calls]
                open_calls, results = {}, {}
            continue
        if open_calls:
            raise _wrong(number, f"the call {_unanswered(open_calls, results)} has no result before it")
        open_calls = _calls(number, message, checked)
        read.append(checked)
    if open_calls:
        raise _wrong(len(messages) - 1, f"the call {_unanswered(open_calls, results)} has no result")
    return read


def read_tools(tools: Any) -> list[Tool]:
    """The tools of a request.

    Raises:
        RequestRefused: they are no list of functions.
    """
    if not isinstance(tools, list):
        raise RequestRefused("tools must be a list of functions", parameter="tools")
    for number, tool in enumerate(tools):
        if problem := tool_problem(tool):
            raise RequestRefused(f"tool {number}: {problem}", parameter="tools")
    return tools


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model wrote, as a client gets it.

    Attributes:
        content: text that is no call; None if there is none beside the calls.
        calls: entries of ``tool_calls``.
    """

    content: str | None
    calls: tuple[dict[str, Any], ...] = ()

    @property
    def message(self) -> dict[str, Any]:
        """An assistant's message."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        return {**message, "tool_calls": list(self.calls)} if self.calls else message


def read_written(text: str, *, with_tools: bool) -> Written:
    """The message that a text is.

    Args:
        text: without the token that ended it.
        with_tools: whether the request offered tools; without any, nothing is a call.
    """
    action = Hermes().parse(text) if with_tools else None
    if not isinstance(action, UseTools):
        return Written(content=text)
    calls = tuple(
        {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)},
        }
        for call in action.calls
    )
    return Written(content=text[: text.index(CALL_MARK)].rstrip() or None, calls=calls)


def safe_length(text: str, marks: Sequence[str]) -> int:
    """How much of a growing text can no longer turn out to be a mark, a part of one, or half a character.

    Spaces and line breaks at its end stay back too: before a call they are no content.

    Args:
        text: so far.
        marks: stop strings, and the tag that opens a call.
    """
    end = len(text.rstrip("\ufffd"))
    return len(text[: min([end, *(_before(mark, text, end) for mark in marks)])].rstrip())


def _before(mark: str, text: str, end: int) -> int:
    """Where a mark stands in a text, or where it may have begun."""
    if (found := text.find(mark)) >= 0:
        return found
    begun = (place for place in range(max(0, end - len(mark) + 1), end) if mark.startswith(text[place:end]))
    return next(begun, end)


def _read_one(number: int, message: Any) -> Message:
    role = message.get("role") if isinstance(message, dict) else None
    # The newer name of the same role.
    role = "system" if role == "developer" else role
    if role not in ROLES:
        raise _wrong(number, f"it must be an object with a role, one of {', '.join(sorted(ROLES))}")
    content = message.get("content")
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(texts) if len(texts) == len(content) else content
    if not isinstance(content, str) and not (content is None and role == "assistant" and message.get("tool_calls")):
        raise _wrong(number, "its content must be text")
    kept = {key: message[key] for key in ("name", "tool_calls", "tool_call_id") if key in message}
    try:
        return read_message(number, {"role": role, "content": content, **kept})
    except ValueError as error:
        raise RequestRefused(str(error), parameter="messages") from None


def _calls(number: int, sent: Any, read: Message) -> dict[str, str]:
    """The names of the calls of a message, by id; a message without calls has no list of them either."""
    if not read.get("tool_calls"):
        read.pop("tool_calls", None)
        return {}
    if read["role"] != "assistant":
        raise _wrong(number, "only an assistant calls tools")
    names = {
        entry.get("id"): call["function"]["name"]
        for entry, call in zip(sent["tool_calls"], read["tool_calls"], strict=True)
    }
    if len(names) != len(read["tool_calls"]) or not all(isinstance(name, str) for name in names):
        raise _wrong(number, "every call needs an id of its own")
    return names


def _take_result(number: int, message: Message, open_calls: dict[str, str], results: dict[str, Message]) -> None:
    name = message.pop("tool_call_id", None)
    if not isinstance(name, str) or name not in open_calls or name in results:
        raise _wrong(number, f"its tool_call_id {name!r} is no open call of the message before it")
    results[name] = {**message, "name": open_calls[name]}


def _unanswered(open_calls: dict[str, str], results: dict[str, Message]) -> str:
    return next(name for name in open_calls if name not in results)


def _wrong(number: int, reason: str) -> RequestRefused:
    return RequestRefused(f"message {number}: {reason}", parameter="messages")
