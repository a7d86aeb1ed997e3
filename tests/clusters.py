"""Real Ray clusters for tests, and patience."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import psutil

from env_tuning.curriculum.cluster import answers, free_port

_MARK = "ENV_TUNING_TEST_NODES"
"""Variable that every process of such a cluster inherits: the cluster and the number of its node."""


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until a condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


class Nodes:
    """A cluster of two nodes on this machine, each with processes of its own; the second may be lost and come back."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Variables are those of the cluster: jobs inherit nothing from who submits them."""
        self._mark = uuid.uuid4().hex
        self._port, dashboard = free_port(), free_port()
        self._environment = {**os.environ, "RAY_AUTH_MODE": "disabled", **variables}
        self._environment.pop("RAY_ADDRESS", None)
        self._head = [
            *("--head", "--port", str(self._port), "--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", str(dashboard), "--ray-client-server-port", str(free_port())),
        ]
        self.address = f"http://127.0.0.1:{dashboard}"
        """Of the job server."""

    def start(self, folder: str) -> None:
        """Start both."""
        self._ray_start(0, *self._head, "--temp-dir", folder)
        self.join()
        wait_until(lambda: answers(self.address), 60)

    def join(self) -> None:
        """Start the second node."""
        self._ray_start(1, f"--address=127.0.0.1:{self._port}")

    def lose(self) -> None:
        """Kill everything on the second node."""
        self._kill({f"{self._mark}-1"})

    def end(self) -> None:
        """Kill everything."""
        self._kill({f"{self._mark}-0", f"{self._mark}-1"})

    def _ray_start(self, node: int, *arguments: str) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        common = ["--num-cpus", "8", "--num-gpus", "1", "--object-store-memory", str(128 * 2**20)]
        subprocess.run(
            [ray, "start", *arguments, *common, "--disable-usage-stats", "--dashboard-agent-listen-port", "0"],
            env={**self._environment, _MARK: f"{self._mark}-{node}"},
            check=True, timeout=120, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def _kill(self, marks: Collection[str]) -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) in marks:
                    process.kill()


@contextlib.contextmanager
def nodes(**variables: str) -> Iterator[Nodes]:
    """A cluster of two nodes with these variables."""
    cluster = Nodes(variables)
    with tempfile.TemporaryDirectory(prefix="et-node-", ignore_cleanup_errors=True) as folder:
        try:
            cluster.start(folder)
            yield cluster
        finally:
            cluster.end()


@contextlib.contextmanager
def two_nodes(**variables: str) -> Iterator[str]:
    """A cluster of two nodes with these variables; yields its job server's address."""
    with nodes(**variables) as cluster:
        yield cluster.address
