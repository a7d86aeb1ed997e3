"""Two stages of real verl as jobs of a cluster of two nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("verl")
from clusters import nodes, two_nodes, wait_until
from running import events, happened, toy_environment, toy_overrides

from env_tuning.verl_plugin.progress import lasting, read_events

SECONDS = 600


@pytest.mark.slow
def test_stages_of_real_verl_run_as_jobs_of_a_cluster_of_two_nodes(folder: Path) -> None:
    # The first stage trains on both nodes, the second on either.
    plan = 'curriculum.stages=[{name:run,config:stage1,overrides:["trainer.nnodes=2"]},{name:next,config:stage2}]'
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
    trained = folder / "run" / "checkpoints" / "global_step_2" / "actor"
    assert (trained / "model_world_size_2_rank_1.pt").is_file()
    # The progress lines came back over the job's log.
    assert done.stdout.count("[env-tuning] step 2/2") == 2


@pytest.mark.slow
def test_a_lost_node_ends_the_stage_with_its_cause_and_the_same_command_goes_on_when_it_is_back(folder: Path) -> None:
    command = [
        *(sys.executable, "-m", "env_tuning.cli", "curriculum", "curriculum.stages=[{name:run,config:stage1}]"),
        *(f"curriculum.output_dir={folder}", "curriculum.retries=0", *toy_overrides(folder)),
        *("trainer.nnodes=2", "trainer.total_training_steps=6", "trainer.save_freq=1", "trainer.test_freq=-1"),
    ]
    environment = {**toy_environment(), "MODEL": str(folder / "model"), "RAY_AUTH_MODE": "disabled"}
    with nodes(PYTHONPATH=environment["PYTHONPATH"]) as cluster:
        environment["RAY_ADDRESS"] = cluster.address
        first = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        wait_until(lambda: first.poll() is not None or happened(folder, "checkpoint")(), SECONDS)
        cluster.lose()
        said, _ = first.communicate(timeout=SECONDS)
        assert first.returncode == 1, said[-3000:]
        causes = [line for line in said.splitlines() if "] error: " in line]
        assert causes, said[-3000:]
        fix = "run the same command again to continue from the last checkpoint"
        assert [line for line in causes if fix not in line] == []
        done = len(events(folder, "step"))
        assert done < 6
        cluster.join()
        again = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-1000:]
    told = lasting(read_events(folder / "run" / "progress.jsonl"))
    assert [event["step"] for event in told if event["event"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert events(folder, "ready")[-1]["step"] >= 1
