"""The keys that choose an estimator with a critic: what is filled in, and what is refused before the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY

import env_tuning.verl_plugin.registration  # noqa: F401
from env_tuning.doctor.size_rules import CRITIC_ESTIMATORS
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.joint_ratio_loss import AGGREGATIONS
from env_tuning.verl_plugin.main import complete

CONFIGS = Path(__file__).parents[2] / "configs"


def completed(*overrides: str) -> Any:
    config = compose_config(CONFIGS, "stage1", ["hardware=cpu", "actor_rollout_ref.model.path=m", *overrides])
    complete(config)
    return OmegaConf.to_container(config, resolve=True)


def test_every_name_is_in_verls_registries() -> None:
    assert set(CRITIC_ESTIMATORS) <= ADV_ESTIMATOR_REGISTRY.keys()
    assert {"appo_sum", "appo_token"} <= POLICY_LOSS_REGISTRY.keys()


@pytest.mark.parametrize("name", CRITIC_ESTIMATORS)
def test_the_estimators_key_alone_brings_a_critic(name: str) -> None:
    config = completed(f"algorithm.adv_estimator={name}")
    assert config["critic"]["enable"] is True
    assert config["critic"]["model"]["path"] == "m"


def test_the_groups_set_what_belongs_together() -> None:
    config = completed("advantage=appo")
    actor = config["actor_rollout_ref"]["actor"]
    assert (config["algorithm"]["adv_estimator"], actor["policy_loss"]["loss_mode"]) == ("appo", "appo_token")
    assert actor["loss_agg_mode"] in AGGREGATIONS
    assert config["env_tuning"]["reward_placement"] == "turns"
    assert completed()["critic"]["enable"] is None
