"""A chat endpoint, asked for JSON objects.

Owns: how to ask for one, and finding it in an answer. Refuses: requests and retries (`env_tuning.endpoint`), knowing
what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from env_tuning.endpoint.client import Chat, Completion, UnusableReply


async def ask(chat: Chat, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON object.

    Args:
        chat: an open connection.
        messages: the conversation.
        schema: of the object; a server that cannot enforce it is asked without.

    Raises:
        NoReply: no answer, or one that says that this request cannot be answered.
        UnusableReply: an answer without a JSON object.
        UserError: no request to this endpoint can succeed.
    """
    wanted = {"name": "answer", "strict": True, "schema": dict(schema)}
    form = {"type": "json_schema", "json_schema": wanted}
    return read_object(_content(await chat.complete(messages, response_format=form)))


def _content(completion: Completion) -> str:
    """The text of an answer.

    Raises:
        UnusableReply: the model refused, was cut off, or there is no text.
    """
    if completion.message.get("refusal") or completion.finish == "content_filter":
        raise UnusableReply("the model refused")
    if completion.finish == "length":
        raise UnusableReply("the answer was cut off at the limit of tokens (--max-tokens)")
    if not completion.text.strip():
        raise UnusableReply("an empty answer")
    return completion.text


def read_object(text: str) -> dict[str, Any]:
    """The JSON object in an answer: alone, in a code block, or behind the model's thoughts.

    Raises:
        UnusableReply: there is none.
    """
    answer = text.rpartition("</think>")[2]
    decoder = json.JSONDecoder()
    start = answer.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(answer, start)
        except (ValueError, RecursionError):
            start = answer.find("{", start + 1)
            continue
        return value
    raise UnusableReply("the answer holds no JSON object")
