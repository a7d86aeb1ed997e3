"""Demonstrations are perfect episodes, and nothing but what an episode shows."""

from __future__ import annotations

import pytest

from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.demonstrations import (
    Habits,
    ImperfectDemonstrationError,
    Pacing,
    demonstration,
    name_arguments,
)
from env_tuning.data.splits import TRAIN, Category
from env_tuning.episode import Rules
from env_tuning.protocols import Malformed, PromptVersion, ThinkAnswer, ToolListing, UseTools
from env_tuning.task import Task, ToolDoc


def calls_per_message(messages: list[dict[str, str]]) -> list[int]:
    actions = [ThinkAnswer().parse(message["content"]) for message in messages if message["role"] == "assistant"]
    return [len(action.calls) for action in actions if isinstance(action, UseTools)]


@pytest.mark.parametrize("pacing", Pacing)
def test_every_training_task_has_a_perfect_demonstration(tasks, benchmark, pacing):
    for category in Category:
        for scenario in TRAIN:
            task = tasks[category.task_id(scenario)]
            messages = demonstration(task, pacing=pacing, long_context=benchmark.long_context)
            roles = [message["role"] for message in messages]
            assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)], task.id


def test_the_same_seed_gives_the_same_messages_and_another_seed_others(tasks):
    task = tasks[Category.BASE.task_id(0)]
    assert demonstration(task, seed=1) == demonstration(task, seed=1)
    assert demonstration(task, seed=1) != demonstration(task, seed=2)


def test_pacing_spreads_the_calls_over_messages_and_keeps_their_number(tasks):
    task = tasks[Category.BASE.task_id(0)]
    together = calls_per_message(demonstration(task, pacing=Pacing.TOGETHER))
    single = calls_per_message(demonstration(task, pacing=Pacing.SINGLE))
    assert len(together) == sum(1 for turn in task.ground_truth if turn)
    assert set(single) == {1}
    assert sum(together) == sum(single) == sum(map(len, task.ground_truth))


def test_a_turn_with_more_calls_than_steps_is_written_in_one_message(tasks):
    task = tasks[Category.BASE.task_id(65)]
    most = max(map(len, task.ground_truth))
    messages = demonstration(task, pacing=Pacing.SINGLE, rules=Rules(steps_per_turn=most))
    assert most in calls_per_message(messages)


@pytest.mark.parametrize("listing", ToolListing)
def test_the_tools_are_shown_in_the_listing_that_was_asked_for(tasks, listing):
    system = demonstration(tasks[Category.BASE.task_id(0)], listing=listing)[0]["content"]
    assert ('"parameters"' in system) is (listing is ToolListing.JSON)


@pytest.mark.parametrize("category", [Category.MISS_FUNC, Category.MISS_PARAM])
def test_a_turn_without_ground_truth_is_answered_without_a_call(tasks, category):
    candidates = (tasks[category.task_id(scenario)] for scenario in TRAIN)
    task = next(task for task in candidates if not task.ground_truth[0])
    first = demonstration(task)[2]["content"]
    assert "<answer>" in first and "<tool_call>" not in first


def test_ground_truth_that_fails_in_the_environment_is_never_imitated(tasks):
    task = tasks[Category.BASE.task_id(0)]
    held = Task(**{**vars(task), "releases": {1: (parse_call(task.ground_truth[0][0]).name,)}})
    with pytest.raises(ImperfectDemonstrationError, match="multi_turn_base_0"):
        demonstration(held)


def actions(messages: list[dict[str, str]]) -> list[object]:
    return [ThinkAnswer().parse(message["content"]) for message in messages if message["role"] == "assistant"]


def test_a_hasty_speaker_breaks_the_protocol_before_the_last_answer_until_no_step_is_left(tasks):
    task = tasks[Category.BASE.task_id(0)]
    perfect = actions(demonstration(task, pacing=Pacing.TOGETHER))
    spoken = actions(demonstration(task, pacing=Pacing.TOGETHER, habits=Habits(hasty=1.0)))
    haste = spoken[len(perfect) - 1 : -1]
    assert spoken[: len(perfect) - 1] + spoken[-1:] == perfect
    assert all(isinstance(action, Malformed) for action in haste)
    assert isinstance(perfect[-2], UseTools) and len(haste) == Rules().steps_per_turn - 2


@pytest.mark.parametrize("version", PromptVersion)
def test_an_idle_speaker_calls_nothing_after_the_first_turn(tasks, version):
    task = tasks[Category.BASE.task_id(TRAIN[0])]
    perfect = actions(demonstration(task, pacing=Pacing.TOGETHER, version=version))
    spoken = actions(demonstration(task, pacing=Pacing.TOGETHER, version=version, habits=Habits(idle=1.0)))
    first_turn = next(place for place, action in enumerate(perfect) if not isinstance(action, UseTools)) + 1
    assert spoken[:first_turn] == perfect[:first_turn]
    assert len(spoken[first_turn:]) == task.turns - 1
    assert not any(isinstance(action, UseTools) for action in spoken[first_turn:])


def test_idleness_may_begin_with_the_first_turn(tasks):
    task = tasks[Category.BASE.task_id(TRAIN[0])]
    spoken = actions(demonstration(task, habits=Habits(idle=1.0, idle_from=0)))
    assert len(spoken) == task.turns
    assert not any(isinstance(action, UseTools) for action in spoken)


def test_idleness_has_other_words_under_the_other_prompt(tasks):
    task = tasks[Category.BASE.task_id(TRAIN[0])]
    last = {demonstration(task, version=version, habits=Habits(idle=1.0))[-1]["content"] for version in PromptVersion}
    assert len(last) == len(PromptVersion)


def test_habits_show_with_their_chance(tasks):
    scenarios = [tasks[Category.BASE.task_id(scenario)] for scenario in TRAIN]
    hasty, idle, asked = 0, 0, 0
    for task in scenarios:
        spoken = demonstration(task, pacing=Pacing.TOGETHER, habits=Habits(hasty=0.3, idle=0.3))
        hasty += isinstance(actions(spoken)[-2], Malformed)
        busy = len(calls_per_message(spoken))
        idle += busy < task.turns
        asked += min(busy, task.turns - 1)
    assert 0.2 < hasty / len(scenarios) < 0.4
    assert 0.2 < idle / asked < 0.4


def test_a_habit_is_a_probability_from_a_turn_on():
    with pytest.raises(ValueError, match="probabilities"):
        Habits(idle=1.5)
    with pytest.raises(ValueError, match="counts from zero"):
        Habits(idle_from=-1)


SORT = ToolDoc(name="sort", description="", parameters={"properties": {"file": {}, "order": {}}})


def test_positional_arguments_take_the_documented_names_in_order():
    assert name_arguments(parse_call("sort('a', order='up')"), SORT).arguments == {"file": "a", "order": "up"}


@pytest.mark.parametrize("call", ["sort('a', 'b', 'c')", "sort('a', file='b')"])
def test_a_call_that_the_document_does_not_allow_is_refused(call):
    with pytest.raises(ValueError, match="documented parameters of sort"):
        name_arguments(parse_call(call), SORT)


def test_a_call_without_positional_arguments_is_unchanged():
    call = ToolCall(name="sort", arguments={"file": "a"})
    assert name_arguments(call, SORT) == call
