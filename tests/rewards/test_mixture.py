"""Sums of rewards written as text: what they mean, and what a typing error says."""

from __future__ import annotations

from pathlib import Path

import pytest
from letters import episode

from env_tuning.rewards.registry import resolve_reward
from env_tuning.rewards.score import Score
from env_tuning.trajectory import Trajectory

HALF = episode("cafcaca", "101")


def steps_reward(trajectory: Trajectory) -> dict[str, float]:
    return {"score": float(len(trajectory.steps)), "letters": 1.0}


def other(trajectory: Trajectory) -> dict[str, float]:
    return {"score": 1.0}


@pytest.mark.parametrize(
    "text", ["0.9 progress + 0.1 format", "0.9*progress+.1 * format", " 9e-1 progress +0.1 format "]
)
def test_a_mixture_is_the_weighted_sum_with_its_parts_unweighted(text: str) -> None:
    score = resolve_reward(text)(HALF)
    assert isinstance(score, Score)
    form = resolve_reward("format")(HALF)
    assert dict(score) == {
        "score": pytest.approx(0.9 * 2 / 3 + 0.1 * form["score"]),
        "progress/score": pytest.approx(2 / 3),
        "format/score": form["score"],
        "format/format": form["format"],
        "format/tool_call": form["tool_call"],
        "format/is_tool_call": 1.0,
    }


def test_what_a_mixture_owes_to_turns_is_earned_in_them_and_the_rest_is_not() -> None:
    score = resolve_reward("0.9 progress + 0.1 format")(HALF)
    assert isinstance(score, Score)
    assert score.turns == pytest.approx((0.3, 0.0, 0.3))
    assert score.score - sum(score.turns) == pytest.approx(0.1 * resolve_reward("format")(HALF)["score"])


def test_weights_may_be_left_out_zero_or_negative() -> None:
    assert resolve_reward("progress + binary")(HALF)["score"] == pytest.approx(2 / 3)
    assert resolve_reward("progress + 0 format")(HALF)["score"] == pytest.approx(2 / 3)
    assert resolve_reward("progress + -0.5 well_formed")(HALF)["score"] == pytest.approx(2 / 3 - 0.5 * 6 / 7)
    assert dict(resolve_reward("2 binary")(episode("ca", "1", turns=1))) == {"score": 2.0, "binary/score": 1.0}


def test_a_users_function_is_a_term_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    score = resolve_reward("progress + 0.01 test_mixture:steps_reward")(HALF)
    assert score["score"] == pytest.approx(2 / 3 + 0.07)
    assert score["steps_reward/letters"] == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.9 progres + 0.1 format", "no reward named 'progres'; did you mean 'progress'"),
        ("0.9 progress + 0.1 zzz", "no reward named 'zzz'; known: assistant, assistant_original, binary, .*format"),
        ("0.9 progress + 0.1 no.such:f", "'no.such:f' cannot be imported"),
        ("0.9progress", "cannot read '0.9progress'"),
        ("0.9 progress +", "cannot read ''"),
        ("0.9 progress, 0.1 format", "cannot read '0.9 progress, 0.1 format'"),
        ("progress - 0.1 format", "cannot read 'progress - 0.1 format'"),
        ("0.9 0.1 format", "cannot read '0.9 0.1 format'"),
        ("", "cannot read ''"),
        ("progress + format + 2 progress", "'progress' stands in 2 terms"),
        (0.9, "the reward is 0.9"),
    ],
)
def test_a_typing_error_names_the_part_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        resolve_reward(text)


def test_a_mixture_can_be_written_on_the_command_line() -> None:
    pytest.importorskip("hydra")
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(
        [
            "env_tuning.reward=0.9 progress + 0.1 format",
            "env_tuning.reward='0.9 progress + 0.1 my.package:reward'",
        ]
    )
    assert [str(override.value()) for override in parsed] == [
        "0.9 progress + 0.1 format",
        "0.9 progress + 0.1 my.package:reward",
    ]
