"""Verdicts in official mode against the official checker."""

from __future__ import annotations

from pathlib import Path

import pytest
from verdicts import CHANGES, compare, damaged_episodes, describe

from env_tuning.data.sources import Benchmark
from env_tuning.judge import OFFICIAL_ERROR_TYPES


@pytest.mark.slow
@pytest.mark.parametrize(("episodes", "seed"), [(500, 0), (20_000, 1)])
def test_damaged_solutions_get_the_official_verdict_turn_and_error(
    benchmark: Benchmark, official: Path, episodes: int, seed: int
):
    report = compare(list(damaged_episodes(benchmark, seed=seed, episodes=episodes)), benchmark, official)
    assert report.episodes == episodes
    assert not report.different, "\n".join(describe(report))
    assert len(report.raised) <= episodes // 1000
    # Every outcome and every change is well represented, or agreement would say little.
    assert report.outcomes.keys() == {"valid", *OFFICIAL_ERROR_TYPES.values()}
    assert min(report.outcomes.values()) > episodes // 20
    assert min(report.changes[name] for name in CHANGES) > episodes // 20
