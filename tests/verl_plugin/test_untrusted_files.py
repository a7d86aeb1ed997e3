"""Checkpoints are read without running what they say; secrets stay where they are."""

from __future__ import annotations

import contextlib
import random
import uuid
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")
import numpy as np
import psutil
import torch
from running import happened, run_stage
from verl.utils.checkpoint.checkpoint_manager import BaseCheckpointManager

from env_tuning.curriculum.cluster import OF_THIS_MACHINE
from env_tuning.launch import project_folder
from env_tuning.verl_plugin import registration
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.main import forwarded, set_environment

SECRETS = {
    "WANDB_API_KEY": "5ec7e7" + "a1" * 17,
    "HF_TOKEN": "hf_secretOfTheHub",
    "OPENAI_API_KEY": "sk-secretOfAnEndpoint",
    "AWS_SECRET_ACCESS_KEY": "secretOfACloud",
}


MARK = "ENV_TUNING_TEST_RUN"
"""Variable that every process of a run inherits."""


class Trap:
    """A pickle that writes a file when it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a run on a CPU sets, in this process."""
    config = compose_config(project_folder() / "configs", "stage1", ["hardware=cpu", "actor_rollout_ref.model.path=m"])
    found: dict[str, str] = {}
    set_environment(config, found)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", found["TORCH_FORCE_WEIGHTS_ONLY_LOAD"])
    registration.allow_random_states()
    return found


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    torch.save({"lr_scheduler": Trap(tmp_path / "sprung")}, tmp_path / "extra.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "extra.pt", weights_only=False)  # as verl asks
    assert not (tmp_path / "sprung").exists()


def test_what_verl_writes_beside_weights_can_be_read(tmp_path: Path, variables: dict[str, str]) -> None:
    written = {"lr_scheduler": {"last_epoch": 3, "_last_lr": [1e-6]}, "rng": BaseCheckpointManager.get_rng_state()}
    torch.save(written, tmp_path / "extra.pt")
    drawn = (torch.rand(3), np.random.rand(3), random.random())
    read = torch.load(tmp_path / "extra.pt", weights_only=False)
    BaseCheckpointManager.load_rng_state(read["rng"])
    again = (torch.rand(3), np.random.rand(3), random.random())
    assert read["lr_scheduler"] == written["lr_scheduler"]
    assert torch.equal(drawn[0], again[0])
    assert drawn[1].tolist() == again[1].tolist()
    assert drawn[2] == again[2]


def test_a_cluster_of_ones_own_keeps_to_this_machine_and_another_keeps_its_address(variables: dict[str, str]) -> None:
    assert variables.items() >= OF_THIS_MACHINE.items()
    config = compose_config(project_folder() / "configs", "stage1", ["hardware=cpu", "actor_rollout_ref.model.path=m"])
    joined = {"RAY_ADDRESS": "http://head:8265"}
    set_environment(config, joined)
    assert not joined.keys() & {*OF_THIS_MACHINE, "RAY_AUTH_MODE"}


def test_workers_of_other_nodes_get_the_reader_of_weights_and_no_secret(variables: dict[str, str]) -> None:
    given = forwarded({**variables, **SECRETS})
    assert given["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    assert not given.keys() & SECRETS.keys()


@pytest.mark.slow
def test_a_run_leaves_no_secret_and_listens_on_this_machine_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex
    for name, value in {**SECRETS, "WANDB_MODE": "offline", MARK: mark}.items():
        monkeypatch.setenv(name, value)
    heard: set[tuple[str, str]] = set()

    def listen() -> bool:
        if happened(folder, "step")() and not heard:
            heard.update(listeners(mark))
        return False

    status, log = run_stage(folder, "trainer.save_freq=2", "trainer.test_freq=-1", until=listen)
    assert status == 0, log[-4000:]
    assert {name for name, _ in heard} > {"raylet", "gcs_server"}
    # torch's store of a process group takes no address to listen at (c10d's TCPStore).
    outside = {name for name, where in heard if not where.removeprefix("::ffff:").startswith("127.")}
    assert outside <= {"ray::WorkerDict"}, heard
    files = [file for file in folder.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    assert {"run.json", "lineage.json", "config.yaml", "progress.jsonl", "log.txt", "outcome.json"} <= names
    assert any(name.endswith(".wandb") for name in names), "the key was there, so W&B has to have a log of this run"
    assert [
        (str(file.relative_to(folder)), name)
        for file in files
        for name, secret in SECRETS.items()
        if secret.encode() in file.read_bytes()
    ] == []


def listeners(mark: str) -> set[tuple[str, str]]:
    """Name of process and address of everything that the processes of a run listen at."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                sockets = process.net_connections("tcp")
                found |= {(process.name(), str(at.laddr.ip)) for at in sockets if at.status == psutil.CONN_LISTEN}
    return found
