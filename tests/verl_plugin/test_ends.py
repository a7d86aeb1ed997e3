"""How runs of real verl end, and what is there then: gates, budgets, full disks, kills at any moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")
from running import events, happened, run_stage

from env_tuning.curriculum import checkpoints
from env_tuning.curriculum.gate import Verdict
from env_tuning.outcome import read_outcome


@pytest.mark.slow
def test_a_gate_ends_a_run_at_the_best_checkpoint_and_the_same_command_has_nothing_to_do(folder: Path) -> None:
    run = folder / "run"
    overrides = (
        # The toy model gets nothing right, so accuracy stays level and the latest validation is the best.
        *("env_tuning.gate.window=1", "env_tuning.gate.grad_window=2", "env_tuning.gate.grad_spread=100"),
        *("env_tuning.gate.min_steps=2", "env_tuning.gate.metric=turns", "env_tuning.gate.min_gain=100"),
        *("trainer.val_before_train=true", "trainer.save_freq=3", "trainer.test_freq=1"),
        "trainer.total_training_steps=6",
    )
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]
    outcome = read_outcome(run)
    assert outcome is not None
    assert (outcome.decision.verdict, outcome.step, outcome.total) == (Verdict.ADVANCE, 2, 6)
    assert [event["verdict"] for event in events(folder, "gate")] == ["continue", "continue", "advance"]
    # Step 2 was neither due for a save nor the last that was asked for.
    assert outcome.checkpoint == "checkpoints/global_step_2"
    assert outcome.checkpoint_step == 2
    assert checkpoints.is_complete(run / "checkpoints" / "global_step_2")
    assert checkpoints.complete_steps(run / "best") == (outcome.best_step,)
    assert outcome.last_validation is not None
    assert outcome.last_validation["step"] == 2
    assert [step["step"] for step in events(folder, "step")] == [1, 2]
    assert set(events(folder, "step")[0]["splits"]) == {"toy"}  # type: ignore[call-overload]

    before = (run / "progress.jsonl").read_bytes()
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]
    assert "[env-tuning] nothing to do: " in log
    assert (run / "progress.jsonl").read_bytes() == before


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A file system of its own for the checkpoints, where one may be mounted."""
    mount = folder / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs privileges")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def resize(mount: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(mount)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_while_saving_ends_the_run_in_one_line_and_costs_no_older_state(
    folder: Path,
    disk: Path,
) -> None:
    run, saves = folder / "run", disk / "checkpoints"
    overrides = (
        *("trainer.save_freq=1", "trainer.test_freq=-1", "trainer.total_training_steps=2"),
        f"trainer.default_local_dir={saves}",
    )
    saved = happened(folder, "checkpoint")

    def leave_room_for_half_a_checkpoint() -> bool:
        if saved() and shutil.disk_usage(disk).total == 64 << 20:
            used = shutil.disk_usage(disk).used
            resize(disk, used * 3 // 2)
        return False

    status, log = run_stage(folder, *overrides, until=leave_room_for_half_a_checkpoint)
    assert status == 1, log[-4000:]
    said = [line for line in log.splitlines() if line.startswith("[env-tuning] error: ")]
    assert len(said) == 1
    assert "no space left in " in said[0]
    assert "the last good checkpoint is step 1; free space and run the same command again" in said[0]
    assert checkpoints.complete_steps(saves) == (1,)
    assert not (saves / "global_step_2").exists()
    assert read_outcome(run) is None

    resize(disk, 64 << 20)
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2, 2]
    outcome = read_outcome(run)
    assert outcome is not None
    assert (outcome.decision.verdict, outcome.checkpoint) == (Verdict.BUDGET, str(saves / "global_step_2"))


def last_records(folder: Path, name: str) -> dict[int, dict[str, Any]]:
    """The last event of every step, without what time and place decide."""
    told = {event["step"]: event for event in events(folder, name)}
    return {step: {key: told[step][key] for key in told[step].keys() - {"seconds", "timings"}} for step in told}


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_very_numbers_of_an_unbroken_one(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from safetensors.torch import load_file

    overrides = (
        *("env_tuning.deterministic=true", "env_tuning.threads=2", "trainer.val_before_train=true"),
        *("trainer.save_freq=2", "trainer.test_freq=2", "trainer.total_training_steps=6"),
        # Sampled validations: greedy ones would not notice another seed.
        *("actor_rollout_ref.rollout.val_kwargs.do_sample=true", "actor_rollout_ref.rollout.val_kwargs.temperature=1"),
    )
    broken = tmp_path_factory.mktemp("broken")
    shutil.copytree(folder, broken, dirs_exist_ok=True)
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]

    # After the third step, which no checkpoint has; then right after the checkpoint of step 4, before its validation.
    for moment in (happened(broken, "step", 3), happened(broken, "checkpoint", 3)):
        status, log = run_stage(broken, *overrides, until=moment)
        assert status == -signal.SIGKILL, log[-4000:]
    status, log = run_stage(broken, *overrides)
    assert status == 0, log[-4000:]

    assert [event["step"] for event in events(broken, "ready")] == [0, 2, 4]
    for name in ("step", "validation", "gate"):
        assert last_records(broken, name) == last_records(folder, name), name
    weights = [
        load_file(run / "run" / "checkpoints" / "global_step_6" / "actor" / "huggingface" / "model.safetensors")
        for run in (folder, broken)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    ends = [read_outcome(run / "run") for run in (folder, broken)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert (ends[0].step, ends[0].decision, ends[0].best_step) == (ends[1].step, ends[1].decision, ends[1].best_step)


@pytest.mark.slow
def test_a_run_whose_queue_is_killed_fails_by_name_in_bounded_time_and_goes_on_when_run_again(folder: Path) -> None:
    import psutil

    overrides = ("trainer.save_freq=1", "trainer.test_freq=-1", "trainer.total_training_steps=2")
    saved = happened(folder, "checkpoint")
    killed: list[int] = []

    def kill_the_queue() -> bool:
        if saved() and not killed:
            children = psutil.Process().children(recursive=True)
            killed.extend(child.pid for child in children if "TransferQueueController" in " ".join(child.cmdline()))
            os.kill(killed[0], signal.SIGKILL)
        return False

    status, log = run_stage(folder, *overrides, until=kill_the_queue)
    assert status == 1, log[-4000:]
    said = [line for line in log.splitlines() if line.startswith("[env-tuning] error: ")]
    assert said
    assert "run the same command again" in said[-1]
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]
    assert events(folder, "step")[-1]["step"] == 2
