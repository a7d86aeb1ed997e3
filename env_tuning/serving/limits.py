"""What one client cannot take from the others: size, length, number and time of requests.

Owns: the limits and the count of requests under way. Refuses: HTTP beyond reading a body.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from env_tuning.serving.refusals import RequestRefused


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of every request, whatever it asks for.

    Attributes:
        body_bytes: the largest body.
        tokens: the longest answer; None: as many as the model's context holds.
        requests: under way at once; further ones are refused with status 429.
        seconds: from the first byte to the last.
    """

    body_bytes: int = 4 * 2**20
    tokens: int | None = None
    requests: int = 64
    seconds: float = 600.0

    def __post_init__(self) -> None:
        """Refuse limits that no request keeps.

        Raises:
            ValueError: one is not positive.
        """
        for name, value in vars(self).items():
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")


class Gate:
    """Counts the requests under way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0

    @contextlib.contextmanager
    def passed(self) -> Iterator[None]:
        """Be inside for as long as a block lasts.

        Raises:
            RequestRefused: it is full.
        """
        if self._inside >= self._limit:
            raise RequestRefused(
                f"{self._limit} requests are under way, the most that this server takes; try again later",
                status=429,
                code="rate_limit_exceeded",
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


async def read_body(chunks: AsyncIterator[bytes], limit: int) -> dict[str, Any]:
    """The JSON object of a body, of which no more is read than the limit.

    Args:
        chunks: as they arrive.
        limit: bytes.

    Raises:
        RequestRefused: it is longer, no JSON or no object.
    """
    read = bytearray()
    async for chunk in chunks:
        read += chunk
        if len(read) > limit:
            raise RequestRefused(f"the body is longer than {limit} bytes, the most that this server reads", status=413)
    try:
        body = json.loads(read)
    # Deep nesting exhausts the decoder's stack.
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestRefused("the body must be a JSON object")
    return body
