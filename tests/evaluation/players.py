"""Files of a few tasks, and evaluations of them: little patience, no progress bar."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from env_tuning.data.rows import task_row, write_rows
from env_tuning.endpoint.client import Endpoint
from env_tuning.evaluation.models import EndpointModel, Model
from env_tuning.evaluation.results import TaskResult
from env_tuning.evaluation.running import Evaluation, Plan, evaluate
from env_tuning.evaluation.settings import Settings
from env_tuning.evaluation.sources import Data, read_data
from env_tuning.protocols import PromptVersion, ThinkAnswer
from env_tuning.task import Task


def write_tasks(file: Path, tasks: Sequence[Task], version: PromptVersion = PromptVersion.V1) -> Path:
    rows = [task_row(task, ThinkAnswer(), version=version, split="test", index=at) for at, task in enumerate(tasks)]
    write_rows(rows, file)
    return file


class Silent:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.there = self.dropped = 0
        self.told: list[str] = []

    def begin(self, evaluation: Evaluation) -> None:
        self.there, self.dropped = len(evaluation.store.results), evaluation.store.dropped

    def done(self, result: TaskResult) -> None:
        self.told.append(result.task_id)


def endpoint_at(url: str, settings: Settings, **patience: Any) -> EndpointModel:
    given = {"model": "oracle", "tries": 3, "pause": 0.01, "longest_pause": 0.05, "timeout": 20.0, **patience}
    endpoint = Endpoint(base_url=url, temperature=settings.temperature, max_tokens=settings.max_tokens, **given)
    return EndpointModel(endpoint)


def run(model: Model, data: Data, settings: Settings, output: Path, watcher: Any = None, **plan: Any) -> Evaluation:
    return asyncio.run(evaluate(model, data, settings, Plan(output=output, **plan), watcher or Silent()))


def read(file: Path, processed_data: Path) -> Data:
    return read_data([str(file)], processed_data)
