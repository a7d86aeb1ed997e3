"""One thread that drives a `RolloutEngine`, and a way to talk to it from others.

Owns: the thread, and the order of commands and steps. Refuses: locks. Commands wait in a queue and run between two
steps, so each is atomic with respect to a forward pass, and no caller ever waits for one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from env_tuning.verl_plugin.rollout.engine import RolloutEngine
from env_tuning.verl_plugin.rollout.request import Request, Result

T = TypeVar("T")
_GATHER_SECONDS = 0.002


class EngineClosed(RuntimeError):
    """The engine's thread has ended; nothing more can be asked of it."""


class EngineThread:
    """Runs an engine until `close`.

    The engine must not be touched from elsewhere once it is here: everything goes through `call` and `submit`.
    """

    def __init__(self, engine: RolloutEngine) -> None:
        self._engine = engine
        # None closes the thread.
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closed = False
        self._entry = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="rollout-engine", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[RolloutEngine], T]) -> Future[T]:
        """Run `function` on the engine between two steps; the future has what it returns or raises."""
        future: Future[T] = Future()
        self._put(lambda: _settle(future, function, self._engine))
        return future

    def submit(self, request: Request) -> Future[Result]:
        """Queue a request. Cancelling the future aborts it."""
        future: Future[Result] = Future()
        self._put(lambda: self._engine.add(request, future))
        future.add_done_callback(lambda done: self._abort_cancelled(request, done))
        return future

    def close(self) -> None:
        """Fail what is under way and end the thread. May be called again."""
        with self._entry:
            if not self._closed:
                self._closed = True
                self._commands.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _put(self, command: Callable[[], Any]) -> None:
        # The lock is held for a moment only; it keeps a command from arriving behind the closing mark, unanswered.
        with self._entry:
            if self._closed:
                raise EngineClosed("the rollout engine was closed, or ended by an error that was raised before")
            self._commands.put(command)

    def _abort_cancelled(self, request: Request, future: Future[Result]) -> None:
        if future.cancelled() and not self._closed:
            self._put(lambda: self._engine.abort(request.request_id))

    def _run(self) -> None:
        try:
            while self._obey():
                self._engine.step()
        except BaseException as error:
            # A bug in the engine itself. Its callers must hear of it, or they would wait for ever.
            with self._entry:
                self._closed = True
            self._drain()
            self._engine.fail_all(error)
            raise
        self._engine.fail_all(EngineClosed("the rollout engine was closed before this request ended"))

    def _drain(self) -> None:
        while not self._commands.empty():
            command = self._commands.get()
            if command is not None:
                command()

    def _obey(self) -> bool:
        """Run the commands that wait; with nothing to compute, sleep until one comes. False when told to close."""
        idle = self._engine.paused or not self._engine.has_work
        while True:
            blocked = self._engine.paused or not self._engine.has_work
            if not blocked and idle:
                # The requests of a wave come one by one, and steps with few of them cost as much as full ones.
                time.sleep(_GATHER_SECONDS)
                idle = False
            try:
                command = self._commands.get(block=blocked)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()


def _settle(future: Future[T], function: Callable[[RolloutEngine], T], engine: RolloutEngine) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(engine))
    except Exception as error:
        future.set_exception(error)
