"""Stages as Ray jobs: submit, follow, stop.

Owns: the conversation with a cluster's job server about one stage. Refuses: starting clusters, deciding what runs. A
job reads and writes the same paths as a local run, so the nodes of a cluster share the project folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from env_tuning.errors import UserError
from env_tuning.launch import Launch, Relay, show

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_PATIENCE = 1.0
_STOP_SECONDS = 60.0


class ClusterLostError(RuntimeError):
    """The job server does not answer any more; what became of the job is not known."""


def connect(address: str) -> JobSubmissionClient:
    """A client of the cluster at this address (``http://host:8265``, or ``host:6379``).

    Raises:
        UserError: nothing answers there.
    """
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    # It reports the end of every stream.
    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"no Ray job server answers at {address} ({reason}); start one or unset RAY_ADDRESS") from error


def run_job(
    client: JobSubmissionClient,
    launch: Launch,
    *,
    name: str,
    log_file: Path,
    lost_after: float,
) -> int:
    """Run a stage as a job, or follow the one of this name that is running already; returns its exit status.

    Args:
        client: of the cluster.
        launch: what runs.
        name: of the stage in its output folder, the same for every attempt; the submission's id begins with it.
        log_file: gets the job's whole output.
        lost_after: seconds without an answer after which the cluster counts as lost.

    Raises:
        ClusterLostError: the job server stopped answering.
        KeyboardInterrupt: passed on, after the job was stopped.
    """
    job = running_job(client, name)
    if job is None:
        job = f"{name}-{time.time_ns():x}"
        client.submit_job(entrypoint=_entrypoint(launch), submission_id=job, runtime_env={"env_vars": launch.variables})
        show(f"job {job} is submitted")
    else:
        show(f"job {job} is running already; following it")
    try:
        return asyncio.run(_follow(client, job, log_file, lost_after))
    except (KeyboardInterrupt, SystemExit):
        show("interrupted; stopping the job (the last checkpoint stays, the same command continues)")
        stop(client, job)
        raise


def running_job(client: JobSubmissionClient, name: str) -> str | None:
    """The submission id of the unfinished job of this name, None if there is none."""
    for job in client.list_jobs():
        if job.submission_id and job.submission_id.startswith(f"{name}-") and not job.status.is_terminal():
            return str(job.submission_id)
    return None


def stop(client: JobSubmissionClient, job: str) -> None:
    """Stop a job and wait until it has ended; a cluster that is gone has ended it as well."""
    deadline = time.monotonic() + _STOP_SECONDS
    with contextlib.suppress(Exception):
        client.stop_job(job)
        while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
            time.sleep(0.2)


def _entrypoint(launch: Launch) -> str:
    """One shell line. A job starts in a folder of Ray's own, but paths of a run are relative to where the user is."""
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(launch.command)}"


async def _follow(client: JobSubmissionClient, job: str, log_file: Path, lost_after: float) -> int:
    """Copy the job's output until it ends. The stream may break while the job lives: then it starts again."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    shown = 0
    answered = time.monotonic()
    with log_file.open("a", encoding="utf-8", buffering=1) as log:
        relay = Relay(log)
        while True:
            try:
                seen, rest = 0, ""
                async for chunk in client.tail_job_logs(job):
                    answered = time.monotonic()
                    lines = (rest + chunk).split("\n")
                    rest = lines.pop()
                    for line in lines:
                        seen += 1
                        # A stream begins with the job's first line; what was copied already is not copied twice.
                        if seen > shown:
                            relay.line(line + "\n")
                            shown = seen
                info = client.get_job_info(job)
                answered = time.monotonic()
                if info.status.is_terminal():
                    return _exit_status(info, relay, log_file)
            # The client raises whatever its transport raised; all of it means "no answer".
            except Exception as error:
                if time.monotonic() - answered > lost_after:
                    raise ClusterLostError(f"the cluster of job {job} does not answer any more ({error})") from error
            await asyncio.sleep(_PATIENCE)


def _exit_status(info: Any, relay: Relay, log_file: Path) -> int:
    status, code = info.status.value, info.driver_exit_code
    if status == "SUCCEEDED":
        return 0
    if not relay.named_error:
        message = (info.message or "").strip().splitlines()
        show(f"the job is {status}: {message[0] if message else 'no message'}; the end of {log_file} says more")
    return code if isinstance(code, int) and code > 0 else 1
