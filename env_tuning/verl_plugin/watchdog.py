"""An end for runs that lost a process: verl waits for some of its processes without asking whether they still live.

Owns: noticing that a Ray actor of this run or Ray's head has died, and the time that the run then has to fail by
itself. Refuses: restarting anything; the same command continues from the last checkpoint.

A worker or a rollout server that dies is an exception at the next call. TransferQueue's processes are asked over
sockets (transfer_queue/client.py), where nothing answers for the dead, and `tq.close` asks them, too. Without its head,
Ray aborts the process after a minute, with a line that only the log has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from env_tuning.verl_plugin.progress import PREFIX

_MEANT = ("RAY_KILL", "OUT_OF_SCOPE", "REF_DELETED")
"""Reasons of Ray for deaths that somebody wanted."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds that a watchdog waits.

    Attributes:
        poll: between two looks.
        grace: between a death, or an error, and the end of what remains of the process.
        silence: until a head that does not answer counts as dead; less than Ray's own minute.
    """

    poll: float = 2.0
    grace: float = 60.0
    silence: float = 20.0


@contextlib.contextmanager
def watched(
    dead: Callable[[], list[str]] | None = None,
    head_answers: Callable[[], bool] | None = None,
    give_up: Callable[[str], None] | None = None,
    patience: Patience = Patience(),
) -> Iterator[None]:
    """Run a block that shall not outlive the processes it needs.

    Args:
        dead: the actors of this run that died, in words; by default Ray is asked.
        head_answers: whether Ray's head does.
        give_up: ends the process, given the reason in words.
        patience: how long to wait for what.
    """
    dead, head_answers, give_up = dead or dead_actors, head_answers or ray_head_answers, give_up or _end_process
    before = set(dead())
    over, ended = threading.Event(), threading.Event()
    reason: list[str] = []

    def watch() -> None:
        silent = 0.0
        while not reason and not over.wait(patience.poll):
            silent = 0.0 if head_answers() else silent + patience.poll
            if silent >= patience.silence:
                give_up(f"Ray's head process does not answer; {GO_ON}")
                return
            if not silent:
                reason.extend(name for name in dead() if name not in before)
        if reason and not ended.wait(patience.grace):
            give_up(f"{reason[0]}; {GO_ON}")

    threading.Thread(target=watch, daemon=True, name="watchdog").start()
    try:
        yield
    except BaseException as error:
        # What follows may ask the dead as well. The process's own end is what stops the clock.
        reason.append(_first_line(error))
        over.set()
        raise
    else:
        ended.set()
        over.set()


GO_ON = "run the same command again to continue from the last checkpoint"


def dead_actors() -> list[str]:
    """What died of this job's actors, in words; empty if Ray does not say."""
    import ray
    from ray._private import state  # the public `list_actors` asks the dashboard, which a small run does without

    try:
        job = ray.get_runtime_context().get_job_id()
        actors: Mapping[str, Mapping[str, Any]] = state.actors()
    except Exception:  # Ray is shutting down
        return []
    return [
        f"the process {actor['ActorClassName']} (pid {actor['Pid']}) died"
        for actor in actors.values()
        if actor["JobID"] == job
        and actor["State"] == "DEAD"
        and not any(why in str(actor["DeathCause"]) for why in _MEANT)
    ]


def ray_head_answers() -> bool:
    """Whether something listens where Ray's head is."""
    import ray

    try:
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    except Exception:  # Ray is shutting down
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _end_process(reason: str) -> None:
    print(f"{PREFIX}error: {reason}", flush=True)
    end_at_once()


def end_at_once() -> NoReturn:
    """End this process with status 1, and with it the cluster it started: nothing runs any more that would."""
    from env_tuning.verl_plugin.main import _RAY_PREFIX

    # Started by the launcher, this process leads a group of its own, with the cluster in it.
    if os.getpgrp() == os.getpid():
        for process in Path("/proc").iterdir():
            with contextlib.suppress(ValueError, OSError):
                if int(process.name) != os.getpid() and os.getpgid(int(process.name)) == os.getpid():
                    os.kill(int(process.name), signal.SIGKILL)
    for folder in Path("/tmp").glob(f"{_RAY_PREFIX}{os.getpid()}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
