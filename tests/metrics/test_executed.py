"""Results of calls against the right ones: exact, near, alike."""

import json

import pytest

from env_tuning.calls import ToolCall
from env_tuning.environments.registry import make_environment
from env_tuning.metrics.executed import Comparison, all_results_right, executed_right, same_result

EXACT, NEAR, ALIKE = Comparison


@pytest.mark.parametrize(
    ("given", "right", "holds"),
    [
        ({"price": 10}, {"price": 10}, {EXACT, NEAR, ALIKE}),
        ({"price": 10}, {"price": 10.0}, {EXACT, NEAR, ALIKE}),
        ({"price": 12}, {"price": 10}, {NEAR, ALIKE}),
        ({"price": 8}, {"price": 10}, {NEAR, ALIKE}),
        ({"price": 12.1}, {"price": 10}, {ALIKE}),
        ({"price": -10}, {"price": 10}, {ALIKE}),
        ({"price": -11}, {"price": -10}, {NEAR, ALIKE}),
        ({"price": "10"}, {"price": 10}, set()),
        ({"price": True}, {"price": 1}, set()),
        ({"cost": 10}, {"price": 10}, set()),
        ({"price": 10, "city": "Oslo"}, {"price": 10, "city": "Lima"}, {ALIKE}),
        ([1, 2], [1, 2], {EXACT, NEAR, ALIKE}),
        ([1, 2, 3], [1, 2], set()),
        ([[1], {"a": None}], [[1], {"a": None}], {EXACT, NEAR, ALIKE}),
        ({"a": 1}, [1], set()),
    ],
)
def test_the_three_comparisons(given, right, holds):
    assert {how for how in Comparison if same_result(json.dumps(given), json.dumps(right), how)} == holds


def test_results_that_are_no_json_are_text():
    assert same_result("None", "None")
    assert not same_result("Error: a", "Error: b")
    assert same_result("Error: a", "Error: b", ALIKE)


def test_every_right_result_needs_one_of_its_own():
    assert all_results_right(["1", "2"], ["2", "1"])
    assert not all_results_right(["1"], ["1", "1"])
    assert not all_results_right(["1", "1", "2"], ["1", "1"])
    assert all_results_right(["1", "1", "2"], ["1", "1"], more=True)


def test_calls_are_run_apart_from_the_reference():
    def fresh():
        return make_environment(("MathAPI",), "{}")

    def add(a, b):
        return ToolCall(name="add", arguments={"a": a, "b": b})

    assert executed_right([add(1, 2)], [add(2, 1)], fresh)
    assert not executed_right([add(1, 3)], [add(1, 2)], fresh)
    assert executed_right([add(10, 11)], [add(10, 10)], fresh, NEAR)
    assert not executed_right([add(1, 2), add(3, 4)], [add(1, 2)], fresh)
