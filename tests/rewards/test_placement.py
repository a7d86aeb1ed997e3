"""Where a score is paid: nothing is lost, nothing is added, and equal scores stay equal in single precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letters import episode

from env_tuning.rewards.accuracy import progress
from env_tuning.rewards.placement import Placement, place_by_turn
from env_tuning.rewards.registry import resolve_reward
from env_tuning.rewards.score import Score


def test_a_turn_is_paid_where_it_ended_and_the_rest_at_the_end() -> None:
    score = resolve_reward("0.9 progress + 0.1 format")(episode("cacaca", "101"))
    assert place_by_turn(score, {0: 4, 1: 9, 2: 14}, 14) == pytest.approx({4: 0.3, 14: 0.3 + 0.2})


def test_a_turn_without_reward_gets_none_not_even_a_rounding_error() -> None:
    assert place_by_turn(progress(episode("cacaca", "110")), {0: 4, 1: 9, 2: 14}, 14).keys() == {4, 9}
    assert place_by_turn(progress(episode("cacaca", "000")), {0: 4, 1: 9, 2: 14}, 14) == {}


def test_what_a_turn_earned_that_was_never_closed_is_paid_at_the_end() -> None:
    assert place_by_turn(Score(score=1.0, turns=(0.25, 0.75)), {0: 3}, 8) == {3: 0.25, 8: 0.75}


def test_a_reward_that_binds_nothing_to_turns_is_paid_at_the_end() -> None:
    assert place_by_turn(Score(score=1.5), {0: 3, 1: 8}, 8) == {8: 1.5}


def summed(amounts: dict[int, float], order: list[int]) -> np.float32:
    total = np.float32(0)
    for position in order:
        total += np.float32(amounts[position])
    return total


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.data())
def test_equal_progress_stays_equal_however_it_is_spread_over_turns(right: list[bool], data: st.DataObject) -> None:
    trajectory = episode("a" * len(right), "".join("01"[mark] for mark in right), turns=len(right))
    amounts = place_by_turn(progress(trajectory), {turn: 3 * turn for turn in range(len(right))}, 3 * len(right) - 3)
    order = data.draw(st.permutations(list(amounts)))
    assert summed(amounts, order) == np.float32(sum(right) / len(right))


@given(
    st.lists(st.floats(0, 10), max_size=12),
    st.floats(0, 10),
    st.sets(st.integers(0, 11)),
    st.data(),
)
def test_amounts_of_any_reward_sum_to_its_score(
    turns: list[float], rest: float, closed: set[int], data: st.DataObject
) -> None:
    score = Score(score=sum(turns) + rest, turns=tuple(turns))
    amounts = place_by_turn(score, {turn: 2 * turn for turn in closed}, 100)
    assert summed(amounts, data.draw(st.permutations(list(amounts)))) == np.float32(score.score)
    assert all(amount >= 0 for amount in amounts.values())


@given(st.lists(st.floats(-10, 10), max_size=12), st.floats(-10, 10))
def test_penalties_sum_to_the_score_up_to_single_precision(turns: list[float], score: float) -> None:
    amounts = place_by_turn(
        Score(score=score, turns=tuple(turns)), {turn: turn for turn in range(len(turns))}, len(turns)
    )
    size = sum(map(abs, turns)) + abs(score - sum(turns))
    assert sum(amounts.values()) == pytest.approx(score, abs=1e-6 * size + 1e-12)


def test_an_unknown_placement_names_those_known() -> None:
    assert Placement.read("turns") is Placement.TURNS
    with pytest.raises(ValueError, match=r"env_tuning\.reward_placement is 'turn'; it must be last or turns"):
        Placement.read("turn")
