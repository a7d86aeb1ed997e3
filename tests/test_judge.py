"""The benchmark's verdict, on a tool class small enough to reason about."""

import pytest
from counter import Counter

from env_tuning.calls import parse_call
from env_tuning.environments.environment import Environment
from env_tuning.judge import official_verdict, replay_ground_truth
from env_tuning.trajectory import TurnFailure

REFERENCE = (("add(amount=2)", "read()"), (), ("add(amount=1)",), ("read()",))


def fresh() -> Environment:
    return Environment({"Counter": Counter({})})


def verdict(*turns):
    parsed = [[[parse_call(call) for call in step] for step in steps] for steps in turns]
    found = official_verdict(fresh(), replay_ground_truth(REFERENCE, fresh()), parsed)
    return found.valid, found.failed_turn, found.failure, found.error_type


RIGHT = ([["add(amount=2)"], ["read()"]], [], [["add(amount=1)"]], [["read()"]])
VALID = (True, None, None, None)


def test_the_reference_is_valid():
    assert verdict(*RIGHT) == VALID


def test_a_turn_without_ground_truth_is_not_checked_but_its_calls_stay_done():
    first, _, third, last = RIGHT
    assert verdict(first, [["read()", "add(amount=0)"]], third, last) == VALID
    wrong = (False, 2, TurnFailure.STATE, "multi_turn:instance_state_mismatch")
    assert verdict(first, [["add(amount=9)"]], third, last) == wrong


def test_calls_made_too_early_only_move_the_failure_forward():
    # The state is checked after every turn: what makes up for it later comes too late.
    assert verdict([["add(amount=3)"], ["read()"]], [], [["read()"]], [["read()"]])[1:3] == (0, TurnFailure.STATE)


@pytest.mark.parametrize("steps", [[], [[]]])
def test_a_turn_without_calls_is_empty_even_if_its_results_were_seen_before(steps):
    first, second, third, _ = RIGHT
    wrong = (False, 3, TurnFailure.NO_CALLS, "multi_turn:empty_turn_model_response")
    assert verdict(first, second, third, steps) == wrong


def test_two_steps_without_calls_are_not_an_empty_turn():
    first, second, _, _ = RIGHT
    # The last turn's result was seen in turn 2, as the benchmark allows.
    assert verdict(first, second, [["add(amount=1)"]], [[], []]) == VALID


def test_a_result_that_was_never_seen_is_missing():
    wrong = (False, 0, TurnFailure.RESPONSE, "multi_turn:execution_response_mismatch")
    assert verdict([["add(amount=2)"]], *RIGHT[1:]) == wrong


def test_an_episode_that_was_cut_short_is_wrong_without_a_check():
    assert verdict(*RIGHT[:3]) == (False, 3, None, "multi_turn:force_terminated")


def test_more_turns_than_the_reference_has_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="5 turns"):
        verdict(*RIGHT, [])
