"""Batches of episodes whose actions have chosen lengths, and a plain way to compute what the estimators compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rewards, values and mask of shape (rows, tokens), and the spans of every row's actions."""

    rewards: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor
    spans: list[list[tuple[int, int]]]


def make_batch(shapes: Sequence[Sequence[tuple[int, int]]], *, seed: int = 0, padding: int = 2) -> Batch:
    """One row for every sequence of (tokens of an observation before, tokens of the action), rewards on its last."""
    generator = torch.Generator().manual_seed(seed)
    spans = []
    for shape in shapes:
        position, row = 0, []
        for index, (gap, length) in enumerate(shape):
            position += max(gap, 1 if index else 0)
            row.append((position, position + length))
            position += length
        spans.append(row)
    width = max((row[-1][1] for row in spans if row), default=0) + padding
    mask = torch.zeros(len(shapes), width)
    rewards = torch.zeros(len(shapes), width, dtype=torch.float64)
    for index, row in enumerate(spans):
        for start, end in row:
            mask[index, start:end] = 1
            rewards[index, end - 1] = torch.randn((), generator=generator, dtype=torch.float64)
    values = torch.randn(len(shapes), width, generator=generator, dtype=torch.float64)
    return Batch(rewards=rewards, values=values, mask=mask, spans=spans)


def generalised_advantages(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """Textbook GAE over the steps of one episode, as a sum over later steps."""
    following = [*values, 0.0][1:]
    deltas = [r + gamma * after - v for r, after, v in zip(rewards, following, values, strict=True)]
    return [
        sum((gamma * lam) ** ahead * delta for ahead, delta in enumerate(deltas[step:])) for step in range(len(deltas))
    ]


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=4)
BATCHES = st.builds(
    make_batch, st.lists(ROWS, min_size=1, max_size=4), seed=st.integers(0, 1000), padding=st.integers(0, 2)
)
UNIT = st.floats(0.0, 1.0)
