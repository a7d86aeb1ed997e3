"""The policy loss over actions: values by hand, gradients against autograd of a plain form, clipping, verl's keys."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("verl")
import torch
from action_batches import BATCHES, Batch, make_batch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from verl.trainer.ppo.core_algos import compute_policy_loss_gspo, get_policy_loss_fn
from verl.workers.config import FSDPActorConfig

RAGGED = make_batch([[(0, 3), (2, 1), (1, 4)], [(0, 1)], [], [(2, 5), (3, 2)]])
NAMES = ("appo_sum", "appo_token")


def actor(**keys: Any) -> SimpleNamespace:
    settings = {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.3, "clip_ratio_c": 10.0}
    return SimpleNamespace(**{**settings, "global_batch_info": {}, **keys})


def log_probs(batch: Batch, seed: int, scale: float = 0.05) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(batch.mask.shape, generator=generator, dtype=torch.float64)
    new = old + scale * torch.randn(batch.mask.shape, generator=generator, dtype=torch.float64)
    return old, new.requires_grad_()


def advantages_of(batch: Batch) -> torch.Tensor:
    """The rewards of the actions, on all of their tokens."""
    advantages = torch.zeros_like(batch.rewards)
    for row, spans in enumerate(batch.spans):
        for start, end in spans:
            advantages[row, start:end] = batch.rewards[row, end - 1]
    return advantages


def loss(name: str, batch: Batch, old: torch.Tensor, new: torch.Tensor, config: Any = None, **keys: Any) -> Any:
    return get_policy_loss_fn(name)(
        old_log_prob=old,
        log_prob=new,
        advantages=keys.pop("advantages", advantages_of(batch)),
        response_mask=batch.mask.bool(),
        loss_agg_mode=keys.pop("loss_agg_mode", "seq-mean-token-mean"),
        config=config or actor(),
        rollout_is_weights=keys.pop("rollout_is_weights", None),
    )


def by_hand(name: str, batch: Batch, old: torch.Tensor, new: torch.Tensor, config: Any) -> torch.Tensor:
    """Action by action, in the words of the definition."""
    rows = []
    for row, spans in enumerate(batch.spans):
        terms = []
        for start, end in spans:
            advantage = batch.rewards[row, end - 1]
            log_ratio = sum((new[row, token] - old[row, token] for token in range(start, end)), torch.tensor(0.0))
            ratio = (log_ratio / (end - start) if name == "appo_token" else log_ratio).exp()
            term = -torch.minimum(
                advantage * ratio,
                advantage * ratio.clamp(1 - config.clip_ratio_low, 1 + config.clip_ratio_high),
            )
            terms.append(torch.minimum(term, -advantage * config.clip_ratio_c) if advantage < 0 else term)
        if terms:
            rows.append(torch.stack(terms).mean())
    return torch.stack(rows).mean()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(batch=BATCHES, seed=st.integers(0, 1000), scale=st.sampled_from([0.01, 0.2, 2.0]))
def test_loss_and_gradient_are_those_of_the_definition(name: str, batch: Batch, seed: int, scale: float) -> None:
    assume(batch.mask.any())
    old, new = log_probs(batch, seed, scale)
    computed, _ = loss(name, batch, old, new)
    (gradient,) = torch.autograd.grad(computed, new)
    expected = by_hand(name, batch, old, new, actor())
    (expected_gradient,) = torch.autograd.grad(expected, new)
    torch.testing.assert_close(computed, expected, check_dtype=False, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-7)
    assert not gradient[batch.mask == 0].any()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    old, new = log_probs(RAGGED, 3, 0.02)
    assert torch.autograd.gradcheck(lambda log_prob: loss(name, RAGGED, old, log_prob)[0], (new,), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_at_the_old_policy_the_gradient_is_the_advantage(name: str) -> None:
    batch = make_batch([[(0, 4)]])
    old, _ = log_probs(batch, 0)
    new = old.clone().requires_grad_()
    computed, metrics = loss(name, batch, old, new)
    (gradient,) = torch.autograd.grad(computed, new)
    share = 4 if name == "appo_token" else 1
    torch.testing.assert_close(gradient, -advantages_of(batch) / share)
    assert metrics["actor/pg_clipfrac"] == 0.0


def test_one_token_actions_have_the_same_loss_under_both_names() -> None:
    batch = make_batch([[(0, 1), (1, 1)], [(0, 1)]])
    old, new = log_probs(batch, 1, 0.5)
    torch.testing.assert_close(loss("appo_sum", batch, old, new)[0], loss("appo_token", batch, old, new)[0])


def test_with_one_action_a_row_the_token_mean_is_verls_gspo() -> None:
    batch = make_batch([[(0, 4)], [(1, 2)], [(0, 1)]])
    old, new = log_probs(batch, 2, 0.02)
    config = FSDPActorConfig(
        strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio_low=0.2, clip_ratio_high=0.3
    )
    computed, _ = loss("appo_token", batch, old, new, config)
    (gradient,) = torch.autograd.grad(computed, new)
    expected, _ = compute_policy_loss_gspo(
        old, new, advantages_of(batch), batch.mask.bool(), "seq-mean-token-mean", config
    )
    (expected_gradient,) = torch.autograd.grad(expected, new)
    torch.testing.assert_close(computed, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_an_action_that_moved_too_far_has_no_gradient() -> None:
    batch = make_batch([[(0, 2)], [(0, 2)]], padding=0)
    batch.rewards[:, 1] = torch.tensor([1.0, -1.0])
    old = torch.zeros(2, 2, dtype=torch.float64)
    new = torch.tensor([[0.2, 0.2], [-0.2, -0.2]], dtype=torch.float64, requires_grad=True)  # ratios 1.49 and 0.67
    computed, metrics = loss("appo_sum", batch, old, new)
    (gradient,) = torch.autograd.grad(computed, new)
    assert computed.item() == pytest.approx((-1.3 + 0.8) / 2)
    assert not gradient.any()
    assert metrics["actor/pg_clipfrac"] == 1.0


def test_a_bad_action_weighs_at_most_the_second_clip() -> None:
    batch = make_batch([[(0, 2)]], padding=0)
    batch.rewards[0, 1] = -1.0
    old = torch.zeros(1, 2, dtype=torch.float64)
    computed, metrics = loss("appo_sum", batch, old, old + math.log(100.0))
    assert computed.item() == pytest.approx(10.0)
    assert metrics["actor/pg_clipfrac_lower"] == 1.0


def test_split_into_micro_batches_the_losses_add_up() -> None:
    old, new = log_probs(RAGGED, 4, 0.3)
    config = actor(global_batch_info={"dp_size": 1, "batch_num_tokens": 16, "global_batch_size": 4})
    whole = loss("appo_sum", RAGGED, old, new, config)[0]
    parts = []
    for rows in (slice(0, 2), slice(2, 4)):
        part = Batch(
            rewards=RAGGED.rewards[rows], values=RAGGED.values[rows], mask=RAGGED.mask[rows], spans=RAGGED.spans[rows]
        )
        parts.append(loss("appo_sum", part, old[rows], new[rows], config)[0])
    torch.testing.assert_close(whole, sum(parts))


def test_an_aggregation_over_tokens_is_refused() -> None:
    old, new = log_probs(RAGGED, 0)
    with pytest.raises(ValueError, match="seq-mean-token-mean"):
        loss("appo_sum", RAGGED, old, new, loss_agg_mode="token-mean")


def test_weights_of_tokens_are_refused() -> None:
    old, new = log_probs(RAGGED, 0)
    with pytest.raises(ValueError, match="rollout_is=null"):
        loss("appo_token", RAGGED, old, new, rollout_is_weights=torch.ones_like(old))
