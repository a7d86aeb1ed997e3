"""The benchmark's own solutions run in our environments without a single error."""

from __future__ import annotations

from pathlib import Path

from env_tuning.calls import parse_call
from env_tuning.data.prepare import LONG_CONTEXT, load_tasks
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import CallStatus
from env_tuning.environments.registry import make_environment


def test_no_ground_truth_call_of_any_task_is_an_error(processed_data: Path):
    long_context = LongContext.load(processed_data / LONG_CONTEXT)
    files = ("bfcl_train", "bfcl_val", "bfcl_test")
    tasks = [task for name in files for task in load_tasks(processed_data / "bfcl_v3" / f"{name}.parquet")]
    calls, errors = 0, []
    for task in tasks:
        environment = make_environment(
            task.tool_classes, task.initial_config, long_context if task.long_context else None
        )
        for turn in task.ground_truth:
            for call in turn:
                calls += 1
                result = environment.call(parse_call(call))
                if result.status is not CallStatus.OK:
                    errors.append((task.id, call, result.text))
    assert errors == []
    assert (len({task.id for task in tasks}), calls) == (800, 4625)
