"""Advantages over actions: verl's GAE over tokens, textbook GAE over actions, and where the presets agree."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("verl")
import torch
from action_batches import BATCHES, UNIT, Batch, generalised_advantages, make_batch
from hypothesis import assume, given, settings
from verl.trainer.ppo.core_algos import compute_gae_advantage_return, get_adv_estimator_fn

from env_tuning.verl_plugin.action_advantages import (
    Discounts,
    critic_values,
    discounts_of,
    recursion,
    token_advantages,
)
from env_tuning.verl_plugin.actions import Actions

RAGGED = make_batch([[(0, 3), (2, 1), (1, 4)], [(0, 1)], [], [(2, 5), (3, 2)]])


def estimate(name: str, batch: Batch, **algorithm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What verl's `compute_advantage` would get from the registered estimator."""
    with critic_values(batch.values):
        return get_adv_estimator_fn(name)(
            token_level_rewards=batch.rewards, response_mask=batch.mask, config=algorithm, index=None
        )


def raw(batch: Batch, discounts: Discounts) -> torch.Tensor:
    return recursion(batch.rewards, batch.values, Actions.of(batch.mask), discounts)[0]


def of_turns(gamma: float, lam: float) -> Discounts:
    return Discounts(gamma_turn=gamma, lam_turn=lam, gamma_token=1.0, lam_token=1.0)


def test_actions_are_runs_of_trained_tokens() -> None:
    actions = Actions.of(torch.tensor([[1, 1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1]]))
    assert actions.longest == 3
    assert actions.first.nonzero().tolist() == [[0, 0], [0, 3], [0, 6], [2, 1]]
    assert actions.last.nonzero().tolist() == [[0, 1], [0, 3], [0, 6], [2, 6]]
    values = torch.arange(21.0).reshape(3, 7)
    values[1, 2] = torch.nan
    sums = actions.total(values)
    assert sums.tolist() == [[1.0, 3.0, 6.0], [0.0, 0.0, 0.0], [15.0 + 16 + 17 + 18 + 19 + 20, 0.0, 0.0]]
    assert actions.spread(sums)[0].tolist() == [1.0, 1.0, 0.0, 3.0, 0.0, 0.0, 6.0]


def test_a_batch_without_actions_has_no_advantages() -> None:
    batch = make_batch([[], []], padding=3)
    for name in ("tppo", "poad", "appo"):
        advantages, returns = estimate(name, batch, gamma=0.9, lam=0.9)
        assert advantages.tolist() == returns.tolist() == [[0.0] * 3] * 2


@settings(max_examples=60, deadline=None)
@given(BATCHES, UNIT, UNIT)
def test_tppo_is_verls_gae(batch: Batch, gamma: float, lam: float) -> None:
    assume(batch.mask.sum() >= 2)  # verl divides by the number of tokens less one
    advantages, returns = estimate("tppo", batch, gamma=gamma, lam=lam)
    expected, targets = compute_gae_advantage_return(batch.rewards, batch.values, batch.mask, gamma, lam)
    trained = batch.mask.bool()
    torch.testing.assert_close(advantages[trained], expected[trained])
    torch.testing.assert_close(returns[trained], targets[trained])


@settings(max_examples=60, deadline=None)
@given(BATCHES, UNIT)
def test_poad_is_tppo_without_discount(batch: Batch, lam: float) -> None:
    for one, other in zip(
        estimate("poad", batch, gamma=1.0, lam=lam), estimate("tppo", batch, gamma=1.0, lam=lam), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_poad_and_tppo_differ_below_gamma_1() -> None:
    poad, tppo = (estimate(name, RAGGED, gamma=0.9, lam=0.95)[0] for name in ("poad", "tppo"))
    assert (poad - tppo).abs().max() > 0.01


@settings(max_examples=60, deadline=None)
@given(BATCHES, UNIT, UNIT)
def test_appo_is_gae_over_actions(batch: Batch, gamma: float, lam: float) -> None:
    expected = torch.zeros_like(batch.values)
    for row, spans in enumerate(batch.spans):
        rewards = [float(batch.rewards[row, end - 1]) for _, end in spans]
        values = [float(batch.values[row, start]) for start, _ in spans]
        for (start, _), advantage in zip(spans, generalised_advantages(rewards, values, gamma, lam), strict=True):
            expected[row, start] = advantage
    first = Actions.of(batch.mask).first
    torch.testing.assert_close(raw(batch, of_turns(gamma, lam))[first], expected[first])

    advantages, returns = estimate("appo", batch, gamma=gamma, lam=lam)
    whitened = expected[first]
    if len(whitened) > 1:
        whitened = (whitened - whitened.mean()) * torch.rsqrt(whitened.var() + 1e-8)
    torch.testing.assert_close(advantages[first], whitened, rtol=1e-4, atol=1e-4)
    for row, spans in enumerate(batch.spans):
        for start, end in spans:
            assert advantages[row, start:end].unique().numel() == 1
            assert returns[row, start:end].unique().numel() == 1
            torch.testing.assert_close(returns[row, start], expected[row, start] + batch.values[row, start])
    assert not advantages[batch.mask == 0].any()


def test_at_gamma_and_lambda_1_the_first_tokens_agree_between_appo_and_tppo() -> None:
    first = Actions.of(RAGGED.mask).first
    tokens = Discounts(gamma_turn=0.9, lam_turn=0.8, gamma_token=0.9, lam_token=0.8)
    ones = Discounts(gamma_turn=1.0, lam_turn=1.0, gamma_token=1.0, lam_token=1.0)
    torch.testing.assert_close(raw(RAGGED, of_turns(1.0, 1.0))[first], raw(RAGGED, ones)[first])
    assert (raw(RAGGED, of_turns(0.9, 0.8)) - raw(RAGGED, tokens))[first].abs().max() > 0.01


def test_what_an_action_is_worth_depends_on_its_length_for_tppo_only() -> None:
    short, long = ([[(0, length), (1, 1)]] for length in (2, 40))

    def worth(name: str, shape: Any) -> float:
        batch = make_batch(shape, padding=0)
        batch.rewards.zero_()
        batch.rewards[0, -1] = 1.0
        batch.values.zero_()
        _, returns = estimate(name, batch, gamma=0.9, lam=1.0)
        return float(returns[0, 0])

    assert worth("poad", short) == pytest.approx(0.9) == worth("poad", long)
    assert worth("appo", short) == pytest.approx(0.9) == worth("appo", long)
    assert worth("tppo", short) == pytest.approx(0.9**2)
    assert worth("tppo", long) == pytest.approx(0.9**40)


@settings(max_examples=30, deadline=None)
@given(BATCHES, UNIT, UNIT)
def test_padding_and_observations_change_nothing(batch: Batch, gamma: float, lam: float) -> None:
    disturbed = Batch(
        rewards=batch.rewards + 7.0 * (1 - batch.mask),
        values=torch.where(batch.mask.bool(), batch.values, 1e6),
        mask=batch.mask,
        spans=batch.spans,
    )
    for name in ("tppo", "poad", "appo"):
        for one, other in zip(
            estimate(name, batch, gamma=gamma, lam=lam), estimate(name, disturbed, gamma=gamma, lam=lam), strict=True
        ):
            torch.testing.assert_close(one[batch.mask.bool()], other[batch.mask.bool()])


def test_a_single_trained_token_is_not_whitened() -> None:
    advantages, _ = token_advantages(torch.tensor([[2.0]]), torch.tensor([[0.5]]), torch.ones(1, 1), of_turns(1, 1))
    assert advantages.item() == 1.5


def test_the_configuration_may_set_the_numbers_within_actions() -> None:
    algorithm = {"gamma": 0.9, "lam": 0.8, "gamma_token": None, "lam_token": 0.5}
    assert discounts_of(algorithm, gamma_token=1.0, lam_token=0.8) == Discounts(
        gamma_turn=0.9, lam_turn=0.8, gamma_token=1.0, lam_token=0.5
    )
    as_tppo = estimate("poad", RAGGED, gamma=0.9, lam=0.8, gamma_token=0.9)
    torch.testing.assert_close(as_tppo[0], estimate("tppo", RAGGED, gamma=0.9, lam=0.8)[0])
    with pytest.raises(ValueError, match=r"lam_turn is 1\.5"):
        estimate("tppo", RAGGED, gamma=0.9, lam=1.5)


def test_without_a_critic_the_error_names_the_keys() -> None:
    with pytest.raises(ValueError, match=r"critic\.enable=true"):
        get_adv_estimator_fn("appo")(
            token_level_rewards=RAGGED.rewards, response_mask=RAGGED.mask, config={"gamma": 1.0, "lam": 1.0}
        )
