"""Runs of the toy stage by real verl, in processes of their own, for tests that look at what is left afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardly_trained import hardly_trained

from env_tuning.verl_plugin.main import _RAY_PREFIX
from env_tuning.verl_plugin.progress import read_events

PROJECT = Path(__file__).parents[2]
TEST_PATH = os.pathsep.join(map(str, (PROJECT, Path(__file__).parent, Path(__file__).parents[1])))
"""PYTHONPATH of processes that import modules of these tests."""
SECONDS = 300
"""The outer limit of one run: a deadlock inside verl must not hang the suite."""


def toy_overrides(folder: Path) -> list[str]:
    """What makes the toy stage of a stage: data and model of a folder, two quick steps."""
    return [
        "hardware=cpu",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'val.parquet'}",
        "+env_tuning.interactions.toy.class_name=toys:LetterInteraction",
        "+env_tuning.interactions.toy.config={}",
        "env_tuning.reward=toys:letter_reward",
        "env_tuning.threads=1",
        "env_tuning.max_message_tokens=24",
        "env_tuning.min_message_tokens=8",
        "data.max_prompt_length=128",
        "data.max_response_length=192",
        "data.train_batch_size=4",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.max_num_seqs=16",
        "actor_rollout_ref.actor.optim.lr=3e-3",
        "trainer.val_before_train=false",
        "trainer.total_training_steps=2",
    ]


def real_tasks(folder: Path, processed_data: Path) -> list[str]:
    """What puts the benchmark's tasks, and a model of hardly any training on them, in place of the toys."""
    data = processed_data / "bfcl_v3"
    model = hardly_trained(folder / "models", processed_data)
    return [
        f"actor_rollout_ref.model.path={model}",
        f"data.train_files={data / 'train_format_75.parquet'}",
        f"data.val_files={data / 'bfcl_val.parquet'}",
        "env_tuning.reward=format",
        "data.max_prompt_length=1024",
        "data.max_response_length=1024",
        "trainer.save_freq=-1",
        "trainer.test_freq=-1",
    ]


def toy_environment() -> dict[str, str]:
    """Variables of a run that finds the toys and nothing that an outer run set."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_", "TQ_"))}
    environment["PYTHONPATH"] = TEST_PATH
    return environment


def run_stage(
    folder: Path, *overrides: str, until: Callable[[], bool] = lambda: False, seconds: float = SECONDS
) -> tuple[int, str]:
    """Train the toy stage in a process group of its own; returns the exit status and the output.

    As soon as `until` is true, the whole group is killed with SIGKILL. A run of more than `seconds` hangs.
    """
    command = [
        *(sys.executable, "-m", "env_tuning.verl_plugin.main"),
        *("--config-dir", str(PROJECT / "configs"), "--config-name", "stage1"),
        f"env_tuning.output_dir={folder / 'run'}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
        *toy_overrides(folder),
        *overrides,
    ]
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=toy_environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + seconds
            while process.poll() is None and not until():
                assert time.monotonic() < deadline, f"verl hangs:\n{log.read_text(errors='replace')[-4000:]}"
                time.sleep(0.1)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    killed = process.returncode == -signal.SIGKILL
    assert killed or not list(Path("/tmp").glob(f"{_RAY_PREFIX}{process.pid}-*")), "Ray's folder was left behind"
    return process.returncode, log.read_text(errors="replace")


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    """The events of a name that the run of a folder told."""
    return [event for event in read_events(folder / "run" / "progress.jsonl") if event["event"] == name]


def happened(folder: Path, name: str, times: int = 1) -> Callable[[], bool]:
    """Whether the run of a folder has told an event so often."""
    return lambda: len(events(folder, name)) >= times
