"""Files of a few tasks, and runs over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from players import write_tasks

from env_tuning.task import Task


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[[Sequence[Task]], Path]:
    """Writes tasks as a parquet file."""
    return lambda tasks: write_tasks(tmp_path / "tasks.parquet", tasks)


@pytest.fixture
def few(tasks: dict[str, Task]) -> list[Task]:
    """One of every kind; miss_func_49's reference calls a tool before its release."""
    names = ("base_0", "miss_func_49", "miss_param_3", "long_context_10", "miss_func_1")
    return [tasks[f"multi_turn_{name}"] for name in names]
