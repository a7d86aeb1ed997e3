import math

import pytest

from env_tuning.rewards.accuracy import binary, progress
from env_tuning.rewards.format import format_reward, format_reward_original
from env_tuning.rewards.original import codes
from env_tuning.rewards.registry import REWARDS, resolve_reward
from env_tuning.trajectory import StepOutcome, StepRecord, StopReason, Trajectory, TurnVerdict

LETTERS = {
    "f": StepOutcome.FORMAT_ERROR,
    "c": StepOutcome.CALLS_OK,
    "x": StepOutcome.CALLS_FAILED,
    "a": StepOutcome.ANSWER,
    "r": StepOutcome.CALLS_REFUSED,
    "l": StepOutcome.CUT,
}


def episode(outcomes: str, verdicts: str = "", turns: int = 3) -> Trajectory:
    """Steps as letters; a capital letter is a step that closed its turn; verdicts as 0 and 1."""
    steps, turn = [], 0
    for letter in outcomes:
        closed = letter.isupper() or letter in "ar"
        steps.append(StepRecord(turn=turn, text="", outcome=LETTERS[letter.lower()], closed_turn=closed))
        turn += closed
    return Trajectory(
        task_id="t",
        split="s",
        turns=turns,
        steps=tuple(steps),
        verdicts=tuple(TurnVerdict(turn=at, correct=mark == "1") for at, mark in enumerate(verdicts)),
        stop=StopReason.COMPLETED,
    )


@pytest.mark.parametrize(
    ("outcomes", "format_part", "tool_part", "score"),
    [
        ("caca", 1.0, 1.0, 2.0),
        ("aaa", 1.0, 0.0, 0.0),
        ("fff", 0.0, 0.0, 0.0),
        ("", 0.0, 0.0, 0.0),
        ("cxa", 1.0, 0.5, 1.5),
        ("xa", 1.0, 0.0, 1.0),
        ("fca", 2 / 3, 1.0, 5 / 3),
        ("cal", 2 / 3, 1.0, 5 / 3),
        # A malformed message that closes its turn is malformed all the same.
        ("cfffF", 1 / 5, 1.0, 6 / 5),
        # Calls that were not run earn nothing.
        ("r", 1.0, 0.0, 0.0),
    ],
)
def test_format_reward_is_the_papers_formula(outcomes, format_part, tool_part, score):
    parts = format_reward(episode(outcomes, "1" * 5))
    assert parts["format"] == pytest.approx(format_part)
    assert parts["tool_call"] == pytest.approx(tool_part)
    assert parts["score"] == pytest.approx(score)


def test_the_original_view_gives_closing_messages_only_a_verdict():
    trajectory = episode("cfffFcaxA", "101")
    assert codes(trajectory) == [-1, -3, -3, -3, 1, -1, 0, -2, 1]
    assert format_reward_original(trajectory)["format"] == pytest.approx(6 / 9)


def test_turns_that_were_never_closed_count_as_wrong():
    cut = episode("cal", "1", turns=4)
    assert progress(cut)["score"] == pytest.approx(1 / 4)
    assert binary(cut)["score"] == 0.0
    assert binary(episode("cacaca", "111"))["score"] == 1.0


@pytest.mark.parametrize("name", sorted(REWARDS))
@pytest.mark.parametrize("outcomes", ["", "l", "f", "r", "caca", "xxxF", "aaa"])
def test_every_registered_reward_is_a_finite_score_with_numeric_parts(name, outcomes):
    parts = resolve_reward(name)(episode(outcomes, "1" * 4, turns=4))
    assert all(isinstance(value, float) and math.isfinite(value) for value in parts.values())
    assert 0.0 <= parts["score"] <= 2.0


def my_reward(trajectory: Trajectory) -> dict[str, float]:
    return {"score": float(len(trajectory.steps))}


def test_a_users_own_function_is_a_reward(monkeypatch):
    monkeypatch.syspath_prepend(str(__import__("pathlib").Path(__file__).parent))
    assert resolve_reward("test_rewards:my_reward")(episode("ca"))["score"] == 2.0


@pytest.mark.parametrize(
    ("name", "said"),
    [("formt", "'format'"), ("zzz", "known:"), ("no.such:f", "cannot be imported"), ("math:pi", "not a function")],
)
def test_an_unknown_reward_names_the_fix(name, said):
    with pytest.raises(ValueError, match=said):
        resolve_reward(name)
