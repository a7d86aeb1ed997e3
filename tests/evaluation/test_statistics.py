"""Intervals and tests against figures that others computed, and against counting everything."""

from __future__ import annotations

import itertools
import math

import pytest

from env_tuning.evaluation.statistics import mcnemar, mean_interval, paired_bootstrap, wilson


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (score without continuity correction).
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_is_the_published_one(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_the_wilson_interval_is_symmetric_and_holds_the_share():
    for trials in (1, 7, 800):
        for successes in range(trials + 1):
            low, high = wilson(successes, trials)
            mirrored = wilson(trials - successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1
            assert (1 - high, 1 - low) == pytest.approx(mirrored)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("discordant", range(1, 11))
def test_mcnemar_is_the_share_of_coin_tosses_at_least_as_uneven(discordant):
    for heads in range(discordant + 1):
        unevenness = abs(2 * heads - discordant)
        tosses = list(itertools.product((0, 1), repeat=discordant))
        extreme = sum(abs(2 * sum(toss) - discordant) >= unevenness for toss in tosses)
        assert mcnemar(heads, discordant - heads) == pytest.approx(extreme / len(tosses))


def test_mcnemar_survives_numbers_that_no_float_holds():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(1500, 1500) == 1.0
    assert 0 < mcnemar(0, 1000) < 1e-300
    assert mcnemar(400, 440) == mcnemar(440, 400)


def test_the_bootstrap_interval_is_the_normal_one_for_many_tasks():
    first = [0.0, 0.25, 0.5, 1.0] * 100
    second = [0.25, 0.25, 1.0, 0.75] * 100
    found = paired_bootstrap(first, second)
    differences = [b - a for a, b in zip(first, second, strict=True)]
    mean = math.fsum(differences) / 400
    spread = 1.96 * math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / 400) / 20
    assert found.mean == pytest.approx(mean)
    assert found.interval == pytest.approx((mean - spread, mean + spread), abs=0.005)
    assert found.p < 0.001
    assert paired_bootstrap(second, first).mean == -found.mean


def test_no_difference_and_noise_are_not_significant():
    values = [0.0, 0.5, 1.0, 0.25]
    assert paired_bootstrap(values, values) == (0.0, (0.0, 0.0), 1.0)
    assert paired_bootstrap([0.0, 1.0] * 20, [1.0, 0.0] * 20).p > 0.5


def test_values_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="2 and 1 values cannot be paired"):
        paired_bootstrap([1.0, 0.0], [1.0])


def test_an_interval_of_a_mean_holds_it_and_shrinks_to_it():
    low, high = mean_interval([0.0, 1.0] * 50)
    assert (low, high) == pytest.approx((0.402, 0.598), abs=0.02)
    assert mean_interval([0.5] * 9) == (0.5, 0.5)
