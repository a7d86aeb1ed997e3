"""What the rules guard against is what verl 0.9.1 really does: its own functions, called as a run would."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("verl")

from env_tuning.doctor import length_rules, loop_rules, size_rules  # noqa: E402
from env_tuning.doctor.evidence import Evidence  # noqa: E402

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def test_an_episode_longer_than_a_micro_batch_is_an_assertion_after_the_rollout():
    from verl.utils import tensordict_utils as tu
    from verl.utils.seqlen_balancing import rearrange_micro_batches

    batch = tu.get_tensordict({"input_ids": torch.ones(2, 40, dtype=torch.long), "attention_mask": torch.ones(2, 40)})
    with pytest.raises(AssertionError, match="max_token_len must be greater than the sequence length"):
        rearrange_micro_batches(batch, max_token_len=30)
    data = {"max_prompt_length": 10, "max_response_length": 30}
    actor = {"ppo_max_token_len_per_gpu": 30, "use_dynamic_bsz": True}
    assert len(list(length_rules.token_budget(Evidence({"data": data, "actor_rollout_ref": {"actor": actor}})))) == 1


def test_a_group_of_one_has_its_score_for_an_advantage():
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    rewards = torch.tensor([[0.0, 0.7], [0.0, 0.9]])
    advantages, _ = compute_grpo_outcome_advantage(rewards, torch.ones(2, 2), np.array(["a", "b"]))
    assert advantages[:, 0].tolist() == pytest.approx([0.7, 0.9], abs=1e-5)
    config = {"algorithm": {"adv_estimator": "grpo"}, "actor_rollout_ref": {"rollout": {"n": 1}}}
    assert len(list(size_rules.groups(Evidence(config)))) == 1


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "opo", "gpg"])
def test_estimators_that_sum_up_see_no_turns(estimator):
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from env_tuning.doctor.reward_rules import SUMS_UP

    mask, index = torch.ones(4, 3), np.array(["a", "a", "b", "b"])
    scores = torch.tensor([1.0, 0.5, 0.25, 0.75])
    at_the_end, spread = torch.zeros(4, 3), torch.zeros(4, 3)
    at_the_end[:, 2] = scores
    spread[:, 0], spread[:, 2] = scores / 2, scores / 2
    compute = get_adv_estimator_fn(estimator)
    results = [
        compute(token_level_rewards=rewards, response_mask=mask, index=index)[0] for rewards in (at_the_end, spread)
    ]
    assert torch.equal(*results)
    assert estimator in SUMS_UP


def test_gae_drops_a_reward_on_a_masked_token():
    # Why rewards stand on assistant tokens only: here the agent loop refuses any other place.
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    mask = torch.tensor([[1.0, 1.0, 0.0]])
    values = torch.zeros(1, 3)
    lost, kept = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    _, returns = compute_gae_advantage_return(lost, values, mask, torch.tensor(1.0), torch.tensor(1.0))
    assert returns[0, :2].tolist() == [0.0, 0.0]
    _, returns = compute_gae_advantage_return(kept, values, mask, torch.tensor(1.0), torch.tensor(1.0))
    assert returns[0, :2].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("mini", "multiple"), [(4, 32), (3, 24), (8, 64)])
def test_a_mini_batch_that_does_not_divide_is_filled_up_with_padding(mini, multiple):
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    roles = SimpleNamespace(actor=SimpleNamespace(ppo_mini_batch_size=mini), rollout=SimpleNamespace(n=8))
    config = SimpleNamespace(actor_rollout_ref=roles, trainer=SimpleNamespace(critic_warmup=0))
    trainer = SimpleNamespace(use_critic=False, global_steps=1, config=config)
    assert PPOTrainer._get_required_batch_multiple(trainer, 1) == multiple
    padded = 4 * 8 % multiple != 0
    roles = {"actor": {"ppo_mini_batch_size": mini, "use_dynamic_bsz": True}, "rollout": {"n": 8}}
    config = {"data": {"train_batch_size": 4}, "actor_rollout_ref": roles}
    assert bool(list(size_rules.batches(Evidence(config)))) == padded


def test_verls_default_loop_is_the_single_turn_one_and_its_tool_loop_cuts_at_256(healthy):
    from pathlib import Path

    import verl
    from omegaconf import OmegaConf

    config = OmegaConf.load(Path(verl.__file__).parent / "trainer" / "config" / "rollout" / "rollout.yaml")
    assert config.agent.default_agent_loop == "single_turn_agent"
    assert (config.multi_turn.max_parallel_calls, config.multi_turn.max_tool_response_length) == (1, 256)
    stock = {"actor_rollout_ref": {"rollout": {"agent": {"default_agent_loop": "tool_agent"}, "multi_turn": {
        "max_parallel_calls": 1, "max_tool_response_length": 256}}}}  # fmt: skip
    assert len(list(loop_rules.tool_loop(Evidence(stock)))) == 2


@pytest.mark.slow  # a process that imports verl
def test_a_plugin_that_fails_is_swallowed_by_verl_and_told_by_us(tmp_path):
    import os
    import subprocess
    import sys
    from pathlib import Path

    # An entry point of the same group, whose module raises: verl goes on without a word.
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[verl.plugins]\nbroken = broken_plugin\n")
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('nobody hears this')\n")
    code = (
        "from env_tuning.verl_plugin.registered import not_loaded\nprint([finding.problem for finding in not_loaded()])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=environment | {"VERL_USE_EXTERNAL_PLUGINS": "broken", "VERL_PLATFORM": "cpu"},
    )  # fmt: skip
    assert "nobody hears this" not in done.stdout + done.stderr
    assert "verl does not load the plugin" in done.stdout


@pytest.mark.slow  # a process that imports verl
def test_an_installed_plugin_is_found_by_verl_itself():
    from env_tuning.verl_plugin.registered import not_loaded

    assert not_loaded() == ()


def test_names_that_verl_does_not_know_are_told(healthy, monkeypatch):
    from patients import changed

    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    from env_tuning.verl_plugin import registration  # noqa: F401
    from env_tuning.verl_plugin.registered import unregistered

    assert unregistered(healthy) == ()
    wrong = {
        f"{ROLLOUT}.name": "llamacpp",
        "trainer.v1.trainer_mode": "mine",
        "algorithm.adv_estimator": "grppo",
        f"{ACTOR}.policy_loss.loss_mode": "best",
        f"{ROLLOUT}.agent.default_agent_loop": "env_tuned",
    }
    assert [finding.key for finding in unregistered(changed(healthy, wrong))] == list(wrong)
    manager = {f"{ROLLOUT}.agent.agent_loop_manager_class": "no.such.Manager"}
    assert [finding.key for finding in unregistered(changed(healthy, manager))] == list(manager)
