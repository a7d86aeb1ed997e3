"""Programs in Monty, an interpreter of its own for a part of Python: no files, no network, no packages.

Owns: the pool of Monty's workers and a kept session as bytes, so that a waiting episode holds no worker. Refuses: numpy
and sympy: programs that import them fail. Needs the extra `monty`.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from env_tuning.environments.python.bounds import GRACE_SECONDS, Bounds, Ending, Run
from env_tuning.environments.python.printed import Printed
from env_tuning.errors import UserError

_ERROR_CHARACTERS = 2_000


class MontySession:
    """The programs of one episode."""

    def __init__(self, bounds: Bounds, *, kept: bool, concurrency: int | None = None) -> None:
        """Start nothing yet.

        Args:
            bounds: wall time, memory and output are taken; the rest has no meaning here.
            kept: variables last from program to program.
            concurrency: workers, which is programs at once; by default as many as cores.

        Raises:
            UserError: the package is not installed.
        """
        self._bounds = bounds
        self._kept = kept
        self._pool = _pool(concurrency or len(os.sched_getaffinity(0)), os.getpid())
        self._state: bytes | None = None

    def run(self, code: str) -> Run:
        """Run a program; the value of a last line that is an expression is printed, as at a prompt."""
        import pydantic_monty

        limits = {"max_feed_duration_secs": self._bounds.wall_seconds, "max_memory": self._bounds.memory_mib * 2**20}
        printed = Printed(self._bounds.output_characters)
        ending, error = Ending.OK, ""
        try:
            with self._pool.checkout(limits=limits) as session:
                if self._state is not None:
                    session.load_session(self._state)
                try:
                    value = session.feed_run(code, print_callback=lambda stream, text: printed.write(text))
                    if value is not None:
                        printed.write(f"{value!r}\n")
                except (pydantic_monty.MontyRuntimeError, pydantic_monty.MontySyntaxError) as raised:
                    ending, error = _ending(raised), _describe(raised)
                # What a time limit stopped may be left in any state.
                lost = ending is Ending.TIMEOUT
                self._state = session.dump() if self._kept and not lost else None
        except pydantic_monty.MontyCrashedError:
            ending, error, lost, self._state = Ending.DIED, "The program ended its interpreter.", True, None
        return Run(ending=ending, output=printed.text(), dropped=printed.dropped, error=error, lost=lost)

    def close(self) -> None:
        """Forget the variables."""
        self._state = None


def _ending(raised: Any) -> Ending:
    return Ending.TIMEOUT if "TimeoutError: feed time limit" in str(raised) else Ending.RAISED


def _describe(raised: Any) -> str:
    return str(raised)[-_ERROR_CHARACTERS:]


@functools.cache
def _pool(workers: int, process: int) -> Any:
    try:
        import pydantic_monty
    except ImportError:
        raise UserError("the backend monty needs a package: pip install 'env-tuning[monty]'") from None
    pool = pydantic_monty.Monty(min_processes=1, max_processes=workers, feed_duration_limit_grace=GRACE_SECONDS)
    return pool.__enter__()
