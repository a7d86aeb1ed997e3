"""Programs in confined processes of this machine: the default backend of the Python tool.

Owns: the nursery's process, interpreters as seen from outside, the end of a program's time, how many programs run at
once. Refuses: confinement (`confinement.py`), what a tool call looks like (`tool.py`). Everything here blocks, may be
called from many threads, and may not be called from a running event loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from env_tuning.environments.python.bounds import GRACE_SECONDS, Bounds, Ending, Run
from env_tuning.environments.python.channel import pack, receive
from env_tuning.environments.python.confinement import Enforced
from env_tuning.environments.python.nursery import MOST_MESSAGE
from env_tuning.errors import UserError

PRELOAD = ("numpy", "sympy")
"""Loaded once, before the first program: sympy alone takes a second."""

_START_SECONDS = 120.0
_END_SECONDS = 10.0
_FRAME_OVERHEAD = 65_536
_BYTES_PER_CHARACTER = 12
"""Of one character beyond the basic plane in ASCII JSON."""


class LocalSandbox:
    """One nursery and the interpreters forked from it. Made by `local_sandbox`, shared by all episodes of a process."""

    def __init__(self, *, concurrency: int, preload: Sequence[str] = PRELOAD) -> None:
        """Start nothing yet: the nursery starts with the first program.

        Args:
            concurrency: programs that run at once; further ones wait, and waiting does not count as their time.
            preload: modules to load before.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be at least 1")
        self._running = threading.BoundedSemaphore(concurrency)
        self._preload = preload
        self._lock = threading.Lock()
        self._nursery: _NurseryProcess | None = None

    def interpreter(self, bounds: Bounds, *, kept: bool) -> Interpreter:
        """An interpreter that is forked when it gets its first program.

        Args:
            bounds: of each program.
            kept: variables last from program to program; otherwise every program gets an interpreter of its own.
        """
        return Interpreter(self, bounds, kept=kept)

    def enforced(self) -> Enforced:
        """What this system lets the sandbox enforce; starts the nursery."""
        return self._started().enforced

    def close(self) -> None:
        """Kill every interpreter. The next program would start anew."""
        with self._lock:
            if self._nursery is not None:
                self._nursery.close()
                self._nursery = None

    def fork(self, bounds: Bounds, *, kept: bool) -> socket.socket:
        """The channel of a new interpreter, which is confined and waits for a program.

        Raises:
            UserError: the system refuses to start or to confine one.
        """
        message = json.dumps({"bounds": dataclasses.asdict(bounds), "kept": kept}).encode()
        assert len(message) <= MOST_MESSAGE
        mine, theirs = socket.socketpair()
        with theirs:
            # A nursery that was killed from outside is replaced once.
            for last in (False, True):
                try:
                    self._started().send(message, theirs)
                    break
                except OSError:
                    if last:
                        mine.close()
                        raise
                    self.close()
        # Before it gets a program, what it says is no program's word.
        said = receive(mine, time.monotonic() + _START_SECONDS, _FRAME_OVERHEAD) or {}
        if "ready" not in said:
            mine.close()
            raise UserError(
                f"Python sandbox: {said.get('broken', 'an interpreter was lost')}; see docs/reference/python_tool.md"
            )
        return mine

    def run(self, run: functools.partial[Run]) -> Run:
        """Call when it is this program's turn."""
        with self._running:
            return run()

    def _started(self) -> _NurseryProcess:
        with self._lock:
            if self._nursery is None:
                self._nursery = _NurseryProcess(self._preload)
            return self._nursery


class Interpreter:
    """Where the programs of one episode run. Used by one thread at a time."""

    def __init__(self, sandbox: LocalSandbox, bounds: Bounds, *, kept: bool) -> None:
        """Nothing is forked before the first program."""
        self._sandbox = sandbox
        self._bounds = bounds
        self._kept = kept
        self._channel: socket.socket | None = None

    def run(self, code: str) -> Run:
        """Run a program; returns at the latest when its time is up, plus a second."""
        return self._sandbox.run(functools.partial(self._run, code))

    def close(self) -> None:
        """Kill the interpreter, if there is one, and wait until nothing is left of it."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            with channel, contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_WR)
                channel.settimeout(_END_SECONDS)
                while channel.recv(_FRAME_OVERHEAD):
                    pass

    def _run(self, code: str) -> Run:
        if self._channel is None:
            self._channel = self._sandbox.fork(self._bounds, kept=self._kept)
        channel = self._channel
        deadline = time.monotonic() + self._bounds.wall_seconds + GRACE_SECONDS
        most = _FRAME_OVERHEAD + _BYTES_PER_CHARACTER * self._bounds.output_characters
        try:
            channel.settimeout(self._bounds.wall_seconds)
            channel.sendall(pack({"code": code}))
            message = receive(channel, deadline, most)
        except TimeoutError:
            self.close()
            return _stopped(self._bounds)
        except ConnectionError:
            message = None
        run = _read(message) or _stopped_by({})
        if run.lost or not self._kept:
            self.close()
        return run


def _read(message: dict[str, Any] | None) -> Run | None:
    """The run that a message tells of; None if it tells of none. What programs can forge is checked for type alone."""
    if message is None:
        return None
    if "exit" in message:
        return _stopped_by(message)
    output, error, dropped = message.get("output"), message.get("error"), message.get("dropped")
    known = {ending.value: ending for ending in Ending}
    ending = known.get(message.get("ending", ""))
    if ending is None or not isinstance(output, str) or not isinstance(error, str) or type(dropped) is not int:
        return None
    return Run(ending=ending, output=output, dropped=dropped, error=error)


def _stopped(bounds: Bounds) -> Run:
    return Run(
        ending=Ending.TIMEOUT, error=f"The program was stopped after {bounds.wall_seconds:g} seconds.", lost=True
    )


def _stopped_by(message: dict[str, Any]) -> Run:
    """The run of a program whose interpreter ended."""
    code = message.get("exit")
    if code == -signal.SIGXCPU:
        return Run(ending=Ending.CPU, error="The program was stopped: its CPU time was up.", lost=True)
    if code == -signal.SIGKILL:
        return Run(ending=Ending.DIED, error="The program was killed: it used too much of the machine.", lost=True)
    return Run(ending=Ending.DIED, error="The program ended its interpreter.", lost=True)


class _NurseryProcess:
    """The nursery as a child process."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _of_a_lasting_thread(
                lambda: subprocess.Popen(
                    [
                        sys.executable,
                        "-s",
                        "-c",
                        _PROGRAM,
                        str(theirs.fileno()),
                        ",".join(preload),
                        json.dumps(_import_path()),
                    ],
                    env=_environment(),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            )
        self._control.settimeout(_START_SECONDS)
        try:
            message = self._control.recv(MOST_MESSAGE)
        except TimeoutError:
            message = b""
        stderr = self._process.stderr
        assert stderr is not None
        if not message:
            self._process.kill()
            said = stderr.read().decode(errors="replace").strip().splitlines()
            self.close()
            raise UserError(f"the Python sandbox did not start ({said[-1] if said else 'no reason given'})")
        stderr.close()
        self._control.settimeout(None)
        self.enforced = Enforced(**json.loads(message)["enforced"])

    def send(self, message: bytes, channel: socket.socket) -> None:
        """Hand over the channel of a new interpreter."""
        socket.send_fds(self._control, [message], [channel.fileno()])

    def close(self) -> None:
        """End the nursery, and with it all interpreters."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def _of_a_lasting_thread(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """The process, started by a thread that waits for its end.

    The nursery asks to be killed when its parent dies, and a parent is a thread to Linux: that of the first program may
    be one of an event loop's, which end with the loop.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            started.set_result(start())
        except BaseException as error:
            started.set_exception(error)
        else:
            started.result().wait()

    threading.Thread(target=keep, name="python-sandbox", daemon=True).start()
    return started.result()


_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[3])
from env_tuning.environments.python.nursery import main
main(int(sys.argv[1]), sys.argv[2].split(",") if sys.argv[2] else [])
"""


def _import_path() -> list[str]:
    """Where this process imports from, this package included, as absolute folders."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    return list(dict.fromkeys([*(os.path.abspath(path) for path in sys.path if path), package]))


def _environment() -> dict[str, str]:
    """Nothing of the trainer's but what finds shared libraries; one thread for each library that would start many."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **threads, **kept}


@functools.cache
def _shared(concurrency: int, process: int) -> LocalSandbox:
    return LocalSandbox(concurrency=concurrency)


def local_sandbox(concurrency: int | None = None) -> LocalSandbox:
    """The sandbox of this process; by default as many programs at once as there are cores."""
    return _shared(concurrency or len(os.sched_getaffinity(0)), os.getpid())
