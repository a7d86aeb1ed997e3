import math
from pathlib import Path

import pytest
from letters import episode

from env_tuning.rewards.accuracy import binary, progress, progress_original
from env_tuning.rewards.format import format_reward, format_reward_original, well_formed
from env_tuning.rewards.original import codes
from env_tuning.rewards.registry import REWARDS, resolve_reward
from env_tuning.rewards.score import Score, as_score
from env_tuning.trajectory import Trajectory


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
    assert well_formed(episode(outcomes, "1" * 5)) == {"score": parts["format"]}


def test_the_original_view_gives_closing_messages_only_a_verdict():
    trajectory = episode("cfffFcaxA", "101")
    assert codes(trajectory) == [-1, -3, -3, -3, 1, -1, 0, -2, 1]
    assert format_reward_original(trajectory)["format"] == pytest.approx(6 / 9)


def test_turns_that_were_never_closed_count_as_wrong():
    cut = episode("cal", "1", turns=4)
    assert progress(cut)["score"] == pytest.approx(1 / 4)
    assert binary(cut)["score"] == 0.0
    assert binary(episode("cacaca", "111"))["score"] == 1.0


def test_a_correct_turn_earns_its_share_when_it_closes():
    score = progress(episode("cacaca", "101"))
    assert (score["score"], score.turns) == (pytest.approx(2 / 3), (1 / 3, 0.0, 1 / 3))


def test_the_original_progress_pays_for_a_cut():
    cut = episode("cal", "1", turns=4)
    assert progress_original(cut)["score"] == 1.0
    assert progress_original(episode("l", turns=4))["score"] == 0.0


@pytest.mark.parametrize(
    ("outcomes", "verdicts"), [("cacaca", "101"), ("caxfA", "01"), ("fffFca", "11"), ("aar", "110")]
)
def test_the_original_progress_is_its_formula_over_the_original_codes(outcomes, verdicts):
    trajectory = episode(outcomes, verdicts, turns=5)
    listed = codes(trajectory)
    assert progress_original(trajectory)["score"] == listed.count(1) / (listed.count(0) + listed.count(1))


@pytest.mark.parametrize("name", sorted(REWARDS))
@pytest.mark.parametrize("outcomes", ["", "l", "f", "r", "caca", "xxxF", "aaa"])
def test_every_registered_reward_is_a_finite_score_with_numeric_parts(name, outcomes):
    parts = resolve_reward(name)(episode(outcomes, "1" * 4, turns=4))
    assert all(isinstance(value, float) and math.isfinite(value) for value in parts.values())
    assert 0.0 <= parts["score"] <= 2.0


def my_reward(trajectory: Trajectory) -> dict[str, float]:
    return {"score": float(len(trajectory.steps))}


def test_a_users_own_function_is_a_reward(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert resolve_reward("test_rewards:my_reward")(episode("ca"))["score"] == 2.0


@pytest.mark.parametrize(
    ("name", "said"),
    [("formt", "'format'"), ("zzz", "known:"), ("no.such:f", "cannot be imported"), ("math:pi", "not a function")],
)
def test_an_unknown_reward_names_the_fix(name, said):
    with pytest.raises(ValueError, match=said):
        resolve_reward(name)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (0.5, "returns a Score or"),
        ({"part": 1.0}, "returns a Score or"),
        ({"score": "much"}, "are numbers"),
        ({"score": float("nan")}, "finite number, but score is nan"),
        ({"score": 1.0, "part": float("inf")}, "finite number, but part is inf"),
    ],
)
def test_what_is_no_score_is_refused_before_it_is_trained_on(returned, said):
    with pytest.raises(ValueError, match=said):
        as_score(returned)


def test_a_score_refuses_a_turn_worth_nothing_finite_and_a_part_named_like_the_whole():
    with pytest.raises(ValueError, match="turn 1 is nan"):
        Score(score=1.0, turns=(0.0, math.nan))
    with pytest.raises(ValueError, match="rename the part"):
        Score(score=1.0, parts={"score": 1.0})


def test_a_plain_mapping_is_a_score_without_turns():
    assert as_score({"score": 1, "part": True}) == Score(score=1.0, parts={"part": 1.0})
