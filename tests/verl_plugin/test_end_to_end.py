"""Real verl on a CPU: two steps of a toy task, every file a run leaves, and a rerun that continues."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("verl")
import toys

from env_tuning.trajectory import Trajectory
from env_tuning.verl_plugin.main import _RAY_PREFIX

PROJECT = Path(__file__).parents[2]
SECONDS = 180
"""The outer limit of one run: a deadlock inside verl must not hang the suite."""


def run_stage(folder: Path, *overrides: str, until: Callable[[], bool] = lambda: False) -> tuple[int, str]:
    """Train the toy stage in a process group of its own; returns the exit status and the output.

    As soon as `until` is true, the whole group is killed with SIGKILL.
    """
    command = [
        *(sys.executable, "-m", "env_tuning.verl_plugin.main"),
        *("--config-dir", str(PROJECT / "configs"), "--config-name", "stage1", "hardware=cpu"),
        f"env_tuning.output_dir={folder / 'run'}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
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
        *overrides,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_", "TQ_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + SECONDS
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


def events(folder: Path, name: str) -> list[dict[str, object]]:
    lines = (folder / "run" / "progress.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == name]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    toys.make_model(tmp_path / "model")
    toys.write_rows(tmp_path / "train.parquet", 8)
    toys.write_rows(tmp_path / "val.parquet", 2)
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.e2e
def test_two_steps_leave_everything_and_a_rerun_continues_at_the_third(folder: Path) -> None:
    run = folder / "run"
    status, log = run_stage(folder, "trainer.save_freq=2", "trainer.test_freq=2")
    assert status == 0, log[-4000:]
    # The launcher looks at the start of lines.
    assert [line for line in log.splitlines() if line.startswith("[env-tuning] step 2/2: reward ")]
    steps = events(folder, "step")
    assert [step["step"] for step in steps] == [1, 2]
    assert all(step[key] is not None for step in steps for key in ("reward", "completed", "steps", "kl", "entropy"))
    assert [event["step"] for event in events(folder, "validation")] == [2]
    check_checkpoint(run / "checkpoints" / "global_step_2")
    check_dumps(run)
    check_scalars(run / "tensorboard")

    status, log = run_stage(folder, "trainer.save_freq=-1", "trainer.test_freq=-1", "trainer.total_training_steps=3")
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2, 3]
    assert events(folder, "ready")[-1]["step"] == 2


def check_checkpoint(checkpoint: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert (checkpoint.parent / "latest_checkpointed_iteration.txt").read_text() == "2"
    trained = AutoModelForCausalLM.from_pretrained(checkpoint / "actor" / "huggingface").state_dict()
    first = AutoModelForCausalLM.from_pretrained(checkpoint.parents[2] / "model").state_dict()
    assert trained.keys() == first.keys()
    assert any(not trained[name].equal(first[name]) for name in first)


def check_dumps(run: Path) -> None:
    for step in (1, 2):
        records = [json.loads(line) for line in (run / "rollouts" / f"{step}.jsonl").read_text().splitlines()]
        assert len(records) == 16
        assert {record["group"] for record in records} == {0, 1, 2, 3}
        assert len({record["uid"] for record in records}) == 4
        for record in records:
            assert record["step"] == step
            assert record["score"] == pytest.approx(record["reward"]["score"], abs=1e-6)
            assert 0 < record["trained_tokens"] <= record["response_tokens"] <= 192
            assert record["trajectory"]["task_id"].startswith("toy_")
    assert len((run / "validation" / "2.jsonl").read_text().splitlines()) == 2


def check_scalars(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    wanted = {
        *("actor/pg_loss", "actor/kl_loss", "actor/lr", "actor/entropy", "critic/rewards/mean"),
        *("env/score/mean", "env/completed/mean", "env/stop/completed/mean", "env/groups_without_signal", "val/score"),
    }
    assert wanted <= set(accumulator.Tags()["scalars"])
    assert [event.step for event in accumulator.Scalars("env/score/mean")] == [1, 2]


@pytest.mark.slow
def test_two_workers_train_together(folder: Path) -> None:
    status, log = run_stage(folder, "trainer.n_gpus_per_node=2", "trainer.save_freq=2", "trainer.test_freq=-1")
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2]
    assert (folder / "run" / "checkpoints" / "global_step_2" / "actor" / "model_world_size_2_rank_1.pt").is_file()


@pytest.mark.slow
def test_verls_own_reward_function_reads_the_trajectory(folder: Path) -> None:
    function = folder / "own_reward.py"
    function.write_text(
        "def compute_score(data_source, solution_str, ground_truth, extra_info, **kwargs):\n"
        "    steps = extra_info['trajectory']['steps']\n"
        "    return {'score': float(len(steps)), 'own': 1.0}\n"
    )
    path = f"reward.custom_reward_function.path={function}"
    status, log = run_stage(folder, path, "env_tuning.reward=null", "trainer.save_freq=-1", "trainer.test_freq=-1")
    assert status == 0, log[-4000:]
    assert all(step["reward"] >= 1 and step["own"] == 1 for step in events(folder, "step"))


@pytest.mark.slow
def test_an_exception_in_an_episode_ends_the_run_and_is_named(folder: Path) -> None:
    overrides = ("env_tuning.reward=toys:broken_reward", "trainer.save_freq=-1", "trainer.test_freq=-1")
    status, log = run_stage(folder, *overrides)
    assert status == 1
    assert "[env-tuning] error: RuntimeError: " in log
    assert "the reward is broken" in log.split("[env-tuning] error: ")[1].splitlines()[0]


@pytest.mark.slow
def test_a_killed_run_continues_and_trains_no_step_of_a_checkpoint_twice(folder: Path) -> None:
    overrides = ("trainer.save_freq=2", "trainer.test_freq=-1", "trainer.total_training_steps=6")

    def saved_twice() -> bool:
        file = folder / "run" / "progress.jsonl"
        return file.is_file() and file.read_text().count('"event": "checkpoint"') >= 2

    status, log = run_stage(folder, *overrides, until=saved_twice)
    assert status == -signal.SIGKILL, log[-4000:]
    status, log = run_stage(folder, *overrides)
    assert status == 0, log[-4000:]
    assert events(folder, "ready")[-1]["step"] == 4
    steps = [step["step"] for step in events(folder, "step")]
    assert steps[-2:] == [5, 6]
    # The line of step 4 is written after its checkpoint, which may be the moment of the kill.
    assert {1, 2, 3, 5, 6} <= set(steps)


@pytest.mark.slow
def test_real_tasks_are_played_trained_on_and_judged(folder: Path, processed_data: Path) -> None:
    from env_tuning.model.embedded import embedded_model
    from env_tuning.model.warm_start import WarmStart

    data = processed_data / "bfcl_v3"
    settings = WarmStart(steps=4, batch_size=2)
    model = embedded_model(folder / "models", data / "bfcl_train_base.parquet", size="nano", settings=settings)
    status, log = run_stage(
        folder,
        f"actor_rollout_ref.model.path={model}",
        f"data.train_files={data / 'train_format_75.parquet'}",
        f"data.val_files={data / 'bfcl_val.parquet'}",
        *("env_tuning.reward=format", "data.max_prompt_length=1024", "data.max_response_length=1024"),
        *("actor_rollout_ref.rollout.n=2", "trainer.save_freq=-1", "trainer.test_freq=-1"),
    )
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2]
    lines = (folder / "run" / "rollouts" / "1.jsonl").read_text().splitlines()
    trajectories = [Trajectory.from_dict(json.loads(line)["trajectory"]) for line in lines]
    assert len(trajectories) == 8
    assert all(trajectory.task_id.startswith("multi_turn_base_") and trajectory.steps for trajectory in trajectories)
