"""``/v1/models`` and ``/v1/chat/completions`` over the project's rollout engine.

Owns: the protocol's requests and answers, whole or as a stream, and their translation into tokens by the model's own
chat template. Refuses: what it cannot do (several choices, schemas, forced calls) with a status of 400 that says so,
instead of ignoring it; computing anything: the engine's thread does, and batches what arrives together.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from env_tuning.errors import UserError
from env_tuning.serving.limits import Gate, Limits, read_body
from env_tuning.serving.messages import CALL_MARK, Written, read_messages, read_tools, read_written, safe_length
from env_tuning.serving.refusals import RequestRefused, error_body, error_response
from env_tuning.sft.conversations import Message, Tool
from env_tuning.sft.rendering import render
from env_tuning.verl_plugin.rollout import request as rollout

if TYPE_CHECKING:
    from env_tuning.verl_plugin.rollout.runner import EngineThread

T = TypeVar("T")
_LENGTHS = ("max_tokens", "max_completion_tokens")
_SAMPLING: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("temperature", "top_p"), (int, float)),
        **dict.fromkeys(("seed", *_LENGTHS), (int,)),
        "stop": (str, list),
    }
)
"""Parameters that the engine knows, and what they may be in JSON."""
_READ = ("model", "messages", "tools", "tool_choice", "stream", "stream_options")
_IGNORED = ("user", "metadata", "store")
_AS_THEY_ARE: Mapping[str, Any] = MappingProxyType(
    {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "response_format": {"type": "text"},
        "parallel_tool_calls": True,
    }
)
"""Parameters that are taken with one value alone, the one that changes nothing."""
_POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that answers.

    Attributes:
        name: what requests call it.
        thread: the engine; it needs a decode function for ``stop``.
        tokenizer: a Hugging Face tokenizer with a chat template.
    """

    name: str
    thread: EngineThread
    tokenizer: Any


def load_model(folder: Path, *, name: str = "", slots: int = 8, max_length: int = 0, threads: int = 1) -> ServedModel:
    """Put a Hugging Face folder behind an engine.

    Args:
        folder: configuration, weights and tokenizer of a model that the engine can compute (Llama, Qwen2, Qwen3).
        name: the folder's name by default.
        slots: requests at work at once.
        max_length: tokens of prompt and answer together; 0 for what the model was made for.
        threads: of torch's operators.

    Raises:
        UserError: the folder is no such model, or one that knows no conversations.
    """
    from env_tuning.verl_plugin.rollout.folder import cannot_be_loaded, load_folder

    try:
        loaded = load_folder(folder, slots=slots, max_length=max_length, threads=threads)
    # Broken weights, configurations and tokenizers raise whatever their library likes.
    except Exception as error:
        raise cannot_be_loaded(folder, error) from None
    if not loaded.tokenizer.chat_template:
        loaded.thread.close()
        raise UserError(f"the tokenizer of {folder} has no chat template; choose an instruct model")
    return ServedModel(name=name or folder.resolve().name, thread=loaded.thread, tokenizer=loaded.tokenizer)


def chat_app(model: ServedModel, limits: Limits | None = None) -> FastAPI:
    """The server's application; whoever runs it closes the model's thread in the end."""
    app = FastAPI(title="env_tuning", docs_url=None, redoc_url=None, openapi_url=None)
    limits = limits or Limits()
    created = int(time.time())
    numbers = itertools.count()
    gate = Gate(limits.requests)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": model.name, "object": "model", "created": created, "owned_by": "env_tuning"}],
        }

    @app.post("/v1/chat/completions")
    async def completions(http: Request) -> Any:
        deadline = Deadline(limits.seconds)
        with contextlib.ExitStack() as under_way:
            under_way.enter_context(gate.passed())
            asked = _read(await deadline.wait_for(read_body(http.stream(), limits.body_bytes)), model, limits)
            job = Job(model, asked, f"chat-{next(numbers)}")
            # A request that is given up, for whatever reason, is called back; one that has ended is not touched.
            under_way.callback(job.future.cancel)
            if asked.stream:
                return _Streamed(_events(job, deadline), under_way.pop_all())
            return _completion(job, await _answer(http, job.future, deadline))

    @app.exception_handler(RequestRefused)
    async def refused(_: Request, error: RequestRefused) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def unknown(http: Request, error: HTTPException) -> JSONResponse:
        what = f"{http.method} {http.url.path}: {error.detail}; there are GET /v1/models, POST /v1/chat/completions"
        return error_response(RequestRefused(what, status=error.status_code))

    @app.exception_handler(rollout.RequestError)
    @app.exception_handler(RuntimeError)
    async def impossible(_: Request, error: Exception) -> JSONResponse:
        return error_response(_told(error))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> JSONResponse:
        return error_response(RequestRefused("the client has gone", status=499))

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        # The reason is in the server's log, where it is printed; it is nothing that a client can put right.
        return error_response(RequestRefused("a fault of the server; its log has the reason", status=500))

    return app


class Deadline:
    """When a request has to be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; not negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def missed(self) -> RequestRefused:
        """What the client is told when it has passed."""
        return RequestRefused(f"not done within {self._seconds:g} s, the time of a request on this server", status=504)

    async def wait_for(self, work: Awaitable[T]) -> T:
        """The result of some work.

        Raises:
            RequestRefused: it has passed.
        """
        try:
            return await asyncio.wait_for(work, self.left)
        except asyncio.TimeoutError:
            raise self.missed from None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that can be served.

    Attributes:
        prompt: tokens.
        params: how to sample.
        with_tools: whether the model may call tools.
        stream: whether the answer is sent while it grows.
        usage_at_end: whether the last event of a stream counts tokens.
    """

    prompt: list[int]
    params: rollout.SamplingParams
    with_tools: bool
    stream: bool
    usage_at_end: bool


class Job:
    """A request at work."""

    def __init__(self, model: ServedModel, asked: Asked, name: str) -> None:
        """Queue it. To be made on the event loop, which `tokens` belong to."""
        self.model = model
        self.asked = asked
        self.tokens: asyncio.Queue[int | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(token: int | None) -> None:
            # A loop that was closed has nobody waiting, and the engine's thread must go on.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.tokens.put_nowait, token)

        watcher = put if asked.stream else None
        self.future: Future[rollout.Result] = model.thread.submit(
            rollout.Request(request_id=name, prompt_ids=asked.prompt, params=asked.params, on_token=watcher)
        )
        self.future.add_done_callback(lambda _: put(None))
        self.head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}

    def text(self, tokens: list[int]) -> str:
        """Tokens as text. Special ones stay in it: a tokenizer may count the tags of calls or thoughts among them."""
        text = self.model.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)

    def written(self, result: rollout.Result) -> tuple[Written, str]:
        """The message that came out, and why it ended.

        Raises:
            RuntimeError: it was called back.
        """
        ended = result.stop_reason
        if ended is rollout.StopReason.ABORTED:
            raise RuntimeError("the request was called back")
        text = self.text(result.token_ids[:-1] if ended is rollout.StopReason.STOP_TOKEN else result.token_ids)
        if ended is rollout.StopReason.STOP_STRING:
            text = text[: min((text.find(stop) for stop in self.asked.params.stop if stop in text), default=len(text))]
        written = read_written(text, with_tools=self.asked.with_tools)
        if ended is rollout.StopReason.LENGTH:
            return written, "length"
        return written, "tool_calls" if written.calls else "stop"

    def usage(self, result: rollout.Result) -> dict[str, int]:
        """Tokens read and written."""
        read, written = len(self.asked.prompt), len(result.token_ids)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


class _Streamed(StreamingResponse):
    """Events, with what has to be put back in any case: a client may be gone before the first of them."""

    def __init__(self, events: AsyncIterator[str], under_way: contextlib.ExitStack) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._under_way = under_way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._under_way:
            await super().__call__(scope, receive, send)


def _told(error: Exception) -> RequestRefused:
    """What a client is told of an error of the engine: a prompt is at fault, or a forward pass, or it was closed."""
    if isinstance(error, RequestRefused):
        return error
    return RequestRefused(str(error), status=400 if isinstance(error, rollout.RequestError) else 503)


def _read(body: Mapping[str, Any], model: ServedModel, limits: Limits) -> Asked:
    """A request in which everything is known.

    Raises:
        RequestRefused: something is not, or is more than the limits.
    """
    if body.get("model") != model.name:
        what = f"no model {body.get('model')!r}; this server has {model.name!r}"
        raise RequestRefused(what, status=404, parameter="model", code="model_not_found")
    for key, value in body.items():
        if key in _AS_THEY_ARE:
            if value not in (None, _AS_THEY_ARE[key]):
                raise RequestRefused(f"{key} must be {_AS_THEY_ARE[key]!r} or left out", parameter=key)
        elif key not in (*_READ, *_SAMPLING, *_IGNORED):
            raise RequestRefused(f"this server does not know {key}", parameter=key)
    messages, tools = read_messages(body.get("messages")), _offered(body)
    options = body.get("stream_options") or {}
    return Asked(
        prompt=_prompt(model, messages, tools),
        params=_sampling(body, limits.tokens),
        with_tools=bool(tools),
        stream=_flag(body, "stream"),
        usage_at_end=isinstance(options, dict) and _flag(options, "include_usage"),
    )


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise RequestRefused(f"{name} is {value!r} and must be true or false", parameter=name)
    return bool(value)


def _offered(body: Mapping[str, Any]) -> list[Tool]:
    """The tools that the model is shown."""
    tools = read_tools([] if body.get("tools") is None else body["tools"])
    choice = body.get("tool_choice")
    if choice not in (None, "auto", "none"):
        raise RequestRefused(
            f"tool_choice {choice!r} cannot be promised; give 'auto' or 'none'", parameter="tool_choice"
        )
    return [] if choice == "none" else tools


def _sampling(body: Mapping[str, Any], limit: int | None) -> rollout.SamplingParams:
    given: dict[str, Any] = {"max_tokens": limit}
    for name, kinds in _SAMPLING.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool):
            allowed = " or ".join(kind.__name__ for kind in kinds)
            raise RequestRefused(f"{name} is {value!r} and must be {allowed}", parameter=name)
        given["max_tokens" if name in _LENGTHS else name] = value
    if limit is not None and (wanted := given["max_tokens"]) > limit:
        raise RequestRefused(
            f"max_tokens is {wanted} and may be at most {limit} on this server", parameter="max_tokens"
        )
    if not all(isinstance(text, str) for text in given.get("stop", ())):
        raise RequestRefused("stop must hold texts", parameter="stop")
    try:
        return rollout.SamplingParams.from_mapping(given)
    except ValueError as error:
        raise RequestRefused(str(error)) from None


def _prompt(model: ServedModel, messages: list[Message], tools: list[Tool]) -> list[int]:
    try:
        text = render(model.tokenizer, messages, tools, prompt=True)
        shown = not tools or text != render(model.tokenizer, messages, (), prompt=True)
    # Templates are programs of others, which raise what they like for conversations that they do not foresee.
    except Exception as error:
        raise RequestRefused(f"the model's chat template refuses the messages: {error}", parameter="messages") from None
    if not shown:
        raise RequestRefused("the model's chat template shows no tools; leave them out", parameter="tools")
    return list(model.tokenizer.encode(text, add_special_tokens=False))


async def _answer(http: Request, future: Future[rollout.Result], deadline: Deadline) -> rollout.Result:
    """Wait for the engine, unless the client has gone."""
    waiting = asyncio.wrap_future(future)
    while not waiting.done():
        await asyncio.wait([waiting], timeout=min(_POLL_SECONDS, deadline.left))
        if not waiting.done() and await http.is_disconnected():
            raise RequestRefused("the client has gone", status=499)
        if not waiting.done() and not deadline.left:
            raise deadline.missed
    return waiting.result()


def _completion(job: Job, result: rollout.Result) -> dict[str, Any]:
    written, finish = job.written(result)
    return {
        **job.head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": written.message, "finish_reason": finish}],
        "usage": job.usage(result),
    }


async def _events(job: Job, deadline: Deadline) -> AsyncIterator[str]:
    """The answer in pieces: text as soon as it can be no call, calls whole."""
    marks = [*job.asked.params.stop, *([CALL_MARK] if job.asked.with_tools else [])]
    tokens: list[int] = []
    sent = 0
    try:
        yield _piece(job, {"role": "assistant", "content": ""})
        while (token := await deadline.wait_for(job.tokens.get())) is not None:
            tokens.append(token)
            text = job.text(tokens)
            if (safe := safe_length(text, marks)) > sent:
                yield _piece(job, {"content": text[sent:safe]})
                sent = safe
        result = job.future.result()
        written, finish = job.written(result)
        if rest := (written.content or "")[sent:]:
            yield _piece(job, {"content": rest})
        for place, call in enumerate(written.calls):
            yield _piece(job, {"tool_calls": [{"index": place, **call}]})
        yield _piece(job, {}, finish)
        if job.asked.usage_at_end:
            yield _event({**job.head, "object": "chat.completion.chunk", "choices": [], "usage": job.usage(result)})
    # The status has been sent: what goes wrong from here on is an event.
    except (RequestRefused, rollout.RequestError, RuntimeError) as error:
        yield _event(error_body(_told(error)))
    yield "data: [DONE]\n\n"


def _piece(job: Job, delta: Mapping[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _event({**job.head, "object": "chat.completion.chunk", "choices": [choice]})


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
