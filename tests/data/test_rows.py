"""A task as a parquet row, and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from env_tuning.data.bfcl import tasks_by_id
from env_tuning.data.prepare import DATASETS, Dataset
from env_tuning.data.rows import SCHEMA, load_tasks, task_row, write_rows
from env_tuning.data.sources import Benchmark
from env_tuning.data.splits import Category
from env_tuning.protocols.base import PromptVersion
from env_tuning.protocols.think_answer import ThinkAnswer
from env_tuning.task import Task

TRAIN_FILE = "bfcl_v3/bfcl_train.parquet"


@pytest.fixture(scope="module")
def tasks(benchmark: Benchmark) -> dict[str, Task]:
    return tasks_by_id(benchmark)


def rows(tasks: dict[str, Task]) -> list[dict]:
    return [
        task_row(task, ThinkAnswer(), version=PromptVersion.V1, split="test", index=index)
        for index, task in enumerate(tasks.values())
    ]


@pytest.fixture(scope="module")
def all_rows(tasks: dict[str, Task]) -> list[dict]:
    return rows(tasks)


@pytest.fixture(scope="module")
def all_rows_file(all_rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "all.parquet"
    write_rows(all_rows, path)
    return path


def test_every_row_reads_back_to_its_task(tasks: dict[str, Task], all_rows: list[dict]):
    assert [Task.from_row(row["extra_info"]["interaction_kwargs"]) for row in all_rows] == list(tasks.values())


def test_every_row_reads_back_after_a_trip_through_parquet(tasks: dict[str, Task], all_rows_file: Path):
    assert load_tasks(all_rows_file) == list(tasks.values())


def test_every_row_reads_back_after_a_trip_through_pandas(tasks: dict[str, Task], all_rows_file: Path):
    extras = pandas.read_parquet(all_rows_file)["extra_info"]
    assert [Task.from_row(extra["interaction_kwargs"]) for extra in extras] == list(tasks.values())


def test_questions_are_the_raw_turns_of_the_benchmark(benchmark: Benchmark, all_rows: list[dict]):
    raw = [record["question"] for category in Category for record in benchmark.questions[category]]
    assert [row["extra_info"]["interaction_kwargs"]["question"] for row in all_rows] == raw


def test_processed_question_has_one_text_for_every_turn_but_the_first(tasks: dict[str, Task], all_rows: list[dict]):
    for task, row in zip(tasks.values(), all_rows, strict=True):
        processed = row["extra_info"]["interaction_kwargs"]["processed_question"]
        assert len(processed) == task.turns - 1
        assert all(processed), f"{task.id} has an empty user message"


def test_released_tools_are_told_at_their_turn_and_no_sooner(tasks: dict[str, Task], all_rows: list[dict]):
    released = 0
    for task, row in zip(tasks.values(), all_rows, strict=True):
        processed = row["extra_info"]["interaction_kwargs"]["processed_question"]
        for turn, names in task.releases.items():
            for doc in task.tools:
                if doc.name in names:
                    released += 1
                    text = json.dumps(doc.as_dict(), ensure_ascii=False)
                    assert [text in said for said in processed].index(True) == turn - 1
    assert released == 182 + 14 * 2 + 4 * 3


def test_only_miss_func_tasks_hold_tools_back(tasks: dict[str, Task]):
    assert {task.split for task in tasks.values() if task.releases} == {Category.MISS_FUNC.value}
    assert sum(bool(task.releases) for task in tasks.values()) == 200


def test_prompts_list_every_visible_tool_and_no_held_back_one(tasks: dict[str, Task], all_rows: list[dict]):
    for task, row in zip(tasks.values(), all_rows, strict=True):
        system, user = row["prompt"]
        assert (system["role"], user["role"]) == ("system", "user")
        assert user["content"] == task.user_turns[0]
        visible = {doc.name for doc in task.visible_tools(0)}
        for doc in task.tools:
            assert (f'{{"name": "{doc.name}", ' in system["content"]) == (doc.name in visible), (task.id, doc.name)


def test_the_two_prompt_versions_differ_in_the_system_prompt_alone(tasks: dict[str, Task]):
    task = tasks["multi_turn_miss_func_0"]
    old, new = (task_row(task, ThinkAnswer(), version=version, split="val", index=0) for version in PromptVersion)
    assert old["prompt"][0] != new["prompt"][0]
    assert old["prompt"][1] == new["prompt"][1]
    for row in (old, new):
        del row["prompt"], row["extra_info"]["interaction_kwargs"]["prompt_version"]
    assert old == new


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.path)
def test_files_hold_the_tasks_of_their_split_in_order(processed_data: Path, dataset: Dataset):
    table = pq.read_table(processed_data / dataset.path)
    assert table.schema.equals(SCHEMA)
    found = table.to_pylist()
    assert tuple(row["extra_info"]["original_id"] for row in found) == dataset.task_ids
    for index, row in enumerate(found):
        extra = row["extra_info"]
        kwargs = extra["interaction_kwargs"]
        assert (extra["index"], extra["split"]) == (index, dataset.split)
        assert kwargs["prompt_version"] == dataset.version.value
        assert row["data_source"] == extra["dataset_type"] == kwargs["split"] == extra["original_id"].rsplit("_", 1)[0]
        assert row["reward_model"]["ground_truth"] == kwargs["ground_truth"]
        assert kwargs["long_context"] == ("long_context" in kwargs["id"])


def test_a_missing_file_names_the_fix(tmp_path: Path):
    with pytest.raises(ValueError, match=r"none.parquet does not exist; run: env-tuning prepare"):
        load_tasks(tmp_path / "none.parquet")


@pytest.mark.parametrize("kept", [0, 3, 2000, -1])
def test_a_truncated_file_names_the_fix(processed_data: Path, tmp_path: Path, kept: int):
    path = tmp_path / "cut.parquet"
    path.write_bytes((processed_data / TRAIN_FILE).read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut.parquet is not a whole parquet file .*run: env-tuning prepare"):
        load_tasks(path)


def test_damaged_pages_name_the_fix(processed_data: Path, tmp_path: Path):
    content = bytearray((processed_data / TRAIN_FILE).read_bytes())
    content[4000:9000] = b"\xff" * 5000
    (tmp_path / "damaged.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="run: env-tuning prepare"):
        load_tasks(tmp_path / "damaged.parquet")


def test_a_missing_column_is_named(processed_data: Path, tmp_path: Path):
    table = pq.read_table(processed_data / TRAIN_FILE).drop_columns("reward_model")
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"column reward_model is missing; run: env-tuning prepare"):
        load_tasks(tmp_path / "x.parquet")


def test_a_missing_nested_column_is_named(all_rows: list[dict], tmp_path: Path):
    row = json.loads(json.dumps(all_rows[0]))
    del row["extra_info"]["interaction_kwargs"]["tools"]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"column extra_info.interaction_kwargs.tools is missing"):
        load_tasks(tmp_path / "x.parquet")


def test_a_column_of_another_type_is_named(all_rows: list[dict], tmp_path: Path):
    row = json.loads(json.dumps(all_rows[0]))
    row["extra_info"]["interaction_kwargs"]["involved_classes"] = "TicketAPI"
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"involved_classes is string, expected a list"):
        load_tasks(tmp_path / "x.parquet")


def test_a_file_that_pandas_wrote_with_more_columns_is_read(
    tasks: dict[str, Task], all_rows_file: Path, tmp_path: Path
):
    frame = pandas.read_parquet(all_rows_file).head(3)
    frame["mine"] = 1
    frame.to_parquet(tmp_path / "x.parquet")
    assert load_tasks(tmp_path / "x.parquet") == list(tasks.values())[:3]


def test_a_turn_with_words_and_released_tools_tells_both(tasks: dict[str, Task]):
    task = tasks["multi_turn_miss_func_0"]
    (turn,) = task.releases
    turns = tuple("Also hurry." if number == turn else text for number, text in enumerate(task.user_turns))
    row = task_row(
        dataclasses.replace(task, user_turns=turns), ThinkAnswer(), version=PromptVersion.V1, split="test", index=0
    )
    said = row["extra_info"]["interaction_kwargs"]["processed_question"][turn - 1]
    assert said.endswith("Also hurry.")
    assert task.releases[turn][0] in said
