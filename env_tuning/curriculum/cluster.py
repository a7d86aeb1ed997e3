"""A Ray cluster of one machine for as long as a curriculum runs.

Owns: starting ``ray start --head`` under a guard process, finding its job server, and its end with everything that
belongs to it. Refuses: jobs (`jobs`), clusters that others started.

Ray's processes leave their parent's process group, so the guard knows them by a variable that all of them inherit. The
guard ends them when the curriculum's process is gone, however it ended; a guard that was killed itself is swept up
after by the next cluster.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psutil

from env_tuning.errors import UserError
from env_tuning.launch import exit_when_told

MARK = "ENV_TUNING_CLUSTER"
"""Variable of every process of a cluster; its value is the guard's process id."""

OF_THIS_MACHINE: Mapping[str, str] = MappingProxyType({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})
"""Makes Ray, and what asks Ray for its address, listen on 127.0.0.1 alone: their ports run what they are sent.

Ray 2.60 (_private/services.py) replaces a node address of 127.0.0.1 by the machine's own, unless it believes that there
can be no second machine; this variable of other systems says so.
"""

_FOLDERS = Path("/tmp")
"""Not the system's choice: Ray puts sockets into the folder, and a socket's path ends at 107 characters."""
_FOLDER_PREFIX = "et-cluster-"
_START_SECONDS = 90.0
_OBJECT_STORE_BYTES = 512 * 2**20


@contextlib.contextmanager
def local_cluster(*, num_cpus: int | None, num_gpus: int | None, log_file: Path) -> Iterator[str]:
    """Start a cluster; yields the address of its job server, and ends the cluster afterwards.

    Args:
        num_cpus: logical resource; None leaves it to Ray.
        num_gpus: the same.
        log_file: what ``ray start`` says.

    Raises:
        UserError: the cluster does not come up.
    """
    sweep()
    # Only who has the token may run code through this cluster. In the environment, because Ray would otherwise keep one
    # in the home folder. One for all clusters of this process, whose job client reads it once.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    port = free_port()
    command = [
        *(sys.executable, "-m", "env_tuning.curriculum.cluster", "--parent", str(os.getpid())),
        *("--dashboard-port", str(port)),
        *(("--num-cpus", str(num_cpus)) if num_cpus is not None else ()),
        *(("--num-gpus", str(num_gpus)) if num_gpus is not None else ()),
    ]
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        guard = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_up(address, guard, log_file)
        yield address
    finally:
        guard.terminate()
        guard.wait()


def answers(address: str) -> bool:
    """Whether a job server answers at this address, were it only to ask for the token."""
    try:
        urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sweep() -> None:
    """End what is left of clusters whose guard was killed."""
    for process, guard in _marked():
        if not psutil.pid_exists(guard):
            _kill(process)
    for folder in _FOLDERS.glob(f"{_FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(_FOLDER_PREFIX)
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(address: str, guard: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(address):
        if guard.poll() is not None or time.monotonic() > deadline:
            raise UserError(
                f"no Ray cluster could be started here; {log_file} says why "
                "(--local runs the stages without Ray jobs, RAY_ADDRESS names a running cluster)"
            )
        time.sleep(0.2)


def _marked() -> list[tuple[psutil.Process, int]]:
    """All processes of such clusters, each with its guard's id."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            guard = process.environ().get(MARK, "")
            if guard.isdigit():
                found.append((process, int(guard)))
    return found


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _guard(arguments: Sequence[str] | None = None) -> int:
    """The guard process: runs the cluster until its parent is gone, the cluster ends, or it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--dashboard-port", required=True)
    parser.add_argument("--num-cpus")
    parser.add_argument("--num-gpus")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, exit_when_told)
    folder = _FOLDERS / f"{_FOLDER_PREFIX}{os.getpid()}"
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address", "127.0.0.1", "--port", "0", "--temp-dir", str(folder)),
        *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1", "--dashboard-port", given.dashboard_port),
        *("--dashboard-agent-listen-port", "0", "--ray-client-server-port", str(free_port())),
        *("--object-store-memory", str(_OBJECT_STORE_BYTES)),
        *(("--num-cpus", given.num_cpus) if given.num_cpus else ()),
        *(("--num-gpus", given.num_gpus) if given.num_gpus else ()),
    ]
    environment = {**os.environ, **OF_THIS_MACHINE, MARK: str(os.getpid())}
    # This cluster has its own address; an outer one must not be taken for it.
    environment.pop("RAY_ADDRESS", None)
    cluster = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while os.getppid() == given.parent and cluster.poll() is None:
            time.sleep(0.5)
        return cluster.poll() or 0
    finally:
        # More than one round: a dying process may have started another one meanwhile.
        for _ in range(3):
            mine = [process for process, guard in _marked() if guard == os.getpid()]
            for process in mine:
                _kill(process)
            psutil.wait_procs(mine, timeout=5)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_guard())
