"""What a server is made from, and what may start before verl is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
import transfer_queue
from omegaconf import DictConfig, OmegaConf
from toys import rollout_config
from verl.utils.config import omega_conf_to_dataclass

from env_tuning.verl_plugin import head_start as head_start_module
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.head_start import head_start
from env_tuning.verl_plugin.rollout import launch
from env_tuning.verl_plugin.rollout.launch import server_config, start_all

PROJECT = Path(__file__).parents[3]


def of_a_cpu(*overrides: str) -> DictConfig:
    chosen = ("hardware=cpu", "actor_rollout_ref.model.path=/model", *overrides)
    return compose_config(PROJECT / "configs", "stage1", chosen)


def test_configuration_is_translated_or_refused() -> None:
    model = OmegaConf.create({"path": "/model"})
    extra = {"transformers": {"threads": 2, "prefill_tokens": 99}}
    config = server_config(rollout_config(engine_kwargs=extra, seed=5), model, replica_rank=1)
    assert (config.model_path, config.threads, config.load_weights) == ("/model", 2, False)
    assert (config.engine.max_slots, config.engine.max_length) == (8, 128)
    assert (config.engine.prefill_tokens, config.engine.seed) == (99, 6)
    with pytest.raises(ValueError, match="unknown keys"):
        server_config(rollout_config(engine_kwargs={"transformers": {"thread": 2}}), model)
    with pytest.raises(ValueError, match="float32"):
        server_config(rollout_config(dtype="bfloat16"), model)


def test_an_early_server_is_the_one_that_verl_would_start() -> None:
    actor = of_a_cpu("env_tuning.deterministic=true").actor_rollout_ref
    as_verl_sees_it = omega_conf_to_dataclass(actor.rollout)
    assert server_config(actor.rollout, actor.model, 3) == server_config(as_verl_sees_it, actor.model, 3)


@pytest.mark.parametrize(
    ("overrides", "ranks"),
    [
        ((), [0]),
        (("trainer.n_gpus_per_node=2", "trainer.nnodes=2"), [0, 1, 2, 3]),
        (("trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.tensor_model_parallel_size=2"), [0]),
        (("rollout=vllm_cpu",), []),
        (("+mode=separate_async_cpu",), []),
    ],
)
def test_as_many_servers_are_begun_as_verl_wants(
    overrides: tuple[str, ...], ranks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(launch, "start_server", lambda rollout, model, rank: begun.append(rank))
    start_all(of_a_cpu(*overrides))
    assert begun == ranks


def test_what_starts_early_does_not_import_verl() -> None:
    check = "import env_tuning.verl_plugin.head_start, sys; print('verl' in sys.modules, 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []

    def record(name: str) -> Callable[..., None]:
        return lambda *_: told.append(name)

    monkeypatch.setattr(transfer_queue, "init", record("init"))
    monkeypatch.setattr(transfer_queue, "close", record("close"))
    monkeypatch.setattr(head_start_module, "start_all", record("servers"))
    return told


def test_nothing_starts_before_the_cluster_and_the_queue_ends_with_the_run(queue: list[str]) -> None:
    cluster: Future[None] = Future()
    with head_start(of_a_cpu(), cluster) as begun:
        assert not queue
        cluster.set_result(None)
        begun.result(timeout=10)
        assert queue == ["servers", "init"]
    assert queue == ["servers", "init", "close"]


def test_a_cluster_that_cannot_be_had_is_the_error(queue: list[str]) -> None:
    cluster: Future[None] = Future()
    cluster.set_exception(ValueError("no cluster"))
    with head_start(of_a_cpu(), cluster) as begun, pytest.raises(ValueError, match="no cluster"):
        begun.result(timeout=10)
    assert queue == ["close"]


def test_processes_of_a_cpu_run_look_for_garbage_less_often() -> None:
    from env_tuning.verl_plugin.main import set_environment

    found: dict[str, str] = {}
    set_environment(of_a_cpu(), found)
    check = f"import gc; before = gc.get_threshold()[0]; import {found['RAY_preload_python_modules']}; "
    check += "print(before, gc.get_threshold()[0])"
    done = subprocess.run([sys.executable, "-c", check], cwd=PROJECT, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after > 100 * before
