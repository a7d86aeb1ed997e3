"""A critic on a CPU: values, advantages over actions, both updates, and going on from a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("verl")
import torch
from running import events, run_stage
from torch.nn.functional import huber_loss
from verl.trainer.ppo.core_algos import compute_value_loss

from env_tuning.rewards.scaling import RunningScale


def critic_weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    (file,) = (run / "checkpoints" / f"global_step_{step}" / "critic").glob("model_world_size_1_rank_0.pt")
    return torch.load(file, weights_only=False)


def test_verls_value_loss_is_a_clipped_huber_loss_while_errors_are_below_its_delta() -> None:
    torch.manual_seed(0)
    new, old, returns = (6 * torch.rand(4, 7) - 1 for _ in range(3))
    mask = (torch.rand(4, 7) < 0.7).float()
    loss, _ = compute_value_loss(new, returns, old, mask, cliprange_value=0.2)
    clipped = old + (new - old).clamp(-0.2, 0.2)
    huber = torch.maximum(*(huber_loss(value, returns, reduction="none", delta=10.0) for value in (new, clipped)))
    assert loss.item() == pytest.approx((huber * mask).sum().item() / mask.sum().item())


@pytest.mark.slow
def test_appo_trains_an_actor_and_a_critic_and_goes_on(folder: Path) -> None:
    overrides = (
        *("advantage=appo", "env_tuning.reward=toys:turn_reward", "env_tuning.reward_normalisation=true"),
        *("trainer.save_freq=1", "trainer.test_freq=-1"),
    )
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]
    status, log = run_stage(folder, *overrides, "trainer.total_training_steps=3")
    assert status == 0, log[-4000:]
    steps = events(folder, "step")
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(math.isfinite(step["value_loss"]) and step["value_loss"] > 0 for step in steps)
    assert all(math.isfinite(step["loss"]) and step["grad_norm"] > 0 for step in steps)
    assert {"values", "update_critic", "update_actor"} <= steps[0]["timings"].keys()
    seen = [RunningScale.read(folder / "run" / "checkpoints" / f"global_step_{step}").count for step in (2, 3)]
    assert seen == [32, 48]
    first, last = (critic_weights(folder / "run", step) for step in (2, 3))
    head = next(name for name in first if "score" in name)
    assert not torch.equal(
        *(
            weights[head].to_local() if hasattr(weights[head], "to_local") else weights[head]
            for weights in (first, last)
        )
    )
