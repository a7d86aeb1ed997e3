"""Real Ray clusters for tests, and patience."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from env_tuning.curriculum.cluster import answers, free_port

_MARK = "ENV_TUNING_TEST_NODES"
"""Variable that every process of such a cluster inherits."""


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until a condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@contextlib.contextmanager
def two_nodes(**variables: str) -> Iterator[str]:
    """A cluster of two nodes, each with processes and a folder of its own; yields its job server's address.

    Jobs inherit nothing from who submits them, so `variables` are those of the cluster.
    """
    mark = uuid.uuid4().hex
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", _MARK: mark, **variables}
    environment.pop("RAY_ADDRESS", None)
    ray = str(Path(sys.executable).with_name("ray"))
    port, dashboard = free_port(), free_port()
    common = ["--num-cpus", "8", "--num-gpus", "1", "--object-store-memory", str(128 * 2**20), "--disable-usage-stats"]
    nodes = [
        [
            *("--head", "--port", str(port), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
            *("--ray-client-server-port", str(free_port()), "--dashboard-agent-listen-port", "0"),
        ],
        [f"--address=127.0.0.1:{port}", "--dashboard-agent-listen-port", "0"],
    ]
    with contextlib.ExitStack() as stack:
        try:
            for arguments in nodes:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="et-node-", ignore_cleanup_errors=True))
                temporary = ["--temp-dir", folder] if "--head" in arguments else []
                subprocess.run(
                    [ray, "start", *arguments, *common, *temporary],
                    env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL,
                )  # fmt: skip
            wait_until(lambda: answers(f"http://127.0.0.1:{dashboard}"), 60)
            yield f"http://127.0.0.1:{dashboard}"
        finally:
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if process.environ().get(_MARK) == mark:
                        process.kill()
