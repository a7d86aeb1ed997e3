"""A server that answers with the ground truth, in both modes, and misbehaves where a test tells it to.

It is stateless, as real ones are: which task a request is about stands in its seed or in its first user message, and
how far the episode is, in the number of assistant messages.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stub_server import Response, as_json, stub_server

from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.demonstrations import name_arguments
from env_tuning.evaluation.settings import Settings
from env_tuning.protocols import ThinkAnswer
from env_tuning.task import Task

Step = tuple[ToolCall, ...]
"""The calls of one message; none is an answer."""


def perfect_steps(task: Task) -> list[Step]:
    """The reference, a message for every two calls of a turn, and an answer at the end of each turn."""
    documents = {tool.name: tool for tool in task.tools}
    steps: list[Step] = []
    for turn in task.ground_truth:
        parsed = [parse_call(text) for text in turn]
        calls = [name_arguments(call, documents[call.name]) for call in parsed]
        size = max(2, -(-len(calls) // 15))
        steps += [tuple(calls[at : at + size]) for at in range(0, len(calls), size)]
        steps.append(())
    return steps


def prompt_message(step: Step) -> dict[str, Any]:
    protocol = ThinkAnswer()
    text = protocol.write_calls(step, "next") if step else protocol.write_answer("Done.", "done")
    return {"role": "assistant", "content": text}


def native_message(step: Step, number: int) -> dict[str, Any]:
    if not step:
        return {"role": "assistant", "content": "Done."}
    calls = [
        {
            "id": f"c{number}-{at}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
        }
        for at, call in enumerate(step)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


@dataclass(frozen=True)
class Status:
    """An answer with a status of its own, or with bytes that are no JSON."""

    code: int
    message: str = ""
    raw: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = dict[str, Any] | Status


def completion(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }


@dataclass
class Oracle:
    """The answers.

    Attributes:
        by_seed: the steps of the task that a seed belongs to.
        by_request: the same by the first user message, for requests without a seed.
        intrude: gets a request and its number, from 0, and may answer in the truth's place.
        keep: whether requests are kept.
        requests: what was asked, in order of arrival.
    """

    by_seed: Mapping[int, Sequence[Step]]
    by_request: Mapping[str, Sequence[Step]]
    intrude: Callable[[dict[str, Any], int], Answer | None] = lambda body, number: None
    keep: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    asked: int = 0
    url: str = ""

    def truth(self, body: dict[str, Any]) -> Sequence[Step]:
        """All steps of the task that a request is about."""
        if "seed" in body:
            return self.by_seed[body["seed"]]
        return self.by_request[next(message["content"] for message in body["messages"] if message["role"] == "user")]

    def answer(self, body: dict[str, Any], number: int) -> Answer:
        if (given := self.intrude(body, number)) is not None:
            return given
        return spoken(self.truth(body)[said(body)], body)


def said(body: dict[str, Any]) -> int:
    """How many messages of the assistant there are."""
    return sum(message["role"] == "assistant" for message in body["messages"])


def spoken(step: Step, body: dict[str, Any]) -> Answer:
    """A step in the mode in which the request is."""
    return completion(native_message(step, said(body)) if "tools" in body else prompt_message(step))


def oracle_of(tasks: Sequence[Task], settings: Settings | None = None, **options: Any) -> Oracle:
    """An oracle for tasks, all beginning differently if the settings are greedy ones, which send no seeds."""
    steps = [perfect_steps(task) for task in tasks]
    chosen = settings or Settings()
    by_request = {task.user_turns[0]: found for task, found in zip(tasks, steps, strict=True)}
    assert chosen.temperature or len(by_request) == len(tasks), "two tasks begin alike"
    by_seed = {chosen.seed_of(task): found for task, found in zip(tasks, steps, strict=True)}
    assert len(by_seed) == len(tasks), "two tasks have the same seed"
    return Oracle(by_seed=by_seed, by_request=by_request, **options)


@contextlib.contextmanager
def serving(oracle: Oracle, models: tuple[str, ...] = ("oracle",)) -> Iterator[Oracle]:
    """Serve it on a free port, at ``oracle.url``."""
    lock = threading.Lock()

    def respond(body: dict[str, Any], key: str | None) -> Response:
        with lock:
            number = oracle.asked
            oracle.asked += 1
            oracle.keys.add(key)
            if oracle.keep:
                oracle.requests.append(body)
        given = oracle.answer(body, number)
        if not isinstance(given, Status):
            return as_json(200, given)
        if given.raw:
            return Response(given.code, given.raw, given.headers)
        return as_json(given.code, {"error": {"message": given.message}}, given.headers)

    with stub_server(respond, models) as oracle.url:
        yield oracle
