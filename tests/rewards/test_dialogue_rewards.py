"""Rewards of dialogues: the document's numbers to the digit, their defects, and a default that ranks rightly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env_tuning.answers.matching import is_right
from env_tuning.rewards.assistant import (
    ORIGINAL_WEIGHTS,
    WEIGHTS,
    Outcome,
    assistant,
    assistant_original,
    document_parts,
)
from env_tuning.rewards.dialogues import dialogue_turns, used_share
from env_tuning.rewards.maths import maths, maths_original
from env_tuning.rewards.registry import DIALOGUE_REWARDS, REWARDS, resolve_reward
from env_tuning.task import AnswerKind, Expected
from env_tuning.trajectory import CallRecord, StepOutcome, StepRecord, StopReason, Trajectory, TurnVerdict

SUM = "帮我计算一下 25 * 37 等于多少？"
KNOWN = Expected(answer="925", kind=AnswerKind.NUMBER, needs_tools=True)
CALL = CallRecord("calculator", {"expression": "25 * 37"}, "925", "ok")
MESSAGE = '<tool_call>{"name": "calculator", "arguments": {"expression": "25 * 37"}}</tool_call>'


def step(*calls: CallRecord, text: str = MESSAGE, turn: int = 0) -> StepRecord:
    failed = any(call.status == "exception" for call in calls)
    outcome = StepOutcome.CALLS_FAILED if failed else StepOutcome.CALLS_OK
    return StepRecord(turn, text, outcome if calls else StepOutcome.FORMAT_ERROR, calls)


def episode(
    *steps: StepRecord, answer: str | None = "25 * 37 等于 925。", expected: Expected = KNOWN, question: str = SUM
) -> Trajectory:
    """One turn: steps, then an answer unless it is None, in which case the steps ran out."""
    verdict = TurnVerdict(0, answer is not None and is_right(expected, answer, question) is not False)
    if answer is None:
        *earlier, last = steps
        all_steps: Sequence[StepRecord] = (*earlier, last._replace(closed_turn=True))
    else:
        all_steps = (*steps, StepRecord(0, answer, StepOutcome.ANSWER, closed_turn=True, answer=answer))
    return Trajectory(
        task_id="t",
        split="s",
        turns=1,
        steps=tuple(all_steps),
        verdicts=(verdict,),
        stop=StopReason.COMPLETED,
        first_request=question,
        expected=(expected,),
    )


def total(parts: dict[str, float]) -> float:
    return sum(ORIGINAL_WEIGHTS[name] * value for name, value in parts.items())


class TestTheDocumentsRules:
    """Examples computed by hand from the rules."""

    @pytest.mark.parametrize(
        ("changes", "part", "value"),
        [
            ({}, "correctness", 0.5),
            ({"calls": 1, "results": [Outcome("925", True)]}, "correctness", 1.0),
            ({"calls": 1, "results": [Outcome("缺少参数 x", False)]}, "correctness", 0.3),
            ({"calls": 1, "results": [Outcome("wrong arguments: x", False)]}, "correctness", 0.3),
            ({"calls": 1, "results": [Outcome("未知工具: x", False)]}, "correctness", 0.1),
            ({"calls": 1, "results": [Outcome("unknown tool: x", False)]}, "correctness", 0.1),
            ({"calls": 2, "results": [Outcome("925", True), Outcome("other", False)]}, "correctness", 0.5),
            ({"calls": 1}, "necessity", 1.0),
            ({}, "necessity", 0.3),
            ({"question": "你好"}, "necessity", 1.0),
            ({"question": "你好", "calls": 1, "answer": "x" * 21}, "necessity", 0.7),
            ({"question": "你好", "calls": 1, "answer": "x" * 20}, "necessity", 0.4),
            ({}, "usage", 0.5),
            ({"answer": "It is 925.", "results": [Outcome("925 exactly", True)]}, "usage", 1.0),
            ({"answer": "y" * 51, "results": [Outcome("925", True)]}, "usage", 0.7),
            ({"answer": "y" * 50, "results": [Outcome("925", True)]}, "usage", 0.3),
            ({"answer": "no: it broke", "results": [Outcome("it broke", False)]}, "usage", 0.5),
            ({"answer": "no", "results": [Outcome("it broke", False)]}, "usage", 0.0),
            ({"answer": "1234"}, "quality", 0.1),
            ({"answer": "y" * 19}, "quality", 0.3),
            ({"answer": "y" * 20}, "quality", 0.7),
            ({"answer": "y" * 501}, "quality", 0.5),
            ({"question": "how many", "answer": "how often? that happens, indeed"}, "quality", 0.85),
            ({"answer": "y" * 20 + " 9251", "results": [Outcome("9251", True)]}, "quality", 0.8),
            ({"messages": ["a"]}, "coherence", 0.8),
            ({"messages": ["a", "b"]}, "coherence", 0.8),
            ({"messages": ["a", ""]}, "coherence", 0.65),
            ({"messages": [MESSAGE, "b"]}, "coherence", 0.9),
            ({"messages": [MESSAGE, ""]}, "coherence", 0.65),
            ({"messages": [*[MESSAGE] * 4, "b"]}, "coherence", 1.0),
        ],
    )
    def test_every_rule_gives_the_documents_number(self, changes, part, value):
        usual = {"question": SUM, "answer": "", "calls": 0, "results": [], "messages": []}
        parts = document_parts(**{**usual, **changes})
        assert parts[part] == pytest.approx(value)

    def test_the_weights_are_those_of_the_document(self):
        assert dict(ORIGINAL_WEIGHTS) == {
            "correctness": 0.3,
            "necessity": 0.2,
            "usage": 0.2,
            "quality": 0.2,
            "coherence": 0.1,
        }
        trajectory = episode(step(CALL), answer="The answer to that is 925.")
        score = assistant_original(trajectory)
        expected = {"correctness": 1.0, "necessity": 1.0, "usage": 1.0, "quality": 0.7, "coherence": 0.9}
        assert {name: score[name] for name in expected} == pytest.approx(expected)
        assert score.score == pytest.approx(0.3 + 0.2 + 0.2 + 0.14 + 0.09)


class TestWhatIsWrongWithThem:
    ANSWER = "The answer to this is nine hundred."

    def test_as_it_was_trained_a_needed_call_scores_below_no_call(self):
        """The document's training passed no results to the reward, whatever was called."""
        called = document_parts(SUM, self.ANSWER, calls=1, results=[], messages=[self.ANSWER])
        idle = document_parts(SUM, self.ANSWER, calls=0, results=[], messages=[self.ANSWER])
        assert total(called) == pytest.approx(0.52)
        assert total(idle) == pytest.approx(0.53)

    def test_a_needed_call_that_fails_scores_below_no_call(self):
        failed = CALL._replace(result='{"error": "division by zero"}', status="error")
        assert assistant_original(episode(step(failed)))["score"] < assistant_original(episode())["score"]
        assert assistant(episode(step(failed)))["score"] > assistant(episode())["score"]

    def test_length_is_worth_more_than_the_right_answer(self):
        short, padded = episode(answer="925"), episode(answer="我不知道，" * 12)
        assert assistant_original(padded)["score"] > assistant_original(short)["score"]
        assert assistant(padded)["score"] < assistant(short)["score"]


class TestTheDefault:
    WRONG = "25 * 37 等于 926。"

    def ranked(self) -> list[Trajectory]:
        """From the best to the worst."""
        return [
            episode(step(CALL)),
            episode(),
            episode(step(CALL), answer=self.WRONG),
            episode(answer=self.WRONG),
            episode(step(), answer=None),
        ]

    def test_a_used_call_is_best_and_a_wrong_answer_never_beats_a_right_one(self):
        scores = [assistant(trajectory).score for trajectory in self.ranked()]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == len(scores)
        assert scores[0] == pytest.approx(1.0)

    def test_where_no_tool_is_needed_calling_costs(self):
        free = Expected(answer="北京", needs_tools=False)
        asked = {"expected": free, "question": "中国的首都是哪里？", "answer": "北京。"}
        assert assistant(episode(**asked)).score == pytest.approx(1.0)
        assert assistant(episode(step(CALL), **asked)).score < 0.9

    def test_without_a_label_the_key_words_decide(self):
        unlabelled = KNOWN._replace(needs_tools=None)
        assert assistant(episode(expected=unlabelled))["necessity"] == 0.0
        assert assistant(episode(expected=unlabelled, question="你好", answer="925"))["necessity"] == 1.0

    @pytest.mark.parametrize(
        ("call", "value"),
        [
            (CALL, 1.0),
            (CALL._replace(status="error", result='{"error": "no"}'), 0.5),
            (CALL._replace(status="exception", result="Error during execution: 1 / 0"), 0.5),
            (CALL._replace(status="exception", result="unknown tool: calc; there are calculator"), 0.0),
            (CALL._replace(status="exception", result="wrong arguments: x"), 0.0),
            (CALL._replace(status=None, result=None), 0.0),
        ],
    )
    def test_correctness_looks_at_schema_and_success(self, call, value):
        assert assistant(episode(step(call)))["correctness"] == value

    def test_unreadable_calls_repetitions_and_missing_answers_cost(self):
        clean = assistant(episode(step(CALL)))
        unreadable = assistant(episode(step(text="<tool_call>oops</tool_call>"), step(CALL)))
        assert unreadable["correctness"] == 0.5
        assert unreadable["coherence"] == pytest.approx(2 / 3)
        repeated = assistant(episode(step(CALL), step(CALL)))
        assert repeated["coherence"] == pytest.approx(2 / 3)
        unanswered = assistant(episode(step(CALL), answer=None))
        assert (unanswered["coherence"], unanswered["quality"]) == (0.0, 0.0)
        assert max(unreadable.score, repeated.score, unanswered.score) < clean.score

    def test_without_a_known_answer_agreement_counts_and_not_length(self):
        weather = CallRecord("weather_query", {"city": "北京"}, "北京 2025-06-02: 多云, 19到25°C", "ok")
        asked = {"expected": Expected(needs_tools=True), "question": "北京天气怎么样？"}
        said = assistant(episode(step(weather), answer="北京今天多云, 19到25°C。", **asked))
        padded = assistant(
            episode(step(weather), answer="北京今天多云, 19到25°C。" + "祝你生活愉快万事如意" * 9, **asked)
        )
        silent = assistant(episode(step(weather), answer="不知道。", **asked))
        assert said["usage"] == 1.0
        assert said.score > padded.score > silent.score

    def test_a_turn_that_was_never_begun_earns_nothing(self):
        one = episode(step(CALL))
        half = Trajectory(**{**vars(one), "turns": 2, "expected": (KNOWN, KNOWN)})
        assert assistant(half).score == pytest.approx(0.5)
        assert assistant(half).turns == pytest.approx((0.5,))


class TestUse:
    @pytest.mark.parametrize(
        ("result", "answer", "used"),
        [
            ("925", "是 925.0", True),
            ("925", "是 9250", False),
            ("37", "这里有 37", True),
            ("长城: 长城全长约21196千米", "约21,196千米", True),
            ("多云转晴，微风", "今天多云转晴。", True),
            ("多云转晴，微风", "今天下雪。", False),
            ("Guido van Rossum released it", "Guido van Rossum did.", True),
        ],
    )
    def test_a_result_is_used_if_its_news_is_said(self, result, answer, used):
        (turn,) = dialogue_turns(episode(step(CALL._replace(result=result)), answer=answer))
        assert used_share(turn) == float(used)

    def test_a_result_that_a_later_call_uses_is_used(self):
        first = CallRecord("calculator", {"expression": "25 * 37"}, "925", "ok")
        second = CallRecord("calculator", {"expression": "925 + 128"}, "1053", "ok")
        (turn,) = dialogue_turns(episode(step(first), step(second), answer="1053"))
        assert used_share(turn) == 1.0
        (lost,) = dialogue_turns(
            episode(step(first), step(second._replace(arguments={"expression": "1"})), answer="1053")
        )
        assert used_share(lost) == 0.5

    def test_what_was_not_called_or_failed_is_not_used(self):
        (turn,) = dialogue_turns(episode(step(CALL._replace(status="error"))))
        assert used_share(turn) is None


PROBLEM = Expected(answer="42", kind=AnswerKind.MATHS)
ASK = "How many?"


def program(result: str, status: str = "ok") -> StepRecord:
    return step(CallRecord("python", {"code": "print(6 * 7)"}, result, status), text="```python\nprint(6 * 7)\n```")


def solved(*steps: StepRecord, answer: str) -> Trajectory:
    return episode(*steps, answer=answer, expected=PROBLEM, question=ASK)


class TestMaths:
    def test_right_answers_and_used_results_are_paid(self):
        assert maths(solved(program("42"), answer="\\boxed{42}")).score == pytest.approx(1.2)
        assert maths(solved(answer="\\boxed{42}")).score == pytest.approx(1.0)
        assert maths(solved(program("41"), answer="\\boxed{41}")).score == pytest.approx(0.2)
        assert maths(solved(program("7"), answer="\\boxed{41}")).score == 0.0
        assert maths(solved(program("Error during execution: no", "exception"), answer="\\boxed{42}")).score == 1.0
        assert maths(solved(program("x", "exception"), program("42"), answer="\\boxed{42}")).score == pytest.approx(1.1)

    def test_the_documents_reward_pays_a_wrong_answer_two_fifths(self):
        hacked = solved(program("1"), answer="Let's solve this step by step: \\boxed{1}")
        assert maths_original(hacked).score == pytest.approx(1.975)
        honest = solved(program("42"), answer="Let's solve this step by step: \\boxed{42}")
        assert maths_original(honest).score == pytest.approx(4.975)
        failing = solved(
            program("Code execution timed out.", "exception"), answer="Let's solve this step by step: \\boxed{1}"
        )
        assert maths_original(failing).score == pytest.approx(1.975)
        assert maths(hacked).score < maths(solved(answer="\\boxed{42}")).score / 2

    def test_the_documents_parts(self):
        assert dict(maths_original(solved(answer="\\boxed{42} \\boxed{42}")).parts) == pytest.approx(
            {"correctness": 3.0, "whole_number": 0.5, "structure": 0.0, "program": 0.0}
        )
        assert maths_original(solved(answer="\\boxed{042}"))["correctness"] == 0.0
        assert maths(solved(answer="\\boxed{042}"))["correct"] == 1.0


@pytest.mark.parametrize("name", DIALOGUE_REWARDS)
def test_they_are_rewards_like_the_others_and_refuse_other_trajectories(name):
    reward = resolve_reward(name)
    best = episode(step(CALL))
    assert reward(best) == reward(Trajectory.from_json(best.to_json()))
    assert resolve_reward(f"0.5 {name} + binary")(best)["score"] == pytest.approx(0.5 * reward(best)["score"] + 1)
    with pytest.raises(ValueError, match="is no dialogue"):
        reward(Trajectory(**{**vars(best), "expected": ()}))


def test_no_name_stands_for_two_rewards():
    assert not REWARDS.keys() & DIALOGUE_REWARDS.keys()
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
    assert WEIGHTS.keys() == ORIGINAL_WEIGHTS.keys()


TEXTS = st.text(alphabet="925 多云abc<>.-", max_size=30)
CALLS = st.builds(
    CallRecord,
    st.just("f"),
    st.dictionaries(TEXTS, TEXTS, max_size=1),
    TEXTS,
    st.sampled_from(["ok", "error", "exception"]),
)


@given(
    calls=st.lists(CALLS, max_size=3),
    answer=TEXTS,
    expected=st.builds(
        Expected,
        st.none() | TEXTS,
        st.sampled_from([AnswerKind.NUMBER, AnswerKind.WORDS]),
        st.sampled_from([None, True, False]),
    ),
    question=TEXTS,
)
def test_scores_stay_between_their_bounds_for_any_episode(calls, answer, expected, question):
    trajectory = episode(*([step(*calls)] if calls else []), answer=answer, expected=expected, question=question)
    for reward, most in ((assistant, 1.0), (assistant_original, 1.0), (maths, 1.2), (maths_original, 4.975)):
        score = reward(trajectory)
        assert 0.0 <= score.score <= most + 1e-9
