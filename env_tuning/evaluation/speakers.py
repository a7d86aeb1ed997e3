"""Conversations with a model: what the player says to it, and what comes back.

Owns: the contract (`Speaker`, `Talk`, `Reply`) and the two ways to speak with an endpoint, in the protocol's own words
or in native tool calls. Refuses: episodes (`playing`), requests and retries (`env_tuning.endpoint`).
"""

from __future__ import annotations

import abc
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from env_tuning.endpoint.client import Chat, Completion
from env_tuning.episode import Reaction
from env_tuning.evaluation.native import function_tool, message_text
from env_tuning.task import Task
from env_tuning.trajectory import StopReason

_THINK = "<think>"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One assistant message.

    Attributes:
        text: as the episode's protocol reads it.
        cut: the limit that ended it before its end, if one did.
        prompt_tokens: of the whole conversation before it.
        completion_tokens: its own.
    """

    text: str
    cut: StopReason | None
    prompt_tokens: int
    completion_tokens: int


class Talk(abc.ABC):
    """The conversation of one episode; single-use."""

    @abc.abstractmethod
    async def reply(self) -> Reply:
        """The next assistant message.

        Raises:
            TooLong: the conversation no longer fits into the model's context.
            NoReply: there is none, and the episode cannot be finished.
        """

    @abc.abstractmethod
    def hear(self, reaction: Reaction) -> None:
        """Take what the episode said to the last reply."""

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Give back what is held for this conversation."""


class Speaker(abc.ABC):
    """A model that takes part in many conversations at once."""

    @abc.abstractmethod
    def open(self, task: Task, messages: Sequence[dict[str, str]], seed: int) -> Talk:
        """Begin an episode's conversation with its opening messages; draws depend on the seed."""


@dataclass(kw_only=True)
class EndpointSpeaker(Speaker):
    """A model behind an endpoint.

    Attributes:
        chat: an open connection.
        native: speak in native tool calls; else in the protocol's words.
        more: fields of every request.
        seeded: send the episode's seed; of no use to greedy decoding, and not every server takes one.
    """

    chat: Chat
    native: bool
    more: dict[str, Any] = field(default_factory=dict)
    seeded: bool = False

    def open(self, task: Task, messages: Sequence[dict[str, str]], seed: int) -> Talk:
        """A conversation in the mode of this speaker."""
        more = {**self.more, "seed": seed} if self.seeded else self.more
        spoken = [dict(message) for message in messages if message["content"]]
        if self.native:
            return NativeTalk(chat=self.chat, messages=spoken, more=more, task=task)
        return PromptTalk(chat=self.chat, messages=spoken, more=more)


@dataclass(kw_only=True)
class PromptTalk(Talk):
    """Everything is text: calls stand in the assistant's messages, results in the user's."""

    chat: Chat
    messages: list[dict[str, Any]]
    more: dict[str, Any]

    async def reply(self) -> Reply:
        """The text, with the thoughts in it that a server has taken out."""
        completion = await self.chat.complete(self.messages, **self.more)
        text, thought = completion.text, _reasoning(completion)
        # A server with a reasoning parser keeps <think> blocks apart, and protocols want to see them.
        if thought and _THINK not in text:
            text = f"{_THINK}{thought}</think>{text}"
        self.messages.append({"role": "assistant", "content": text})
        return _reply(completion, text)

    def hear(self, reaction: Reaction) -> None:
        """The next user message."""
        self.messages.append({"role": "user", "content": reaction.content})


@dataclass(kw_only=True)
class NativeTalk(Talk):
    """Calls are ``tool_calls``, results messages of the role ``tool``, and tools a field of every request."""

    chat: Chat
    messages: list[dict[str, Any]]
    more: dict[str, Any]
    task: Task
    _turn: int = 0
    _open_calls: list[str] = field(default_factory=list)

    async def reply(self) -> Reply:
        """The message with its calls; tools that the task has not released are not offered."""
        tools = [function_tool(tool) for tool in self.task.visible_tools(self._turn)]
        completion = await self.chat.complete(self.messages, **({"tools": tools} if tools else {}), **self.more)
        calls = [_call(call) for call in completion.message.get("tool_calls") or ()]
        ids = [identifier or f"call_{len(self.messages)}_{at}" for at, (identifier, _, _) in enumerate(calls)]
        self._open_calls = ids
        said: dict[str, Any] = {"role": "assistant", "content": completion.text}
        if calls:
            said["tool_calls"] = [
                {"id": identifier, "type": "function", "function": {"name": name, "arguments": _sendable(arguments)}}
                for identifier, (_, name, arguments) in zip(ids, calls, strict=True)
            ]
        self.messages.append(said)
        records = [{"name": name, "arguments": arguments} for _, name, arguments in calls]
        return _reply(completion, message_text(completion.text, records, reasoning=_reasoning(completion)))

    def hear(self, reaction: Reaction) -> None:
        """The results of the calls, or the next request."""
        if reaction.step.closed_turn:
            self._turn += 1
            self.messages.append({"role": "user", "content": reaction.content})
            return
        results = json.loads(reaction.content) if reaction.step.calls else [reaction.content] * len(self._open_calls)
        for identifier, result in zip(self._open_calls, results, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": identifier, "content": result})


def _reply(completion: Completion, text: str) -> Reply:
    return Reply(
        text=text,
        cut=StopReason.MESSAGE_LENGTH if completion.finish == "length" else None,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
    )


def _reasoning(completion: Completion) -> str:
    """What the model thought, where the server keeps it apart from the content."""
    found = completion.message.get("reasoning_content") or completion.message.get("reasoning")
    return found if isinstance(found, str) else ""


def _call(call: Any) -> tuple[str, str, Any]:
    """Id, name and arguments of a call, whatever the server left out."""
    call = call if isinstance(call, dict) else {}
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return str(call.get("id") or ""), str(function.get("name") or ""), function.get("arguments", "")


def _sendable(arguments: Any) -> str:
    """Arguments for the way back: servers read them as a JSON object, and fail on any other."""
    try:
        data = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return "{}"
    if not isinstance(data, dict):
        return "{}"
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
