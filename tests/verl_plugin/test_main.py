"""What the training process settles before anything heavy starts, and how it words an end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("omegaconf")
import toys
from omegaconf import DictConfig, OmegaConf

from env_tuning.curriculum.gate import Decision, Verdict
from env_tuning.errors import UserError
from env_tuning.launch import PARENT_VARIABLE
from env_tuning.outcome import OUTCOME_FILE, Outcome, write_outcome
from env_tuning.verl_plugin.main import finished, in_one_line, settle_steps, sole_owner
from env_tuning.verl_plugin.watchdog import GO_ON


def config(
    folder: Path, *, gate: dict[str, Any] | None = None, steps: int | None = None, epochs: int = 2
) -> DictConfig:
    """18 rows in batches of 4: four steps an epoch."""
    return OmegaConf.create(
        {
            "env_tuning": {"gate": gate},
            "data": {"train_files": str(toys.write_rows(folder / "train.parquet", 18)), "train_batch_size": 4},
            "trainer": {"total_training_steps": steps, "total_epochs": epochs},
        }
    )


@pytest.mark.parametrize(
    ("gate", "steps", "settled"),
    [
        (None, None, (8, 2)),
        (None, 5, (5, 2)),
        (None, 9, (9, 3)),
        ({}, None, (8, 2)),
        ({"budget_steps": 6}, None, (6, 2)),
        ({"budget_steps": 6}, 5, (5, 2)),
        ({"budget_steps": 100}, None, (8, 2)),
    ],
)
def test_steps_are_the_least_of_what_limits_them_and_epochs_suffice(
    tmp_path: Path, gate: dict[str, Any] | None, steps: int | None, settled: tuple[int, int]
) -> None:
    composed = config(tmp_path, gate=gate, steps=steps)
    settle_steps(composed)
    assert (composed.trainer.total_training_steps, composed.trainer.total_epochs) == settled


@pytest.mark.parametrize("gate", [{"windows": 3}, {"window": 0}, {"min_gain": "much"}])
def test_a_gate_that_means_nothing_is_the_users_to_fix(tmp_path: Path, gate: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"env_tuning\.gate: "):
        settle_steps(config(tmp_path, gate=gate))


def test_a_run_that_ended_says_so_until_it_may_make_more_steps(tmp_path: Path) -> None:
    assert finished(tmp_path, 4) == ""
    decision = Decision(verdict=Verdict.BUDGET, reason="all 4 steps are done", step=4)
    write_outcome(tmp_path, Outcome(step=4, total=4, decision=decision))
    assert "ended at step 4 (budget: all 4 steps are done)" in finished(tmp_path, 4)
    assert (tmp_path / OUTCOME_FILE).exists()
    assert finished(tmp_path, 5) == ""
    assert not (tmp_path / OUTCOME_FILE).exists()


class ActorUnavailableError(Exception):
    """Named as Ray's, of a node that is gone."""


class ActorDiedError(Exception):
    """By the name of Ray's."""


def test_a_process_that_died_is_named() -> None:
    text = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: WorkerDict\n\tactor_id: 1\n\tpid: 77\n"
    )
    assert in_one_line(ActorDiedError(text)).startswith("the process WorkerDict (pid 77) died; run the same command")
    assert in_one_line(ActorDiedError("The actor died.")).startswith("ActorDiedError: The actor died; run the same")
    assert in_one_line(ActorUnavailableError("Socket closed")).startswith(
        "ActorUnavailableError: Socket closed; run the"
    )
    assert in_one_line(RuntimeError("[/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error")).endswith(GO_ON)
    assert in_one_line(ValueError("Socket closed")) == "ValueError: Socket closed"


def test_an_error_from_another_process_is_worded_as_if_it_were_from_this_one() -> None:
    class Wrapper(Exception):
        cause = ValueError("no such layer\nmore")

    assert in_one_line(Wrapper("ray::TaskRunner.run() (pid=1)")) == "ValueError: no such layer"
    assert in_one_line(RuntimeError()) == "RuntimeError: "


def holder(folder: Path, launcher: int, seconds: float) -> subprocess.Popen[str]:
    """A process that owns the folder for a while; its first line says that it does."""
    code = (
        "import sys, time; from pathlib import Path; from env_tuning.verl_plugin.main import sole_owner\n"
        "with sole_owner(Path(sys.argv[1])):\n    print('mine', flush=True); time.sleep(float(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(seconds)],
        env={**os.environ, PARENT_VARIABLE: str(launcher)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_that_another_run_trains_into_is_refused_at_once(tmp_path: Path) -> None:
    with holder(tmp_path, os.getpid(), 20.0) as other:
        started = time.monotonic()
        with pytest.raises(UserError, match="another process is training"), sole_owner(tmp_path):
            pytest.fail("two owners")
        assert time.monotonic() - started < 5.0
        other.kill()


def test_a_run_whose_launcher_was_killed_is_waited_for(tmp_path: Path) -> None:
    with holder(tmp_path, dead_process(), 2.0) as other, sole_owner(tmp_path):
        assert other.wait(timeout=5) == 0


HANGING = """
import signal, subprocess, sys, time
from env_tuning.launch import exit_when_told
from env_tuning.verl_plugin.main import _follow_launcher

signal.signal(signal.SIGTERM, exit_when_told)
started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
_follow_launcher(grace=1.0)
print(started.pid, flush=True)
try:
    time.sleep(120)
finally:
    print("told", flush=True)
    time.sleep(120)
"""

KILLED_LAUNCHER = """
import os, subprocess, sys
variables = {**os.environ, sys.argv[2]: str(os.getpid())}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=variables, start_new_session=True)
print(child.pid, flush=True)
sys.stdin.readline()
os.kill(os.getpid(), 9)
"""


def test_a_run_without_its_launcher_ends_even_if_what_it_waits_for_never_comes() -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", KILLED_LAUNCHER, HANGING, PARENT_VARIABLE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert launcher.stdin is not None and launcher.stdout is not None
    run, started = (psutil.Process(int(launcher.stdout.readline())) for _ in range(2))
    try:
        launcher.stdin.write("\n")
        launcher.stdin.close()
        assert launcher.stdout.readline() == "told\n"
        _, alive = psutil.wait_procs([run, started], timeout=30)
        assert not alive
    finally:
        for process in (run, started):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        launcher.wait()
        launcher.stdout.close()
