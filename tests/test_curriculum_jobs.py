"""Stages as jobs of real Ray clusters, one that the curriculum starts and one of two nodes; stages are played."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray")
from clusters import two_nodes, wait_until
from test_curriculum import must_be_complete, players, start  # noqa: F401

from env_tuning.curriculum.cluster import MARK

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

OWN = ("curriculum.ray.num_cpus=16", "curriculum.ray.num_gpus=1", "curriculum.ray.lost_after=5")


def of_own_cluster(runner: subprocess.Popen[str], name: str = "") -> list[psutil.Process]:
    """The processes of the cluster that this runner started."""
    guards = {child.pid for child in psutil.Process(runner.pid).children()}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mark = process.environ().get(MARK, "")
            if mark.isdigit() and int(mark) in guards and name in process.name():
                found.append(process)
    return found


def training(folder: Path, stage: str) -> bool:
    return (folder / "out" / stage / "state.json").is_file()


def test_a_cluster_of_ones_own_comes_and_goes_with_the_curriculum(start, tmp_path):  # noqa: F811
    process = start(*OWN, STEP_SECONDS="0.3")
    wait_until(lambda: training(tmp_path, "stage1"), 120)
    cluster = of_own_cluster(process)
    assert len(cluster) > 3
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    must_be_complete(tmp_path / "out")
    assert not psutil.wait_procs(cluster, timeout=20)[1]
    assert not list(Path("/tmp").glob("et-cluster-*")), "the cluster's folder was left behind"


def test_an_interrupt_stops_the_job_and_the_same_command_continues(start, tmp_path):  # noqa: F811
    process = start(*OWN, STEP_SECONDS="1")
    wait_until(lambda: training(tmp_path, "stage2"), 120)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert not players(tmp_path)
    process = start(*OWN)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    must_be_complete(tmp_path / "out")


@pytest.mark.parametrize("victim", ["gcs_server", "raylet"])
def test_the_loss_of_the_ray_head_costs_an_attempt_and_no_stage(start, tmp_path, victim):  # noqa: F811
    process = start(*OWN, STEP_SECONDS="1")
    wait_until(lambda: training(tmp_path, "stage1"), 120)
    for lost in of_own_cluster(process, victim):
        lost.kill()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert said.count("starting a Ray cluster") == 2
    must_be_complete(tmp_path / "out")


def test_the_loss_of_the_runner_ends_its_cluster(start, tmp_path):  # noqa: F811
    process = start(*OWN, STEP_SECONDS="1")
    wait_until(lambda: training(tmp_path, "stage1"), 120)
    cluster = of_own_cluster(process)
    process.kill()
    assert not psutil.wait_procs(cluster, timeout=30)[1]
    process = start(*OWN)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    must_be_complete(tmp_path / "out")


def test_jobs_run_on_a_cluster_of_two_nodes_and_outlive_their_runner(start, tmp_path):  # noqa: F811
    with two_nodes(STEP_SECONDS="1") as address:
        variables = {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"}
        process = start(**variables)
        wait_until(lambda: training(tmp_path, "stage1"), 120)
        process.kill()
        time.sleep(1)
        assert players(tmp_path), "a job of another's cluster does not end with the runner"
        process = start(**variables)
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said
        assert "is running already; following it" in said
        must_be_complete(tmp_path / "out")
