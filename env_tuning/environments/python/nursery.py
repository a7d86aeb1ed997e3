"""The process that interpreters are forked from: Python with numpy and sympy loaded, and nothing of the trainer.

Owns: forking confined interpreters, killing and reaping them with all they may have started. Refuses: running a program
itself, and reading what its interpreters say. It listens on one socket, each message of which brings the channel of a
new interpreter; it keeps a duplicate of every channel. When the other side shuts a channel down, the interpreter is
killed; when an interpreter has ended, the nursery writes how to its channel and closes it, so that the end of the
channel means that nothing is left. When the listening socket ends, everything does: nobody has to tidy up after a
trainer that was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from env_tuning.environments.python import confinement
from env_tuning.environments.python.bounds import Bounds
from env_tuning.environments.python.channel import pack
from env_tuning.environments.python.interpreter import run_confined

MOST_MESSAGE = 4096
_INTERPRETER_CHANNEL = 3
_DESCRIPTORS = 65_536
_CHILDREN = Path("/proc/thread-self/children")


@dataclass(frozen=True, kw_only=True)
class _Live:
    """A running interpreter."""

    pid: int
    slot: int
    channel: socket.socket
    scratch: Path | None


class Nursery:
    """Interpreters by process id and by channel."""

    def __init__(self, control: socket.socket, ground: confinement.Ground, *, sweep: bool) -> None:
        """Listen on `control`; `sweep`: look for what programs started, since the system does not prevent it."""
        self._control = control
        self._ground = ground
        self._sweep = sweep
        self._by_pid: dict[int, _Live] = {}
        self._by_channel: dict[int, _Live] = {}
        self._free: list[int] = []
        self._poll = select.epoll()
        self._wake = _wake_on_children()
        for source in (control, self._wake):
            self._poll.register(source, select.EPOLLIN)

    def serve(self) -> None:
        """Until the other side of the control socket is gone; then kill every interpreter."""
        while True:
            ready = {source for source, _ in self._poll.poll()}
            # Burying frees a channel's number, and a new interpreter may get it: what is said of channels is heard
            # before the one, and new ones come after the other.
            for source in ready & self._by_channel.keys():
                self._kill(self._by_channel[source].pid)
                # Its end is still to come; until then the channel has nothing new to say.
                self._poll.unregister(source)
            if self._wake.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            if self._control.fileno() in ready and not self._receive():
                return self._end()

    def _receive(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, MOST_MESSAGE, 1)
        if not message or not descriptors:
            return False
        self._start(json.loads(message), socket.socket(fileno=descriptors[0]))
        return True

    def _start(self, message: dict[str, Any], channel: socket.socket) -> None:
        bounds, kept = Bounds(**message["bounds"]), bool(message["kept"])
        slot = self._free.pop() if self._free else len(self._by_pid)
        scratch = None
        try:
            if bounds.file_mib:
                scratch = Path(tempfile.mkdtemp(prefix="env-tuning-python-"))
                scratch.chmod(0o777)  # the interpreter may run as another user
            pid = os.fork()
        except OSError as error:
            self._free.append(slot)
            _say(channel, {"broken": f"no interpreter could be started: {error}"})
            channel.close()
            return
        if pid == 0:
            self._become_interpreter(channel, bounds, slot=slot, scratch=scratch, kept=kept)
        live = _Live(pid=pid, slot=slot, channel=channel, scratch=scratch)
        self._by_pid[pid] = self._by_channel[channel.fileno()] = live
        self._poll.register(channel, select.EPOLLRDHUP)

    def _become_interpreter(
        self, channel: socket.socket, bounds: Bounds, *, slot: int, scratch: Path | None, kept: bool
    ) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.dup2(channel.fileno(), _INTERPRETER_CHANNEL)
            rules = self._ground.rules
            if rules is None:
                os.closerange(_INTERPRETER_CHANNEL + 1, _most_descriptors())
            else:
                os.closerange(_INTERPRETER_CHANNEL + 1, rules)
                os.closerange(rules + 1, _most_descriptors())
            os.chdir(scratch or "/")
            confinement.confine(self._ground, bounds, slot=slot, scratch=scratch, kept=kept)
        except BaseException as error:
            os.write(_INTERPRETER_CHANNEL, pack({"broken": f"the sandbox could not be closed: {error!r}"}))
            os._exit(1)
        run_confined(_INTERPRETER_CHANNEL, bounds)

    def _kill(self, pid: int) -> None:
        # Not reaped yet, so the number cannot belong to anybody else.
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Bury what has ended, after killing what is left of its process group and its orphans."""
        while (ended := _ended_child()) is not None:
            self._kill(ended)
            _, status = os.waitpid(ended, 0)
            live = self._by_pid.pop(ended, None)
            if self._sweep:
                self._kill_strays()
            if live is not None:
                self._bury(live, os.waitstatus_to_exitcode(status))

    def _kill_strays(self) -> None:
        """Orphans of programs are children of this process, but no interpreters. Their own orphans follow them."""
        with contextlib.suppress(OSError):
            while strays := {_own_number(listed) for listed in _CHILDREN.read_text().split()} - self._by_pid.keys():
                for pid in strays:
                    self._kill(pid)
                    os.waitpid(pid, 0)

    def _bury(self, live: _Live, exit_code: int) -> None:
        if live.scratch is not None:
            shutil.rmtree(live.scratch, ignore_errors=True)
        del self._by_channel[live.channel.fileno()]
        with contextlib.suppress(OSError):
            self._poll.unregister(live.channel)
        _say(live.channel, {"exit": exit_code})
        live.channel.close()
        self._free.append(live.slot)

    def _end(self) -> None:
        for live in list(self._by_pid.values()):
            self._kill(live.pid)
        while self._by_pid:
            pid, status = os.waitpid(-1, 0)
            if pid in self._by_pid:
                self._bury(self._by_pid.pop(pid), os.waitstatus_to_exitcode(status))
        if self._sweep:
            self._kill_strays()


def _own_number(listed: str) -> int:
    """The process id, as this process sees it, of one that /proc lists: /proc may be that of the namespace outside."""
    status = Path(f"/proc/{listed}/status").read_text()
    return int(status.partition("\nNSpid:")[2].partition("\n")[0].split()[-1])


def _ended_child() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        channel.send(pack(message), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _wake_on_children() -> socket.socket:
    """A socket that can be read when a child has ended."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    return reading


def _most_descriptors() -> int:
    return os.sysconf("SC_OPEN_MAX")


def main(control_descriptor: int, preload: list[str]) -> None:
    """Serve a sandbox. Started as a process of its own by `local.py`.

    Args:
        control_descriptor: of a SOCK_SEQPACKET socket.
        preload: modules that interpreters have loaded from the start; those that are not installed are left out.
    """
    libc = confinement.load_libc()
    confinement.die_with_parent(libc)
    # A channel for every interpreter; more than a thousand episodes may keep one.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _DESCRIPTORS), most))
    own_network, own_processes = confinement.separate(libc)
    if own_processes:
        _wait_for_inner(libc)
    control = socket.socket(fileno=control_descriptor)
    ground = confinement.prepare(libc, own_network=own_network, own_processes=own_processes)
    enforced = confinement.enforced(ground)
    loaded = [name for name in preload if _load(name)]
    if "numpy" in loaded:
        importlib.import_module("numpy.random").seed(0)  # the first use costs 20 ms
    # What lives now is never collected, so that interpreters share its memory.
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"enforced": asdict(enforced), "loaded": loaded}).encode())
    Nursery(control, ground, sweep=not enforced.no_processes).serve()


def _wait_for_inner(libc: ctypes.CDLL) -> None:
    """Go on as the first process of the new namespace; whatever is in it ends with that process."""
    inner = os.fork()
    if inner:
        os.closerange(3, _most_descriptors())
        os.waitpid(inner, 0)
        os._exit(0)
    confinement.die_with_parent(libc)


def _load(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].split(",") if sys.argv[2] else [])
