"""Advantages over actions and their tokens: TPPO, POAD and APPO as one recursion with four numbers.

Owns: the recursion, the three presets, their names in verl's registry and the one way in which a critic's values reach
a registered estimator. Refuses: the policy loss (`joint_ratio_loss`), placing rewards (`rewards.placement`).

An action is one assistant message. Between the tokens of an action discount and trace are ``gamma_token`` and
``lam_token``; from the last token of an action to the first of the next they are ``gamma_turn`` and ``lam_turn``:

    TPPO (token-level PPO)              gamma, lam, gamma, lam: verl's ``gae``
    POAD (arXiv 2405.15821)             gamma, lam, 1,     lam: what an action is worth does not depend on its length
    APPO (action-level PPO)             gamma, lam, 1,     1:   GAE over actions; the first token's advantage for all

With gamma = 1 TPPO and POAD are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_adv_est
from verl.utils.torch_functional import masked_whiten

from env_tuning.verl_plugin.actions import Actions


@dataclass(frozen=True, kw_only=True)
class Discounts:
    """Discount (gamma) and trace (lam) within actions and between them, each from 0 to 1."""

    gamma_turn: float
    lam_turn: float
    gamma_token: float
    lam_token: float

    def __post_init__(self) -> None:
        """Reject numbers with which the recursion does not fade."""
        for name, value in vars(self).items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; discounts and traces lie between 0 and 1")


def recursion(
    rewards: torch.Tensor, values: torch.Tensor, actions: Actions, discounts: Discounts
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation with other discounts within actions than between them.

    Args:
        rewards: (rows, tokens). Only those on trained tokens count, as in verl's `compute_gae_advantage_return`.
        values: (rows, tokens), what the critic expected before each token.
        actions: of the rows.
        discounts: of the recursion. The episode ends with the last action, whatever cut it.

    Returns:
        Advantages and returns (advantage plus value), (rows, tokens) each; 0 on other tokens.
    """
    advantages = torch.zeros_like(values)
    value, trace = values.new_zeros(len(values)), values.new_zeros(len(values))
    gammas = torch.full_like(values, discounts.gamma_token).masked_fill_(actions.last, discounts.gamma_turn)
    lams = torch.full_like(values, discounts.lam_token).masked_fill_(actions.last, discounts.lam_turn)
    for token in reversed(range(values.shape[1])):
        trained, gamma = actions.mask[:, token], gammas[:, token]
        advantage = rewards[:, token] + gamma * value - values[:, token] + gamma * lams[:, token] * trace
        advantages[:, token] = torch.where(trained, advantage, 0.0)
        value = torch.where(trained, values[:, token], value)
        trace = torch.where(trained, advantage, trace)
    return advantages, torch.where(actions.mask, advantages + values, 0.0)


def token_advantages(
    rewards: torch.Tensor, values: torch.Tensor, response_mask: torch.Tensor, discounts: Discounts
) -> tuple[torch.Tensor, torch.Tensor]:
    """An advantage for every token (TPPO, POAD), whitened over tokens, and the critic's targets.

    Shapes as in `recursion`.
    """
    actions = Actions.of(response_mask)
    advantages, returns = recursion(rewards, values, actions, discounts)
    return _whitened(advantages, actions.mask), returns


def action_advantages(
    rewards: torch.Tensor, values: torch.Tensor, response_mask: torch.Tensor, discounts: Discounts
) -> tuple[torch.Tensor, torch.Tensor]:
    """One advantage and one target for every action (APPO), whitened over actions, on all tokens of the action.

    The value of an action is the critic's before its first token. With discounts of 1 within actions the recursion
    telescopes there to GAE over actions. Shapes as in `recursion`.
    """
    actions = Actions.of(response_mask)
    advantages, returns = recursion(rewards, values, actions, discounts)
    whitened = torch.where(actions.first, _whitened(advantages, actions.first), 0.0)
    # The later tokens of an action learn the same target: what is worth so much does not change while it is written.
    return actions.spread(actions.total(whitened)), actions.spread(actions.total(returns * actions.first))


def _whitened(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """As verl's; verl raises for fewer than two entries, which have no spread."""
    if int(mask.sum()) < 2:
        return advantages
    return masked_whiten(advantages, mask)


# In verl's registry --------------------------------------------------------------------------------------------

_VALUES: ContextVar[torch.Tensor] = ContextVar("critic_values")


@contextmanager
def critic_values(values: torch.Tensor) -> Iterator[None]:
    """Have the estimators find these values, (rows, tokens), while verl computes advantages.

    verl/trainer/ppo/ray_trainer.py:compute_advantage gives a critic's values to no estimator but its own ``gae``.
    """
    token = _VALUES.set(values)
    try:
        yield
    finally:
        _VALUES.reset(token)


def discounts_of(algorithm: Mapping[str, Any], *, gamma_token: float, lam_token: float) -> Discounts:
    """The four numbers of a configuration: ``gamma`` and ``lam``, and within actions the preset's or the given ones."""
    own = {"gamma_token": gamma_token, "lam_token": lam_token}
    given = {name: algorithm.get(name) for name in own}
    within = {name: own[name] if given[name] is None else float(given[name]) for name in own}
    return Discounts(gamma_turn=float(algorithm["gamma"]), lam_turn=float(algorithm["lam"]), **within)


def _values() -> torch.Tensor:
    try:
        return _VALUES.get()
    except LookupError:
        raise ValueError(
            "this advantage estimator needs a critic's values: set critic.enable=true and "
            "trainer.v1.trainer_mode=env_tuning"
        ) from None


@register_adv_est("tppo")
def tppo(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, config: Mapping[str, Any], **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token-level PPO: every token is a step. ``algorithm.adv_estimator=tppo``."""
    discounts = discounts_of(config, gamma_token=config["gamma"], lam_token=config["lam"])
    return token_advantages(token_level_rewards, _values(), response_mask, discounts)


@register_adv_est("poad")
def poad(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, config: Mapping[str, Any], **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bellman backup with action decomposition: no discount within an action. ``algorithm.adv_estimator=poad``."""
    discounts = discounts_of(config, gamma_token=1.0, lam_token=config["lam"])
    return token_advantages(token_level_rewards, _values(), response_mask, discounts)


@register_adv_est("appo")
def appo(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, config: Mapping[str, Any], **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Action-level PPO: every assistant message is a step. ``algorithm.adv_estimator=appo``."""
    discounts = discounts_of(config, gamma_token=1.0, lam_token=1.0)
    return action_advantages(token_level_rewards, _values(), response_mask, discounts)
