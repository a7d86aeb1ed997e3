"""Real verl on a CPU: two steps of a toy task, every file a run leaves, and a rerun that continues."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections import Counter
from pathlib import Path

import psutil
import pytest

pytest.importorskip("verl")
from running import events, happened, real_tasks, run_stage

from env_tuning.outcome import read_outcome
from env_tuning.trajectory import Trajectory
from env_tuning.verl_plugin.boards import HISTOGRAMS


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
    outcome = read_outcome(run)
    assert outcome is not None
    assert (outcome.step, outcome.checkpoint, outcome.decision.verdict.value) == (
        2,
        "checkpoints/global_step_2",
        "budget",
    )

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

    accumulator = EventAccumulator(str(folder), {"histograms": 0, "scalars": 0})
    accumulator.Reload()
    wanted = {
        *("actor/pg_loss", "actor/kl_loss", "actor/lr", "actor/entropy", "critic/rewards/mean"),
        *("env/toy/score/mean", "val/toy/correct_turns"),
        *("env/score/mean", "env/completed/mean", "env/stop/completed/mean", "env/groups_without_signal", "val/score"),
    }
    assert wanted <= set(accumulator.Tags()["scalars"])
    assert [event.step for event in accumulator.Scalars("env/score/mean")] == [1, 2]
    shapes = {name: accumulator.Histograms(f"episodes/{name}") for name in HISTOGRAMS}
    assert all(
        [(event.step, event.histogram_value.num) for event in told] == [(1, 16), (2, 16)] for told in shapes.values()
    )
    assert [event.histogram_value.num for event in accumulator.Histograms("val_episodes/score")] == [2]
    texts = {"episodes/sample_1/text_summary", "episodes/sample_2/text_summary", "val_episodes/sample_1/text_summary"}
    assert texts <= set(accumulator.Tags()["tensors"])


@pytest.mark.slow
def test_two_workers_two_rollout_servers_and_two_loop_processes_train_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    seen: Counter[str] = Counter()

    def look() -> bool:
        if happened(folder, "step")() and not seen:
            seen.update(actors(mark))
        return False

    status, log = run_stage(
        folder,
        *("trainer.n_gpus_per_node=2", "trainer.save_freq=2", "trainer.test_freq=-1"),
        "actor_rollout_ref.rollout.agent.num_workers=2",
        "actor_rollout_ref.rollout.agent.agent_loop_manager_class=env_tuning.verl_plugin.loop_workers.RayLoops",
        until=look,
    )
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2]
    assert (folder / "run" / "checkpoints" / "global_step_2" / "actor" / "model_world_size_2_rank_1.pt").is_file()
    assert [seen[name] for name in ("WorkerDict", "TransformersServer", "EpisodeWorker")] == [2, 2, 2]


MARK = "ENV_TUNING_TEST_RUN"
"""Variable that every process of a run inherits."""


def actors(mark: str) -> list[str]:
    """The classes of the Ray actors of a run that live now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, IndexError):
            if process.environ().get(MARK) == mark and (title := process.cmdline()[0]).startswith("ray::"):
                found.append(title.removeprefix("ray::").partition(".")[0].partition(":")[0])
    return found


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
def test_real_tasks_are_played_trained_on_and_judged(folder: Path, processed_data: Path) -> None:
    status, log = run_stage(folder, *real_tasks(folder, processed_data), "actor_rollout_ref.rollout.n=2")
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2]
    lines = (folder / "run" / "rollouts" / "1.jsonl").read_text().splitlines()
    trajectories = [Trajectory.from_dict(json.loads(line)["trajectory"]) for line in lines]
    assert len(trajectories) == 8
    assert all(trajectory.task_id.startswith("multi_turn_base_") and trajectory.steps for trajectory in trajectories)
