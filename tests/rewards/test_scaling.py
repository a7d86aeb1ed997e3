"""Running mean and deviation of scores: equal to those of all scores at once, and saved and read back exactly."""

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env_tuning.rewards.scaling import CLIP, RunningScale

SCORES = st.lists(st.lists(st.floats(-100, 100), max_size=5), max_size=5)


@settings(deadline=None)
@given(SCORES)
def test_batches_give_the_statistic_of_all_scores(batches):
    scale = RunningScale()
    for batch in batches:
        scale = scale.with_scores(batch)
    scores = [score for batch in batches for score in batch]
    assert scale.count == len(scores)
    if scores:
        assert math.isclose(scale.mean, statistics.fmean(scores), abs_tol=1e-9)
        spread = statistics.pstdev(scores)
        assert math.isclose(scale.squares / len(scores), spread**2, rel_tol=1e-9, abs_tol=1e-9)


def test_equal_scores_are_not_divided():
    assert RunningScale().deviation == 1.0
    assert RunningScale().with_scores([3.0, 3.0]).deviation == 1.0


def test_amounts_sum_to_the_distance_from_the_mean_in_deviations():
    scale = RunningScale().with_scores([0.0, 2.0, 4.0])
    amounts = scale.normalised({3: 1.0, 9: 2.0}, last=9)
    assert amounts[3] == pytest.approx(1.0 / scale.deviation)
    assert sum(amounts.values()) == pytest.approx((3.0 - 2.0) / scale.deviation)
    assert scale.normalised({}, last=5) == {5: pytest.approx(-2.0 / scale.deviation)}


def test_the_sum_is_clipped():
    scale = RunningScale().with_scores([0.0, 1.0])
    assert sum(scale.normalised({0: 1000.0}, last=0).values()) == pytest.approx(CLIP)
    assert sum(scale.normalised({0: -1000.0}, last=0).values()) == pytest.approx(-CLIP)


def test_a_checkpoint_carries_it(tmp_path):
    scale = RunningScale().with_scores([0.1, 0.7])
    assert RunningScale.read(tmp_path) == RunningScale()
    scale.write(tmp_path)
    assert RunningScale.read(tmp_path) == scale


def test_a_broken_statistic_is_refused():
    with pytest.raises(ValueError, match="no statistic"):
        RunningScale(count=1, mean=math.nan)
