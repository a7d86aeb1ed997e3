"""PPO's clipped loss with one probability ratio for every action: the policy loss of APPO (action-level PPO).

Owns: the loss and its two names in verl's registry. Refuses: advantages (`action_advantages`).

The ratio of an action is the ratio of the probabilities of its whole text, ``appo_sum``, or its geometric mean over
the tokens, ``appo_token``. The first is what action-level PPO says, and far from 1 as soon as a long message's tokens
move a little each; the second stays near 1 whatever the length.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from verl.trainer.ppo.core_algos import agg_loss, register_policy_loss
from verl.utils.torch_functional import masked_mean

from env_tuning.verl_plugin.actions import Actions

AGGREGATIONS = ("seq-mean-token-mean", "seq-mean-token-sum")
"""Values of ``actor.loss_agg_mode`` that work here: over the actions of an episode, then over episodes. The others
divide by counts of tokens of the whole batch, and actions are not tokens."""

_LARGEST_LOG_RATIO = 20.0  # as verl's vanilla loss: exp(20) is still finite


def joint_ratio_loss(
    old_log_prob: torch.Tensor,
    log_prob: torch.Tensor,
    advantages: torch.Tensor,
    response_mask: torch.Tensor,
    loss_agg_mode: str = AGGREGATIONS[0],
    config: Any = None,
    rollout_is_weights: torch.Tensor | None = None,
    *,
    mean_over_tokens: bool,
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Compute the clipped loss over actions.

    Args:
        old_log_prob: (rows, tokens), of the policy that wrote the tokens.
        log_prob: (rows, tokens), of the policy that is trained.
        advantages: (rows, tokens); an action's is the one on its first token.
        response_mask: (rows, tokens), trained tokens.
        loss_agg_mode: one of `AGGREGATIONS`.
        config: verl's `ActorConfig`: its clip keys and `global_batch_info`.
        rollout_is_weights: verl's importance weights, which have to be None here.
        mean_over_tokens: the geometric mean of the tokens' ratios instead of their product.

    Returns:
        The loss, and the share of actions that were clipped, below and above, and the mean of minus log ratio.

    Raises:
        ValueError: there are weights of tokens, or the aggregation is none over actions.
    """
    if rollout_is_weights is not None:
        raise ValueError(
            "verl's importance weights belong to tokens, not to actions: "
            "set algorithm.rollout_correction.rollout_is=null with an appo loss"
        )
    if loss_agg_mode not in AGGREGATIONS:
        raise ValueError(
            f"a loss over actions cannot be aggregated by {loss_agg_mode}; "
            f"set actor_rollout_ref.actor.loss_agg_mode to {' or '.join(AGGREGATIONS)}"
        )
    low = config.clip_ratio if config.clip_ratio_low is None else config.clip_ratio_low
    high = config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
    actions = Actions.of(response_mask)
    counts = actions.total(actions.mask.to(log_prob.dtype))
    present = counts > 0
    log_ratio = actions.total(log_prob - old_log_prob)
    if mean_over_tokens:
        log_ratio = log_ratio / counts.clamp(min=1)
    log_ratio = log_ratio.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
    advantage = actions.total(torch.where(actions.first, advantages, 0.0))
    ratio = log_ratio.exp()
    plain, clipped = -advantage * ratio, -advantage * ratio.clamp(1 - low, 1 + high)
    losses = torch.maximum(plain, clipped)
    # The second clip, which bounds what a bad action that became likelier can weigh (arXiv 1912.09729).
    bound = -advantage * config.clip_ratio_c
    bounded = (advantage < 0) & (losses > bound)
    losses = torch.where(bounded, bound, losses)
    loss = agg_loss(loss_mat=losses, loss_mask=present, loss_agg_mode=loss_agg_mode, **config.global_batch_info)
    with torch.no_grad():
        metrics = {
            "actor/pg_clipfrac": masked_mean((clipped > plain).float(), present).item(),
            "actor/pg_clipfrac_lower": masked_mean(bounded.float(), present).item(),
            "actor/ppo_kl": masked_mean(-log_ratio, present).item(),
        }
    return loss, metrics


appo_sum = register_policy_loss("appo_sum")(functools.partial(joint_ratio_loss, mean_over_tokens=False))
"""The ratio of whole actions. ``actor.policy_loss.loss_mode=appo_sum``."""

appo_token = register_policy_loss("appo_token")(functools.partial(joint_ratio_loss, mean_over_tokens=True))
"""The geometric mean of an action's ratios over its tokens. ``actor.policy_loss.loss_mode=appo_token``."""
