"""The configurations for GPUs, as far as they can be held without one: composed, and accepted by verl's own checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")
from omegaconf import DictConfig, OmegaConf

from env_tuning.doctor.examine import RULES
from env_tuning.doctor.model_rules import ENGINES
from env_tuning.launch import project_folder
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.main import complete, refused_by_verl

CONFIGS = project_folder() / "configs"
GROUPS = ("gpu1", "gpu8")
GPU_ENGINES = ("vllm", "sglang")
STAGES = ("stage1", "stage2", "stage3", "stage4")

COMMON = {
    "algorithm.adv_estimator": "grpo",
    "algorithm.norm_adv_by_std_in_grpo": True,
    "algorithm.use_kl_in_reward": False,
    "actor_rollout_ref.actor.optim.lr": 1e-6,
    "actor_rollout_ref.actor.grad_clip": 1.0,
    "actor_rollout_ref.actor.clip_ratio_low": 0.2,
    "actor_rollout_ref.actor.clip_ratio_high": 0.28,
    "actor_rollout_ref.actor.clip_ratio_c": 10.0,
    "actor_rollout_ref.actor.entropy_coeff": 0.001,
    "actor_rollout_ref.actor.use_kl_loss": True,
    "actor_rollout_ref.actor.kl_loss_coef": 0.1,
    "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
    "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "actor_rollout_ref.actor.use_dynamic_bsz": True,
    "actor_rollout_ref.rollout.temperature": 1.0,
    "actor_rollout_ref.rollout.top_p": 1.0,
    "actor_rollout_ref.rollout.val_kwargs.do_sample": False,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.mode": "async",
    "actor_rollout_ref.model.use_remove_padding": True,
    "actor_rollout_ref.model.enable_gradient_checkpointing": True,
    "actor_rollout_ref.model.use_fused_kernels": True,
    "data.max_prompt_length": 8192,
    "data.return_raw_chat": True,
    "data.filter_overlong_prompts": False,
    "trainer.device": "cuda",
    "trainer.save_freq": 5,
    "trainer.total_epochs": 20,
}
"""The hyper-parameters of arXiv 2510.10197 and of its authors' code that hold for all stages and sizes."""

OF_EIGHT = {
    "actor_rollout_ref.rollout.n": 16,
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 65536,
    "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu": 65536,
    "actor_rollout_ref.rollout.max_num_batched_tokens": 131072,
    "trainer.n_gpus_per_node": 8,
    "trainer.test_freq": 1,
}
PROMPTS = {"stage1": 16, "stage2": 32, "stage3": 32, "stage4": 32}
RESPONSE = {"stage1": 10000, "stage2": 10000, "stage3": 24576, "stage4": 24576}
REWARD = {"stage1": "format", "stage2": "progress", "stage3": "progress", "stage4": "progress"}


def composed(stage: str, *overrides: str) -> DictConfig:
    config = compose_config(CONFIGS, stage, ["actor_rollout_ref.model.path=some/model", *overrides])
    complete(config)
    return config


def differing(config: DictConfig, wanted: dict[str, Any]) -> dict[str, Any]:
    return {key: found for key, value in wanted.items() if (found := OmegaConf.select(config, key)) != value}


@pytest.mark.parametrize("engine", GPU_ENGINES)
@pytest.mark.parametrize("stage", STAGES)
def test_eight_gpus_train_with_the_papers_hyper_parameters(stage: str, engine: str) -> None:
    config = composed(stage, "hardware=gpu8", f"rollout={engine}")
    of_stage = {
        "data.train_batch_size": PROMPTS[stage],
        # One update a step: the authors' 32 would be filled up with rows of padding in stage 1.
        "actor_rollout_ref.actor.ppo_mini_batch_size": PROMPTS[stage],
        "data.max_response_length": RESPONSE[stage],
        "env_tuning.reward": REWARD[stage],
        "actor_rollout_ref.rollout.name": engine,
    }
    assert differing(config, COMMON | OF_EIGHT | of_stage) == {}


@pytest.mark.parametrize("engine", GPU_ENGINES)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("stage", STAGES)
def test_verl_accepts_the_configuration_of_every_gpu_group_engine_and_stage(
    stage: str, group: str, engine: str
) -> None:
    config = composed(stage, f"hardware={group}", f"rollout={engine}")
    assert [finding.line for finding in refused_by_verl(config)] == []
    assert differing(config, COMMON) == {}
    as_dataclasses(config)


@pytest.mark.parametrize("nodes", [2, 4])
def test_verl_accepts_several_nodes(nodes: int) -> None:
    config = composed("stage3", "hardware=gpu8", f"trainer.nnodes={nodes}")
    assert [finding.line for finding in refused_by_verl(config)] == []


def test_a_wrong_value_would_be_noticed() -> None:
    config = composed("stage1", "hardware=gpu8", "actor_rollout_ref.actor.loss_agg_mode=mean-of-means")
    assert refused_by_verl(config)
    assert differing(config, COMMON) == {"actor_rollout_ref.actor.loss_agg_mode": "mean-of-means"}


def as_dataclasses(config: DictConfig) -> None:
    """What the workers make of it; raises for keys and values that they do not take."""
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.config import FSDPActorConfig, RolloutConfig

    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert isinstance(rollout, RolloutConfig)
    assert isinstance(actor, FSDPActorConfig)
    assert rollout.response_length == config.data.max_response_length
    # One micro-batch holds at least one longest episode.
    assert actor.ppo_max_token_len_per_gpu >= rollout.prompt_length + rollout.response_length


def test_every_engine_of_a_gpu_is_an_extra_with_one_version() -> None:
    text = (Path(CONFIGS).parent / "pyproject.toml").read_text(encoding="utf-8")
    assert "attention" in RULES
    for engine in GPU_ENGINES:
        assert f'{engine} = ["{ENGINES[engine]}==' in text
