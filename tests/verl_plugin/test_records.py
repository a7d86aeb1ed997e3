"""Arithmetic over episodes: overall, per split, in any order."""

from __future__ import annotations

import random

import pytest

from env_tuning.verl_plugin.records import (
    EpisodeRecord,
    mean,
    means,
    share_without_signal,
    split_summary,
    training_metrics,
    validation_metrics,
)


def record(source: str = "base", score: float = 0.0, uid: str = "a", **numbers: float) -> EpisodeRecord:
    return EpisodeRecord(
        uid=uid, group=0, data_source=source, score=score, numbers=numbers,
        trained_tokens=3, response_tokens=5, trajectory=None,
    )  # fmt: skip


RECORDS = [
    record("base", 1.0, correct_turns=1.0, all_correct=1.0, coverage=1.0),
    record("base", 0.0, correct_turns=0.5, all_correct=0.0, coverage=1.0),
    record("long_context", 0.4, correct_turns=0.0, all_correct=0.0, coverage=0.25),
]


def test_events_tell_the_four_numbers_of_every_split() -> None:
    assert split_summary(RECORDS) == {
        "base": {"episodes": 2, "score": 0.5, "correct_turns": 0.75, "all_correct": 0.5, "coverage": 1.0},
        "long_context": {"episodes": 1, "score": 0.4, "correct_turns": 0.0, "all_correct": 0.0, "coverage": 0.25},
    }


def test_an_interaction_without_turns_has_a_score_alone() -> None:
    assert split_summary([record(score=0.5)]) == {"base": {"episodes": 1, "score": 0.5}}
    assert split_summary([]) == {}


def test_the_logger_gets_every_number_of_every_split() -> None:
    training, validation = training_metrics(RECORDS), validation_metrics(RECORDS)
    for name in ("score", "correct_turns", "all_correct", "coverage", "response_tokens"):
        assert training[f"env/{name}/mean"] == validation[f"val/{name}"] == means(RECORDS)[name]
        for split, members in (("base", RECORDS[:2]), ("long_context", RECORDS[2:])):
            expected = means(members)[name]
            assert training[f"env/{split}/{name}/mean"] == validation[f"val/{split}/{name}"] == expected
    assert (training["env/score/min"], training["env/score/max"]) == (0.0, 1.0)


def test_a_mean_does_not_depend_on_the_order() -> None:
    values = [random.Random(index).uniform(-1, 1) * 10.0 ** (index % 9) for index in range(200)]
    first = mean(values)
    for seed in range(5):
        random.Random(seed).shuffle(values)
        assert mean(values) == first


@pytest.mark.parametrize(("scores", "share"), [([], 0.0), ([("a", 1), ("a", 1), ("b", 0), ("b", 1)], 0.5)])
def test_groups_of_equal_scores_are_counted(scores: list[tuple[str, float]], share: float) -> None:
    assert share_without_signal([record(uid=uid, score=score) for uid, score in scores]) == share
