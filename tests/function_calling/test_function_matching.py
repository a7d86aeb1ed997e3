"""Matching of values and calls."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env_tuning.function_calling.matching import CallMatch, argument_share, f1, match_calls, same_value


@pytest.mark.parametrize(
    ("given_value", "right", "same"),
    [
        ("New York", "new york", True), ("new-york.", "New York", True), ("York", "New York", False),
        (2, 2.0, True), (2, "2", False), ("2", 2, False), (True, 1, False), (1, True, False), (None, None, True),
        ([1, "A"], [1, "a"], True), ([1], [1, 2], False), ("ab", ["a", "b"], False), ([], {}, False),
        ({"a": [1]}, {"a": [1.0]}, True), ({"a": 1, "b": 2}, {"a": 1}, False),
    ],
)  # fmt: skip
def test_values(given_value, right, same):
    assert same_value(given_value, right) is same


def test_shares_of_arguments():
    assert argument_share({"a": 1, "b": 2}, {"a": 1, "b": 3}) == 0.5
    assert argument_share({"a": 1, "c": 2}, {"a": 1}) == 0.5
    assert argument_share({}, {}) == 1.0


def test_calls_match_in_any_order_and_only_once():
    right = [{"a": 1}, {"a": 2}]
    assert match_calls([{"a": 2}, {"a": 1}], right) == CallMatch(share=1.0, right=True, missing=0, wrong=0)
    assert match_calls([{"a": 1}, {"a": 1}], right) == CallMatch(share=0.5, right=False, missing=1, wrong=1)
    assert match_calls([{"a": 1}], right) == CallMatch(share=0.5, right=False, missing=1, wrong=0)
    assert match_calls([*right, {"a": 3}], right).wrong == 1
    assert match_calls([*right, {"a": 3}], right).share == pytest.approx(2 / 3)


CALLS = st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2), min_size=1, max_size=4)


@settings(deadline=None)
@given(CALLS, CALLS)
def test_a_match_is_right_exactly_when_the_calls_are_the_same(one, other):
    match = match_calls(one, other)
    key = sorted(sorted(call.items()) for call in one) == sorted(sorted(call.items()) for call in other)
    assert match.right is key
    assert (match.share == 1.0) is key
    assert 0.0 <= match.share <= 1.0


def test_f1_of_names():
    assert f1([], []) == 1.0
    assert f1(["a"], []) == f1([], ["a"]) == 0.0
    assert f1(["a", "a"], ["a"]) == 1.0
    assert f1(["a", "b"], ["a"]) == pytest.approx(2 / 3)
