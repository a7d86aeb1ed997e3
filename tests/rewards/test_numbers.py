"""What is logged of every episode: every key always, and a reward's parts under names of their own."""

from __future__ import annotations

import pytest
from letters import episode

from env_tuning.augmentation.metrics import hint_numbers
from env_tuning.rewards import numbers as numbers_module
from env_tuning.rewards.format import format_reward
from env_tuning.rewards.numbers import episode_numbers, logged_numbers
from env_tuning.rewards.registry import resolve_reward
from env_tuning.trajectory import StopReason

CUT = episode("cxal", "1", turns=4, stop=StopReason.RESPONSE_LENGTH)
EMPTY = episode("", stop=StopReason.ABORTED)


def test_truncation_coverage_and_accuracy_count_the_turns_that_were_never_closed() -> None:
    numbers = episode_numbers(CUT)
    assert (numbers["truncated"], numbers["coverage"], numbers["correct_turns"]) == (1.0, 0.25, 0.25)
    assert (numbers["all_correct"], numbers["stop/response_length"], numbers["stop/completed"]) == (0.0, 1.0, 0.0)
    assert episode_numbers(episode("cacaca", "111"))["truncated"] == 0.0


def test_hints_are_counted_of_every_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert episode_numbers(CUT).items() >= hint_numbers(CUT).items()
    monkeypatch.setattr(numbers_module, "hint_numbers", lambda trajectory: {"hints": 3.0})
    assert episode_numbers(CUT)["hints"] == 3.0


def test_every_stage_logs_the_parts_of_the_format_reward() -> None:
    numbers = logged_numbers(resolve_reward("progress")(CUT), CUT)
    parts = format_reward(CUT)
    assert {name: numbers[name] for name in ("format", "tool_call", "is_tool_call")} == {
        "format": 3 / 4,
        "tool_call": 1 / 2,
        "is_tool_call": 1.0,
    }
    assert parts["score"] != numbers["score"] == 1 / 4


def test_keys_do_not_depend_on_the_episode_so_that_means_are_right() -> None:
    for reward in ("format", "progress", "0.9 progress + 0.1 format"):
        keys = [
            set(logged_numbers(resolve_reward(reward)(each), each)) for each in (CUT, EMPTY, episode("cacaca", "111"))
        ]
        assert keys[0] == keys[1] == keys[2]


def test_a_part_named_like_a_number_of_the_episode_or_of_verl_hides_nothing() -> None:
    numbers = logged_numbers({"score": 1.0, "turns": 7.0, "reward": 8.0, "mine": 9.0}, CUT)
    assert (numbers["reward/turns"], numbers["reward/reward"], numbers["mine"]) == (7.0, 8.0, 9.0)
    assert numbers["turns"] == 1.0
    assert "reward" not in numbers
