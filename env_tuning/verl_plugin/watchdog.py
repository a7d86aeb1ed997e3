"""An end for runs that lost a process: verl waits for some of its processes without asking whether they still live.

Owns: noticing that a Ray actor of this run has died, and the time that the run then has to fail by itself. Refuses:
restarting anything; the same command continues from the last checkpoint.

A worker or a rollout server that dies is an exception at the next call. TransferQueue's processes are asked over
sockets (transfer_queue/client.py), where nothing answers for the dead, and `tq.close` asks them, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from env_tuning.verl_plugin.progress import PREFIX

_POLL_SECONDS = 2.0
_GRACE_SECONDS = 60.0
_MEANT = ("RAY_KILL", "OUT_OF_SCOPE", "REF_DELETED")
"""Reasons of Ray for deaths that somebody wanted."""


@contextlib.contextmanager
def watched(
    dead: Callable[[], list[str]] | None = None,
    *,
    poll: float = _POLL_SECONDS,
    grace: float = _GRACE_SECONDS,
    give_up: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Run a block that shall not outlive the actors it needs.

    When one dies, or the block raises, what remains of this process has `grace` seconds; then it is ended.

    Args:
        dead: names of the actors of this run that died; Ray is asked by default.
        poll: seconds between two looks.
        grace: seconds between a death and the end.
        give_up: ends the process, given the reason.
    """
    dead = dead or dead_actors
    over, ended = threading.Event(), threading.Event()
    reason: list[str] = []

    def watch() -> None:
        while not reason and not over.wait(poll):
            reason.extend(dead())
        if reason and not ended.wait(grace):
            (give_up or _end_process)(f"{reason[0]}; run the same command again to continue from the last checkpoint")

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


def dead_actors() -> list[str]:
    """What died of this job's actors, in words; empty if Ray does not answer."""
    import ray
    from ray._private import state  # the public `list_actors` asks the dashboard, which a small run does without

    try:
        job = ray.get_runtime_context().get_job_id()
        actors: Mapping[str, Mapping[str, Any]] = state.actors()
    except Exception:  # Ray is shutting down, or its head is gone: then every call raises by itself
        return []
    return [
        f"the process {actor['ActorClassName']} (pid {actor['Pid']}) died"
        for actor in actors.values()
        if actor["JobID"] == job
        and actor["State"] == "DEAD"
        and not any(why in str(actor["DeathCause"]) for why in _MEANT)
    ]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _end_process(reason: str) -> None:
    print(f"{PREFIX}error: {reason}", flush=True)
    # Started by the launcher, this process leads a group of its own, with the cluster that it started in it.
    if os.getpgrp() == os.getpid():
        for process in Path("/proc").iterdir():
            with contextlib.suppress(ValueError, OSError):
                if int(process.name) != os.getpid() and os.getpgid(int(process.name)) == os.getpid():
                    os.kill(int(process.name), signal.SIGKILL)
    os._exit(1)
