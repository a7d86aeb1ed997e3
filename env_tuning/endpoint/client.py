"""An OpenAI-compatible server, asked for chat completions.

Owns: requests, retries with growing pauses, what a server does not take, and the count of tokens. Refuses: knowing what
is asked, or what an answer means. The key is sent and nothing else: it is in no representation, message or file.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from env_tuning.errors import UserError

_FATAL = {
    401: "does not accept the key",
    403: "does not allow this",
    404: "knows no such address or model",
}
_DROPPABLE = ("response_format", "seed", "temperature", "max_tokens")
"""What servers and models differ in; they are asked without it before a request counts as refused."""
_TOO_LONG = ("context length", "context_length", "context size", "context window", "prompt is too long")
"""How servers say that a conversation does not fit; none has a status for it."""
_SAID_CHARACTERS = 200


class NoReply(Exception):
    """The server did not answer this request, in all its tries."""


class TooLong(NoReply):
    """The conversation does not fit into the model's context."""


class UnusableReply(Exception):
    """The server answered, but not with what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask, and how patiently.

    Attributes:
        base_url: up to and with ``/v1``, as the clients of OpenAI take it.
        model: the model's name; "" for the only one that the server has.
        key: sent as a bearer token; "" for none.
        timeout: seconds for one try.
        tries: of one request, before it counts as unanswered.
        pause: seconds after the first failed try; doubled after each further one.
        longest_pause: seconds, also for what a server asks for with ``Retry-After``.
        temperature: of every answer; a second attempt should differ from the first.
        max_tokens: of an answer, the reasoning of the model included.
    """

    base_url: str
    model: str = ""
    key: str = field(default="", repr=False)
    timeout: float = 120.0
    tries: int = 5
    pause: float = 1.0
    longest_pause: float = 60.0
    temperature: float = 0.7
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        """Reject an address that is none."""
        if not self.base_url.startswith(("http://", "https://")):
            raise UserError(f"{self.base_url!r} is no address such as http://localhost:8000/v1: --base-url")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One answer.

    Attributes:
        message: the assistant's message as the server gave it.
        finish: the server's reason for its end, "" if it gave none.
        prompt_tokens: as reported; 0 if not.
        completion_tokens: as reported; 0 if not.
    """

    message: Mapping[str, Any]
    finish: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        """The message's content, "" if it has none."""
        content = self.message.get("content")
        return content if isinstance(content, str) else ""


class Chat:
    """A connection to one endpoint, to be used as an async context.

    Attributes:
        counts: ``requests`` answered, ``retries``, ``prompt_tokens`` and ``completion_tokens`` as far as reported.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.counts: Counter[str] = Counter()
        self._endpoint = endpoint
        self._model = endpoint.model
        self._refused: set[str] = set()
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._client = httpx.AsyncClient(
            base_url=endpoint.base_url.rstrip("/") + "/",
            headers=headers,
            timeout=endpoint.timeout,
            # How many ask at once is the caller's affair; its own limit would make requests wait into their timeout.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def __aenter__(self) -> Chat:
        """Find out the model, if none was named.

        Raises:
            UserError: the server offers none or several, or there is no server.
        """
        if not self._model:
            try:
                self._model = await self._only_model()
            except NoReply as error:
                raise UserError(f"{self._endpoint.base_url}: {error}") from None
            finally:
                if not self._model:
                    await self._client.aclose()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def model(self) -> str:
        """The model that is asked; "" before it was found out."""
        return self._model

    @property
    def left_out(self) -> frozenset[str]:
        """The fields that this server does not take, so that no request has them any more."""
        return frozenset(self._refused)

    async def complete(self, messages: Sequence[Mapping[str, Any]], **more: Any) -> Completion:
        """One answer.

        Args:
            messages: the conversation.
            more: further fields of the request, such as ``tools``.

        Raises:
            NoReply: no answer, or one that says that this request cannot be answered (`TooLong`: for its length).
            UnusableReply: an answer without a message.
            UserError: no request to this endpoint can succeed.
        """
        body = {
            "messages": list(messages),
            "temperature": self._endpoint.temperature,
            "max_tokens": self._endpoint.max_tokens,
            **more,
        }
        data = await self._tried("POST", "chat/completions", body)
        self.counts["requests"] += 1
        usage = data.get("usage") if isinstance(data, dict) else None
        tokens = dict.fromkeys(("prompt_tokens", "completion_tokens"), 0)
        for name in tokens:
            if isinstance(usage, dict) and isinstance(usage.get(name), int):
                tokens[name] = usage[name]
                self.counts[name] += usage[name]
        return _completion(data, tokens)

    async def _only_model(self) -> str:
        data = await self._tried("GET", "models", None)
        items = data.get("data") if isinstance(data, dict) else None
        names = [str(item["id"]) for item in items or () if isinstance(item, dict) and "id" in item]
        if len(names) != 1:
            offered = f"offers {', '.join(names[:10])}" if names else "does not say what it offers"
            raise UserError(f"{self._endpoint.base_url} {offered}; choose a model with --model or OPENAI_MODEL")
        return names[0]

    async def _tried(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """The JSON of an answer; tried again after what may pass."""
        problem = ""
        for number in range(self._endpoint.tries):
            wait = self._endpoint.pause * 2**number * random.uniform(0.75, 1.25)
            try:
                response = await self._sent(method, path, body)
            except httpx.InvalidURL as error:
                raise UserError(f"{self._endpoint.base_url!r} is no address: {error}") from None
            except httpx.TimeoutException:
                problem = f"no answer within {self._endpoint.timeout:g} s"
            except httpx.TransportError as error:
                problem = f"no connection ({type(error).__name__}: {self._clean(str(error))})"
            else:
                if response.is_success:
                    try:
                        return response.json()
                    except ValueError:
                        problem = "an answer that is no JSON"
                elif response.status_code in _FATAL:
                    raise UserError(
                        f"{self._endpoint.base_url} {_FATAL[response.status_code]} "
                        f"({response.status_code}: {self._said(response)})"
                    )
                else:
                    problem = f"status {response.status_code}: {self._said(response)}"
                    if _is_too_long(response):
                        raise TooLong(problem)
                    if response.status_code not in (408, 409, 425, 429) and response.status_code < 500:
                        raise NoReply(problem)
                    wait = max(wait, _asked_wait(response))
            if number + 1 < self._endpoint.tries:
                self.counts["retries"] += 1
                await asyncio.sleep(min(wait, self._endpoint.longest_pause))
        raise NoReply(f"{problem} ({self._endpoint.tries} tries)")

    async def _sent(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        """One answer. What the server does not take is left out: for good, if that helped."""
        dropped = set(self._refused)
        while True:
            given = None
            if body is not None:
                given = {"model": self._model, **{name: body[name] for name in body.keys() - dropped}}
            response = await self._client.request(method, path, json=given)
            left = [name for name in _DROPPABLE if given and name in given]
            if _is_too_long(response):
                # Without a limit a server gives what room is left; this says nothing of other conversations.
                if given is None or "max_tokens" not in given:
                    return response
                del given["max_tokens"]
                return await self._client.request(method, path, json=given)
            if response.status_code not in (400, 422, 501) or not left:
                if response.is_success:
                    self._refused |= dropped
                return response
            said = response.text
            dropped.add(next((name for name in left if name in said), left[0]))

    def _said(self, response: httpx.Response) -> str:
        """The server's own words, without the key, which some repeat."""
        try:
            data = response.json()
            error = data.get("error", data)
            text = error.get("message", error) if isinstance(error, dict) else error
        except (ValueError, AttributeError):
            text = response.text
        return self._clean(str(text))

    def _clean(self, text: str) -> str:
        if self._endpoint.key:
            text = text.replace(self._endpoint.key, "***")
        line = " ".join(text.split())
        return line if len(line) <= _SAID_CHARACTERS else f"{line[:_SAID_CHARACTERS]} ..."


def _asked_wait(response: httpx.Response) -> float:
    """Seconds that a server asks to wait, as a number or as a date; 0 if it does not say."""
    given = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return 0.0


def _is_too_long(response: httpx.Response) -> bool:
    return response.status_code >= 400 and any(words in response.text.lower() for words in _TOO_LONG)


def _completion(data: Any, tokens: Mapping[str, int]) -> Completion:
    """The first choice.

    Raises:
        UnusableReply: there is none.
    """
    try:
        choice = data["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        message = finish = None
    if not isinstance(message, dict):
        raise UnusableReply("an answer without a message")
    return Completion(message=message, finish=str(finish or ""), **tokens)
