"""Every tool says what a call of it is worth; right answers and results that are used come first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from env_tuning.rewards.by_tool import ANSWER, RULES, TOOLS, ByTool, by_tool
from env_tuning.task import AnswerKind, Expected
from env_tuning.trajectory import CallRecord, StepOutcome, StepRecord, StopReason, Trajectory, TurnVerdict

NEEDED = Expected(answer="925", kind=AnswerKind.NUMBER, needs_tools=True)
CALCULATED = CallRecord("calculator", {"expression": "25 * 37"}, "925", "ok")
PROGRAM = CallRecord("python", {"code": "print(25 * 37)"}, "925\n", "ok")


def turn(*calls, answer="It is 925.", right=True, expected=NEEDED, broken=0):
    steps = [StepRecord(turn=0, text="{", outcome=StepOutcome.FORMAT_ERROR) for _ in range(broken)]
    steps += [StepRecord(turn=0, text=f"call {n}", outcome=StepOutcome.CALLS_OK, calls=(call,))
              for n, call in enumerate(calls)]  # fmt: skip
    steps.append(StepRecord(turn=0, text=answer, outcome=StepOutcome.ANSWER, closed_turn=True, answer=answer))
    return Trajectory(
        task_id="t", split="mixed", turns=1, steps=tuple(steps),
        verdicts=(TurnVerdict(turn=0, correct=right),), stop=StopReason.COMPLETED,
        first_request="What is 25 * 37?", expected=(expected,),
    )  # fmt: skip


@pytest.mark.parametrize("call", [CALCULATED, PROGRAM])
def test_a_used_result_and_the_right_answer_are_all(call):
    assert by_tool(turn(call)).score == pytest.approx(1.0)
    assert by_tool(turn(call)).turns == (pytest.approx(1.0),)


def test_calls_rank_as_they_should():
    failed = CallRecord("calculator", {"expression": "25 *"}, '{"error": "no"}', "error")
    useless = CallRecord("search", {"query": "Moon"}, "The Moon is 384400 kilometres away.", "ok")
    ranked = [
        by_tool(turn(answer="I know that.", right=False)),
        by_tool(turn(CALCULATED, answer="It is 1.", right=False)),
        by_tool(turn()),
        by_tool(turn(failed, CALCULATED)),
        by_tool(turn(useless, CALCULATED)),
        by_tool(turn(CALCULATED)),
    ]
    scores = [score["score"] for score in ranked]
    assert scores == sorted(scores)
    assert scores[0] == 0.0
    assert scores[2] == pytest.approx(ANSWER), "the right answer without the needed call"
    assert scores[3] == pytest.approx(ANSWER + TOOLS / 2)


def test_a_program_that_prints_nothing_and_a_broken_message_are_calls_worth_nothing():
    silent = CallRecord("python", {"code": "x = 25 * 37"}, "", "ok")
    assert by_tool(turn(silent))["tools"] == 0.0
    assert by_tool(turn(CALCULATED, broken=1))["tools"] == pytest.approx(0.5)


def test_no_call_is_right_where_none_is_needed():
    chat = Expected(answer="925", kind=AnswerKind.NUMBER, needs_tools=False)
    assert by_tool(turn(expected=chat)).score == pytest.approx(1.0)


def test_parts_are_logged_by_tool_for_every_episode_alike():
    parts = [by_tool(turn(*calls)) for calls in ((), (CALCULATED, PROGRAM), (CallRecord("mine", {}, "925", "ok"),))]
    assert parts[0].keys() == parts[1].keys() == parts[2].keys()
    assert (parts[1]["called/calculator"], parts[1]["worth/python"], parts[1]["called/other"]) == (1.0, 1.0, 0.0)
    assert parts[2]["called/other"] == 1.0


def test_a_rule_of_ones_own_decides():
    thrifty = ByTool({**RULES, "calculator": lambda turn, position: 0.25 if position else 1.0})
    assert thrifty(turn(CALCULATED, CALCULATED))["tools"] == pytest.approx(0.625)


def test_the_recipes_example_of_own_rules_pays_the_first_program_most():
    recipe = Path(__file__).parents[2] / "recipes" / "tool_grpo" / "README.md"
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", recipe.read_text(encoding="utf-8"), re.DOTALL)[0], names)
    assert names["mine"](turn(PROGRAM))["tools"] == pytest.approx(1.0)
    assert names["mine"](turn(PROGRAM, PROGRAM))["tools"] == pytest.approx(0.75)
