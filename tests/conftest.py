"""What several rooms' tests need: the benchmark and the prepared data, kept in `.cache` of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from env_tuning.data.prepare import load_tasks, prepare
from env_tuning.data.sources import Benchmark, fetch_wheel, read_benchmark
from env_tuning.task import Task

CACHE = Path(__file__).parents[1] / ".cache"


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The benchmark's pinned wheel, downloaded once."""
    return fetch_wheel(CACHE / "wheels")


@pytest.fixture(scope="session")
def benchmark(wheel: Path) -> Benchmark:
    """The checked contents of the wheel. Shared: read it, never change it."""
    return read_benchmark(wheel)


@pytest.fixture(scope="session")
def processed_data() -> Path:
    """A folder as `env-tuning prepare` leaves it; rebuilt only when the manifest says that it is out of date."""
    folder = CACHE / "test_data"
    prepare(folder, cache=CACHE / "wheels")
    return folder


@pytest.fixture(scope="session")
def tasks(processed_data: Path) -> dict[str, Task]:
    """All 800 tasks by id, as they come back from the parquet files."""
    files = [processed_data / "bfcl_v3" / f"bfcl_{split}.parquet" for split in ("train", "val", "test")]
    return {task.id: task for file in files for task in load_tasks(file)}
