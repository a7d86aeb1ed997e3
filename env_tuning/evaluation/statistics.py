"""Intervals and tests for shares and means over tasks.

Owns: the formulas. Refuses: knowing what is measured. Everything is deterministic: resampling has a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_Z95 = 1.959963984540054
_RESAMPLES = 10_000
_CHUNK = 500
"""Resamples drawn at a time, so that memory stays in megabytes."""


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """The 95 % score interval of a share (Wilson, 1927); from 0 to 1 where nothing was tried."""
    if trials == 0:
        return Interval(0.0, 1.0)
    share, z2 = successes / trials, _Z95**2
    centre = share + z2 / (2 * trials)
    spread = _Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return Interval(low, high)


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided exact p-value for paired yes-or-no outcomes: a fair coin over the pairs that differ.

    Args:
        only_first: pairs in which the first alone was right.
        only_second: pairs in which the second alone was right.
    """
    different = only_first + only_second
    tail = sum(math.comb(different, count) for count in range(min(only_first, only_second) + 1))
    # Whole numbers to the end: 2**800 is no float.
    return min(1.0, float(2 * tail / 2**different)) if different else 1.0


class MeanDifference(NamedTuple):
    """A paired difference of means, its 95 % bootstrap interval, and the p-value of no difference."""

    mean: float
    interval: Interval
    p: float


def paired_bootstrap(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> MeanDifference:
    """The mean of ``second - first`` over tasks that are resampled with replacement.

    The p-value is twice the share of resampled means on the other side of zero (those at zero count as such), with one
    added to both counts, so that it is never 0.

    Raises:
        ValueError: the two are of different lengths, or empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} values cannot be paired")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    mean = float(differences.mean())
    if not differences.any():
        return MeanDifference(0.0, Interval(0.0, 0.0), 1.0)
    means = _resampled_means(differences, seed)
    low, high = np.quantile(means, (0.025, 0.975))
    beyond = int((means <= 0).sum() if mean > 0 else (means >= 0).sum())
    p = min(1.0, 2 * (beyond + 1) / (_RESAMPLES + 1))
    return MeanDifference(mean, Interval(float(low), float(high)), p)


def mean_interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The 95 % bootstrap interval of a mean; the value itself where there is no spread."""
    means = _resampled_means(np.asarray(values, dtype=np.float64), seed)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(low), float(high))


def _resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    shape = (_CHUNK, len(values))
    chunks = [values[draw.integers(len(values), size=shape)].mean(axis=1) for _ in range(_RESAMPLES // _CHUNK)]
    return np.concatenate(chunks)
