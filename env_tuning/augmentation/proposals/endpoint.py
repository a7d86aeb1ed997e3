"""An OpenAI-compatible server, asked for JSON objects.

Owns: requests, retries with growing pauses, what a server does not take, and the count of tokens. Refuses: knowing what
is asked. The key is sent and nothing else: it is in no representation, message or file.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
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
_DROPPABLE = ("response_format", "temperature", "max_tokens")
"""What servers and models differ in; they are asked without it before a request counts as refused."""
_SAID_CHARACTERS = 200


class NoReply(Exception):
    """The server did not answer this request, in all its tries."""


class UnusableReply(Exception):
    """The server answered, but with no JSON object: a refusal, a cut answer, or something else."""


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
            base_url=endpoint.base_url.rstrip("/") + "/", headers=headers, timeout=endpoint.timeout
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

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
        """One JSON object.

        Args:
            messages: the conversation.
            schema: of the object; a server that cannot enforce it is asked without.

        Raises:
            NoReply: no answer, or one that says that this request cannot be answered.
            UnusableReply: an answer without a JSON object.
            UserError: no request to this endpoint can succeed.
        """
        body = {
            "messages": list(messages),
            "temperature": self._endpoint.temperature,
            "max_tokens": self._endpoint.max_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
            },
        }
        data = await self._tried("POST", "chat/completions", body)
        self.counts["requests"] += 1
        usage = data.get("usage") if isinstance(data, dict) else None
        for name in ("prompt_tokens", "completion_tokens"):
            if isinstance(usage, dict) and isinstance(usage.get(name), int):
                self.counts[name] += usage[name]
        return read_object(_content(data))

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


def _content(data: Any) -> str:
    """The text of the first choice.

    Raises:
        UnusableReply: the model refused, was cut off, or there is no text.
    """
    try:
        choice = data["choices"][0]
        message, ended = choice["message"], choice.get("finish_reason")
        refusal, content = message.get("refusal"), message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise UnusableReply("an answer without a message") from None
    if refusal or ended == "content_filter":
        raise UnusableReply("the model refused")
    if ended == "length":
        raise UnusableReply("the answer was cut off at the limit of tokens (--max-tokens)")
    if not isinstance(content, str) or not content.strip():
        raise UnusableReply("an empty answer")
    return content


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
