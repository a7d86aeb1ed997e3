import json

import pytest
from counter import Counter

from env_tuning.episode import Episode, Rules
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import ThinkAnswer, ToolListing
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import LimitHit, StepOutcome, StopReason, Trajectory, TurnFailure


def doc(name: str, *parameters: str) -> ToolDoc:
    properties = {parameter: {"type": "integer"} for parameter in parameters}
    return ToolDoc(
        name=name,
        description=f"{name}.",
        parameters={"type": "dict", "properties": properties, "required": list(parameters)},
    )


TASK = Task(
    id="count_0",
    split="count",
    user_turns=("Add 2.", "Reset.", "", "Which number, please?"),
    initial_config="{}",
    tool_classes=(f"{Counter.__module__}:Counter",),
    tools=(doc("add", "amount"), doc("read"), doc("reset")),
    ground_truth=(("add(amount=2)",), (), ("reset()",), ("read()",)),
    releases={2: ("reset",)},
)
A = "<think>t</think><answer>done</answer>"


def T(*calls) -> str:
    return f"<think>t</think><tool_call>{json.dumps([{'name': n, 'arguments': a} for n, a in calls])}</tool_call>"


def start(steps_per_turn: int = 4, task: Task = TASK, **rules) -> Episode:
    prepared = prepare_task(task, protocol=ThinkAnswer(), listing=ToolListing.SIGNATURES)
    return Episode(prepared, Rules(steps_per_turn=steps_per_turn, **rules))


def play(*messages: str, **options) -> Trajectory:
    episode = start(**options)
    for message in messages:
        episode.step(message)
    return episode.trajectory()


PERFECT = (T(("add", {"amount": 2})), A, A, T(("reset", {})), A, T(("read", {})), A)


def test_the_reference_solution_is_correct_on_every_turn():
    trajectory = play(*PERFECT)
    assert [verdict.correct for verdict in trajectory.verdicts] == [True] * 4
    assert trajectory.stop is StopReason.COMPLETED


@pytest.mark.parametrize(
    ("messages", "failures"),
    [
        ((A,), [TurnFailure.NO_CALLS]),
        ((T(("add", {"amount": 3})), A), [TurnFailure.STATE]),
        ((T(("add", {"amount": 1})), T(("add", {"amount": 1})), A), [None]),
        ((T(("read", {})), T(("add", {"amount": 1})), A), [TurnFailure.STATE]),
        ((PERFECT[0], A, T(("read", {}))), [None, TurnFailure.CALLED_WITHOUT_NEED]),
        ((PERFECT[0], A, "x", "x", "x", "x"), [None, TurnFailure.NO_ANSWER]),
        # Skipping a turn leaves the twin ahead: later turns are compared with where the world should be.
        ((A, A, T(("reset", {})), A), [TurnFailure.NO_CALLS, None, None]),
    ],
)
def test_a_wrong_turn_says_why(messages, failures):
    assert [verdict.failure for verdict in play(*messages).verdicts] == failures


def test_a_missing_result_fails_the_response_check_even_when_the_state_is_right():
    solved = play(*PERFECT[:5], T(("reset", {})), A)
    assert solved.verdicts[3].correct, "reset() returned the same text as read() would: it counts"
    other = play(PERFECT[0], A, A, T(("reset", {})), A, T(("add", {"amount": 0}), ("nosuch", {})), A)
    assert other.verdicts[3].correct, "add(0) returns the text the reference's read() returns"
    wrong = play(PERFECT[0], A, A, T(("add", {"amount": -2})), A)
    assert wrong.verdicts[2].correct, "another way to the same state and the same result text is right"


def test_a_result_of_an_earlier_turn_counts_later():
    task = Task(
        id="count_1",
        split="count",
        user_turns=("Look.", "Look again."),
        initial_config="{}",
        tool_classes=(f"{Counter.__module__}:Counter",),
        tools=TASK.tools,
        ground_truth=(("read()",), ("read()",)),
    )
    trajectory = play(T(("read", {})), A, T(("nosuch", {})), A, task=task)
    assert [verdict.correct for verdict in trajectory.verdicts] == [True, True]
    assert play(T(("add", {"amount": 0}), ("reset", {})), A, A, task=task).verdicts[1].failure is TurnFailure.NO_CALLS


def test_a_tool_that_is_held_back_cannot_be_called_before_its_release():
    trajectory = play(T(("reset", {})), PERFECT[0], A, A, T(("reset", {})), A)
    early, late = trajectory.steps[0].calls[0], trajectory.steps[4].calls[0]
    assert early.result == "Error during execution: name 'reset' is not defined"
    assert late.result == '{"value": 0}'


def test_the_limit_of_steps_closes_the_turn_and_still_scores_it():
    trajectory = play(T(("add", {"amount": 2})), "x", "x", "x", steps_per_turn=4)
    (verdict,) = trajectory.verdicts
    assert (verdict.correct, verdict.forced) == (True, True)
    assert [step.closed_turn for step in trajectory.steps] == [False, False, False, True]


def test_a_cut_episode_has_no_verdict_for_what_is_missing():
    episode = start()
    episode.step(PERFECT[0])
    episode.cut(StopReason.RESPONSE_LENGTH, "<think>and th")
    trajectory = episode.trajectory()
    assert trajectory.verdicts == ()
    assert trajectory.steps[-1].outcome is StepOutcome.CUT
    assert trajectory.stop.is_truncated


def test_an_episode_is_single_use():
    episode = start()
    episode.cut(StopReason.ABORTED)
    with pytest.raises(RuntimeError, match="single-use"):
        episode.step(A)


def test_an_episode_left_open_counts_as_aborted():
    assert play(A).stop is StopReason.ABORTED


def test_no_steps_at_all_is_refused():
    with pytest.raises(ValueError, match="steps_per_turn"):
        Rules(steps_per_turn=0)


def test_the_compact_listing_shows_the_visible_tools_only():
    system = start().opening()[0]["content"]
    assert "add(amount: integer)" in system
    assert "reset(" not in system


def test_a_task_whose_parts_disagree_is_refused():
    with pytest.raises(ValueError, match="ground-truth turns"):
        Task(
            id="x", split="s", user_turns=("a",), initial_config="{}", tool_classes=(), tools=(), ground_truth=((), ())
        )
    with pytest.raises(ValueError, match="releases"):
        Task(
            id="x",
            split="s",
            user_turns=("a",),
            initial_config="{}",
            tool_classes=(),
            tools=(),
            ground_truth=((),),
            releases={1: ("nosuch",)},
        )


def test_calls_beyond_the_limit_of_a_message_are_not_run_and_the_model_is_told():
    episode = start(calls_per_step=2)
    reaction = episode.step(T(*[("add", {"amount": 1})] * 3))
    assert [call.result for call in reaction.step.calls] == ['{"value": 1}', '{"value": 2}', None]
    assert "Not run: at most 2 calls" in reaction.content
    assert reaction.step.limits == (LimitHit.CALLS_PER_STEP,)


def test_a_long_result_is_shown_in_part_and_judged_whole():
    episode = start(result_characters=5)
    reaction = episode.step(PERFECT[0])
    assert "[... 7 more characters are not shown]" in reaction.content
    assert reaction.step.limits == (LimitHit.RESULT_CHARACTERS,)
    assert episode.step(A).verdict.correct


def test_official_rules_leave_held_back_tools_callable_and_needless_turns_unchecked():
    episode = start(official=True)
    episode.step(T(("add", {"amount": 2}), ("reset", {}), ("add", {"amount": 2})))
    assert episode.step(A).verdict.correct
    assert episode.step(T(("read", {}))).step.calls[0].result == '{"value": 2}'
    assert episode.step(A).verdict.correct


def test_official_rules_give_up_the_task_when_a_turn_runs_out_of_steps():
    trajectory = play("x", "x", "x", "x", official=True)
    assert trajectory.stop is StopReason.STEPS_PER_TURN
    assert len(trajectory.verdicts) == 1
