"""The splits by scenario number."""

from __future__ import annotations

from env_tuning.data.sources import TOOL_DOC_FILES, Benchmark
from env_tuning.data.splits import SCENARIOS, TEST, TRAIN, TRAIN_FORMAT, VALIDATION, Category


def test_the_three_splits_share_no_scenario_and_leave_none_out():
    assert sorted((*TRAIN, *VALIDATION, *TEST)) == list(SCENARIOS)


def test_the_splits_have_the_sizes_of_the_paper():
    assert (len(TRAIN), len(VALIDATION), len(TEST), len(TRAIN_FORMAT)) == (100, 25, 75, 75)


def test_warm_up_scenarios_are_training_scenarios():
    assert set(TRAIN_FORMAT) < set(TRAIN)


def test_warm_up_scenarios_cover_every_tool_class(benchmark: Benchmark):
    base = benchmark.questions[Category.BASE]
    assert {name for number in TRAIN_FORMAT for name in base[number]["involved_classes"]} == set(TOOL_DOC_FILES)


def test_records_lie_at_their_scenario_number(benchmark: Benchmark):
    for category in Category:
        ids = [record["id"] for record in benchmark.questions[category]]
        assert ids == [category.task_id(number) for number in SCENARIOS]
