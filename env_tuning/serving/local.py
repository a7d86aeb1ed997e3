"""A server inside this process, for as long as a block lasts.

Owns: the thread and the port. Refuses: what is served.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

_START_SECONDS = 30.0


@contextlib.contextmanager
def served(app: FastAPI, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve an application on a free port; gives the address up to the port."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), name="chat-server", daemon=True)
        thread.start()
        try:
            _wait(server, thread)
            yield f"http://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _wait(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
