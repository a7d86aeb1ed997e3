"""A person or a program talking with a model that may call tools.

Owns: the history of one conversation, the turns of model and tools in it, and how they are shown. Refuses: how a model
writes (`generation.py`, `vllm_writer.py`), what a call does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from env_tuning.calls import ToolCall
from env_tuning.environments.environment import Environment
from env_tuning.environments.tool_class import ToolClass
from env_tuning.sft.conversations import Message, Tool, call_message, calls_of
from env_tuning.sft.evaluation import Question, Speaker, read_reply

Run = Callable[[ToolCall], str | None]
"""Gives the result of a call, None if there will be none."""

LONGEST_CHAIN = 8
"""Messages with calls that a model may write one after the other before the user speaks again."""


class Dialogue:
    """One conversation; its history goes into every prompt.

    Attributes:
        messages: so far.
    """

    def __init__(self, speaker: Speaker, tools: Sequence[Tool], *, run: Run, system: str = "") -> None:
        """Start a conversation.

        Args:
            speaker: the model.
            tools: what it may call.
            run: does the calls.
            system: a message that stands before everything.
        """
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._speaker = speaker
        self._tools = tuple(tools)
        self._run = run

    def say(self, text: str) -> Iterator[Message]:
        """Speak to the model, and get its messages and the results of its calls up to its answer.

        A message that cannot be read as calls counts as an answer. Without a result for a call, or after
        `LONGEST_CHAIN` messages with calls, the turn ends there, and the calls are taken out of the history, which no
        template could show.
        """
        self.messages.append({"role": "user", "content": text})
        for _ in range(LONGEST_CHAIN):
            (reply,) = self._speaker([Question(messages=tuple(self.messages), tools=self._tools)])
            calls = read_reply(reply) if self._tools else None
            if not calls:
                answer: Message = {"role": "assistant", "content": reply.text.strip()}
                self.messages.append(answer)
                yield answer
                return
            asked = call_message(calls)
            yield asked
            results = []
            for call in calls:
                result = self._run(call)
                if result is None:
                    return
                results.append({"role": "tool", "name": call.name, "content": result})
                yield results[-1]
            self.messages += [asked, *results]


def fresh_tools(classes: Sequence[type[ToolClass]]) -> Run:
    """Tools that really run, with a state of their own."""
    environment = Environment({kind.__name__: kind({}) for kind in classes})
    return lambda call: environment.call(call).text


def shown(message: Message) -> str:
    """A message as lines of a terminal."""
    if calls := calls_of(message):
        return "\n".join(f"call> {call.name} {json.dumps(dict(call.arguments), ensure_ascii=False)}" for call in calls)
    if message["role"] == "tool":
        return f"result> {message['content']}"
    return f"{message['role']}> {message['content']}"
