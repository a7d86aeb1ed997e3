"""Two stages of real verl as jobs of a cluster of two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")
from clusters import two_nodes
from running import events, toy_environment, toy_overrides

SECONDS = 600


@pytest.mark.slow
def test_stages_of_real_verl_run_as_jobs_of_a_cluster_of_two_nodes(folder: Path) -> None:
    plan = "curriculum.stages=[{name:run,config:stage1},{name:next,config:stage2}]"
    command = [
        *(sys.executable, "-m", "env_tuning.cli", "curriculum", plan, f"curriculum.output_dir={folder}"),
        *(*toy_overrides(folder), "trainer.save_freq=1"),
    ]
    with two_nodes(PYTHONPATH=toy_environment()["PYTHONPATH"]) as address:
        environment = {
            **toy_environment(),
            "MODEL": str(folder / "model"),
            "RAY_ADDRESS": address,
            "RAY_AUTH_MODE": "disabled",
        }
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert [event["step"] for event in events(folder, "step")] == [1, 2]
    record = json.loads((folder / "curriculum.json").read_text())["stages"]
    assert [(stage["name"], stage["status"]) for stage in record] == [("run", "done"), ("next", "done")]
    assert record[1]["started_from"]["weights_sha256"] == record[0]["result"]["weights_sha256"]
    # The progress lines came back over the job's log.
    assert done.stdout.count("[env-tuning] step 2/2") == 2
