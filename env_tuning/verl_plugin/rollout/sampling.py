"""Choosing the next tokens of a batch of rows, each with its own temperature, top-k and top-p.

Owns: the arithmetic from logits to token and log-probability. Refuses: random state. Every row brings its own uniform
number, so a row's choice does not depend on which other rows share its step.
"""

from __future__ import annotations

import torch


def choose_tokens(
    logits: torch.Tensor,
    *,
    uniforms: torch.Tensor,
    temperatures: torch.Tensor,
    top_ks: torch.Tensor,
    top_ps: torch.Tensor,
    forbidden: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose one token per row.

    Args:
        logits: `[B, V]` in fp32.
        uniforms: `[B]` in [0, 1).
        temperatures: `[B]`; 0 takes the most likely token.
        top_ks: `[B]`; 0 or less means all tokens.
        top_ps: `[B]`; 1 means all tokens.
        forbidden: Row and token indices of tokens that may not be chosen now.

    Returns:
        The tokens `[B]`, and their log-probabilities `[B]` under `log_softmax(logits / temperature)`, before any token
        is excluded: this is what verl's trainer recomputes.
    """
    greedy = temperatures == 0
    log_probs = torch.log_softmax(logits / torch.where(greedy, 1.0, temperatures)[:, None], dim=-1)
    allowed = log_probs
    if forbidden is not None:
        allowed = allowed.index_put(forbidden, torch.tensor(float("-inf")))
    restricted = ~greedy & ((top_ks > 0) | (top_ps < 1))
    if bool(restricted.any()):
        allowed = allowed.clone() if allowed is log_probs else allowed
        allowed[restricted] = _restrict(allowed[restricted], top_ks[restricted], top_ps[restricted])
    tokens = allowed.argmax(-1) if bool(greedy.all()) else _draw(allowed, uniforms)
    if bool(greedy.any()) and not bool(greedy.all()):
        tokens = torch.where(greedy, allowed.argmax(-1), tokens)
    return tokens, log_probs.gather(1, tokens[:, None])[:, 0]


def _restrict(log_probs: torch.Tensor, top_ks: torch.Tensor, top_ps: torch.Tensor) -> torch.Tensor:
    """Exclude what lies outside top-k, then what lies outside top-p of what is left."""
    ordered, order = log_probs.sort(dim=-1, descending=True)
    rank = torch.arange(log_probs.shape[1])
    ordered = ordered.masked_fill((top_ks[:, None] > 0) & (rank >= top_ks[:, None]), float("-inf"))
    mass = torch.softmax(ordered, dim=-1)
    before = mass.cumsum(-1) - mass
    # The first token always stays: nothing stands before it.
    outside = (before >= top_ps[:, None]) & (rank > 0)
    return torch.empty_like(log_probs).scatter_(1, order, ordered.masked_fill(outside, float("-inf")))


def _draw(log_probs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution: cheaper than a random number per token of the vocabulary."""
    cumulative = log_probs.exp().cumsum(-1)
    total = cumulative[:, -1]
    # Below the total even after rounding, so that the search ends on a token of positive probability.
    targets = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros(())))
    return torch.searchsorted(cumulative, targets[:, None], right=True)[:, 0].clamp_(max=log_probs.shape[1] - 1)
