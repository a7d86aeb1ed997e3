"""Programs on a sandbox server over HTTP, by the protocol of SandboxFusion's ``/run_code``.

Owns: the request, and what an answer means. Refuses: kept variables (the protocol has none), running a server. That the
server confines programs is its operator's business.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from env_tuning.environments.python.bounds import Bounds, Ending, Run
from env_tuning.errors import UserError

_SERVER_SECONDS = 10.0
"""What a server may take beyond the program's own time: its queue, and the network."""

_ERROR_CHARACTERS = 2_000


class RemoteSession:
    """The programs of one episode; each runs in an interpreter of its own."""

    def __init__(self, url: str, bounds: Bounds, *, concurrency: int = 32) -> None:
        """Connect to nothing yet.

        Args:
            url: where programs are posted, such as ``http://sandbox:8080/run_code``.
            bounds: wall time, memory and output are taken.
            concurrency: requests at once.

        Raises:
            UserError: no such URL.
        """
        if not url.startswith(("http://", "https://")):
            raise UserError(f"Python sandbox: url is {url!r}; give one such as http://sandbox:8080/run_code")
        self._url = url
        self._bounds = bounds
        self._client, self._running = _client(concurrency, os.getpid())

    def run(self, code: str) -> Run:
        """Post a program.

        Raises:
            UserError: the server cannot be reached, or answers something else than the protocol says.
        """
        import httpx

        request = {
            "code": code,
            "language": "python",
            "run_timeout": self._bounds.wall_seconds,
            "memory_limit_MB": self._bounds.memory_mib,
        }
        try:
            with self._running:
                response = self._client.post(
                    self._url, json=request, timeout=self._bounds.wall_seconds + _SERVER_SECONDS
                )
            response.raise_for_status()
            return read_answer(response.json(), self._bounds)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(f"Python sandbox at {self._url}: {reason}; is a SandboxFusion server there?") from None

    def close(self) -> None:
        """Nothing is kept."""


def read_answer(answer: dict[str, Any], bounds: Bounds) -> Run:
    """The run that a server's answer tells of.

    Raises:
        KeyError, TypeError: it is no such answer.
    """
    result = answer["run_result"]
    if result is None:
        raise KeyError(f"run_result ({answer.get('message') or answer['status']})")
    output, error = str(result.get("stdout") or ""), str(result.get("stderr") or "")[-_ERROR_CHARACTERS:].strip()
    kept = output[: bounds.output_characters]
    if result["status"] == "TimeLimitExceeded":
        ending, error = Ending.TIMEOUT, f"The program was stopped after {bounds.wall_seconds:g} seconds."
    elif result["status"] == "Finished" and result.get("return_code") == 0:
        ending, error = Ending.OK, ""
    else:
        ending, error = Ending.RAISED, error or f"The program ended with status {result.get('return_code')}."
    return Run(ending=ending, output=kept, dropped=len(output) - len(kept), error=error)


@functools.cache
def _client(concurrency: int, process: int) -> tuple[Any, threading.BoundedSemaphore]:
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    return httpx.Client(limits=limits), threading.BoundedSemaphore(concurrency)
