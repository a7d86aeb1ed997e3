"""``/v1/models`` and ``/v1/chat/completions`` over the project's rollout engine.

Owns: the protocol's requests, answers and errors, and their translation into tokens. Refuses: what it cannot do
(streaming, several choices, schemas, tools) with a status of 400 that says so, instead of ignoring it; computing
anything: the engine's thread does, and batches what arrives together.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from env_tuning.verl_plugin.rollout import request as rollout

if TYPE_CHECKING:
    from env_tuning.verl_plugin.rollout.runner import EngineThread

_LENGTHS = ("max_tokens", "max_completion_tokens")
_SAMPLING: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("temperature", "top_p"), (int, float)),
        **dict.fromkeys(("seed", *_LENGTHS), (int,)),
        "stop": (str, list),
    }
)
"""Parameters that the engine knows, and what they may be in JSON."""
_IGNORED = ("user", "metadata", "store")
_AS_THEY_ARE: Mapping[str, Any] = MappingProxyType(
    {
        "stream": False,
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "response_format": {"type": "text"},
    }
)
"""Parameters that are taken with one value alone, the one that changes nothing."""
_POLL_SECONDS = 1.0


class RequestRefused(ValueError):
    """A request that cannot be served as asked, with the status and the parameter that is at fault."""

    def __init__(self, message: str, *, status: int = 400, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.parameter = parameter


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
    """
    from env_tuning.verl_plugin.rollout.folder import load_folder

    loaded = load_folder(folder, slots=slots, max_length=max_length, threads=threads)
    return ServedModel(name=name or folder.resolve().name, thread=loaded.thread, tokenizer=loaded.tokenizer)


def chat_app(model: ServedModel) -> FastAPI:
    """The server's application; whoever runs it closes the model's thread in the end."""
    app = FastAPI(title="env_tuning", docs_url=None, redoc_url=None, openapi_url=None)
    created = int(time.time())
    numbers = itertools.count()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": model.name, "object": "model", "created": created, "owned_by": "env_tuning"}],
        }

    @app.post("/v1/chat/completions")
    async def completions(http: Request) -> Any:
        try:
            body = await http.json()
        except ValueError as error:
            raise RequestRefused(f"the body is no JSON: {error}") from None
        prompt = _prompt(model, _checked(body, model.name))
        asked = rollout.Request(request_id=f"chat-{next(numbers)}", prompt_ids=prompt, params=_sampling(body))
        result = await _answer(http, model.thread.submit(asked))
        return _completion(model, result, prompt_tokens=len(prompt), stop=asked.params.stop)

    @app.exception_handler(RequestRefused)
    async def refused(_: Request, error: RequestRefused) -> JSONResponse:
        return _error(error.status, str(error), error.parameter)

    @app.exception_handler(rollout.RequestError)
    async def impossible(_: Request, error: rollout.RequestError) -> JSONResponse:
        return _error(400, str(error))

    @app.exception_handler(RuntimeError)
    async def broken(_: Request, error: RuntimeError) -> JSONResponse:
        # The engine was closed, or a forward pass failed.
        return _error(503, str(error))

    return app


def _error(status: int, message: str, parameter: str | None = None) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    content = {"error": {"message": message, "type": kind, "param": parameter, "code": None}}
    return JSONResponse(content, status_code=status)


def _checked(body: Any, name: str) -> list[dict[str, str]]:
    """The messages of a request in which everything else is known.

    Raises:
        RequestRefused: something is not.
    """
    if not isinstance(body, dict):
        raise RequestRefused("the body must be a JSON object")
    if body.get("model") != name:
        raise RequestRefused(f"no model {body.get('model')!r}; this server has {name!r}", status=404, parameter="model")
    for key, value in body.items():
        if key in _AS_THEY_ARE:
            if value not in (None, _AS_THEY_ARE[key]):
                raise RequestRefused(f"{key} must be {_AS_THEY_ARE[key]!r} or left out", parameter=key)
        elif key not in ("model", "messages", *_SAMPLING, *_IGNORED):
            raise RequestRefused(f"this server does not know {key}", parameter=key)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestRefused("messages must be a list with at least one message", parameter="messages")
    return [_message(message) for message in messages]


def _message(message: Any) -> dict[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant"):
        raise RequestRefused("a message is an object with the role system, user or assistant", parameter="messages")
    content = message.get("content")
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(texts) if len(texts) == len(content) else None
    if not isinstance(content, str):
        raise RequestRefused("the content of a message must be text", parameter="messages")
    return {"role": role, "content": content}


def _sampling(body: Mapping[str, Any]) -> rollout.SamplingParams:
    given: dict[str, Any] = {}
    for name, kinds in _SAMPLING.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise RequestRefused(f"{name} is {value!r} and must be {wanted}", parameter=name)
        given["max_tokens" if name in _LENGTHS else name] = value
    if not all(isinstance(text, str) for text in given.get("stop", ())):
        raise RequestRefused("stop must hold texts", parameter="stop")
    try:
        return rollout.SamplingParams.from_mapping(given)
    except ValueError as error:
        raise RequestRefused(str(error)) from None


def _prompt(model: ServedModel, messages: list[dict[str, str]]) -> list[int]:
    try:
        return model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    # Templates are programs of others, which raise what they like for conversations that they do not foresee.
    except Exception as error:
        raise RequestRefused(f"the model's chat template refuses the messages: {error}", parameter="messages") from None


async def _answer(http: Request, future: Future[rollout.Result]) -> rollout.Result:
    """Wait for the engine, unless the client has gone: then its request is called back."""
    waiting = asyncio.wrap_future(future)
    while not waiting.done():
        await asyncio.wait([waiting], timeout=_POLL_SECONDS)
        if not waiting.done() and await http.is_disconnected():
            waiting.cancel()
            raise RequestRefused("the client has gone", status=499)
    return waiting.result()


def _completion(
    model: ServedModel, result: rollout.Result, *, prompt_tokens: int, stop: tuple[str, ...]
) -> dict[str, Any]:
    if result.stop_reason is rollout.StopReason.ABORTED:
        raise RuntimeError("the request was called back")
    text = model.tokenizer.decode(result.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if result.stop_reason is rollout.StopReason.STOP_STRING:
        text = text[: min((text.find(ending) for ending in stop if ending in text), default=len(text))]
    finish = "length" if result.stop_reason is rollout.StopReason.LENGTH else "stop"
    tokens = len(result.token_ids)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model.name,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        },
    }
