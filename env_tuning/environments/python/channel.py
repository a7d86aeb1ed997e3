"""Frames between the sandbox's user and an interpreter: four bytes of length, then JSON.

Owns: writing and reading one frame. Refuses: what frames mean. Interpreters are no peers to trust: what they send has a
largest size, and anything that is no frame reads as None.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

_HEADER = 4


def pack(message: dict[str, Any]) -> bytes:
    """A frame; lone surrogates and all are ASCII in it."""
    body = json.dumps(message).encode("ascii")
    return len(body).to_bytes(_HEADER, "big") + body


def write_all(descriptor: int, data: bytes) -> None:
    """Write to a blocking file descriptor until everything is written. A write, since `send` is a network call."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_frame(descriptor: int) -> dict[str, Any] | None:
    """The next frame of a blocking file descriptor; None at its end."""
    size = _read_exactly(descriptor, _HEADER)
    body = None if size is None else _read_exactly(descriptor, int.from_bytes(size, "big"))
    return None if body is None else json.loads(body)


def _read_exactly(descriptor: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = os.read(descriptor, count - len(data))
        if not more:
            return None
        data += more
    return data


def receive(channel: socket.socket, deadline: float, most: int) -> dict[str, Any] | None:
    """The next frame from an interpreter; None if there will be none, or what came is no frame.

    Args:
        channel: a socket.
        deadline: on the monotonic clock.
        most: the largest frame in bytes.

    Raises:
        TimeoutError: the deadline passed.
    """
    size = _receive_exactly(channel, deadline, _HEADER)
    count = -1 if size is None else int.from_bytes(size, "big")
    body = _receive_exactly(channel, deadline, count) if 0 <= count <= most else None
    try:
        message = None if body is None else json.loads(body)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _receive_exactly(channel: socket.socket, deadline: float, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        channel.settimeout(max(1e-6, deadline - time.monotonic()))
        try:
            more = channel.recv(min(count - len(data), 1 << 20))
        except ConnectionError:
            return None
        if not more:
            return None
        data += more
    return bytes(data)
