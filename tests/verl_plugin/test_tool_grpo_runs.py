"""The recipes of tool use, by real verl on a CPU: a step of each, one of them with adapters."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("verl")
import toys
from running import PROJECT, SECONDS, toy_environment

from env_tuning.trajectory import Trajectory
from env_tuning.verl_plugin.progress import read_events

A_STEP = (
    *("hardware=cpu", "env_tuning.threads=1"),
    *("trainer.total_training_steps=1", "trainer.val_before_train=false", "trainer.test_freq=-1"),
)
SHORT = (*A_STEP, "--batch_size", "2", "--num_generations", "2", "--max_new_tokens", "16")


def train(folder: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Run a recipe in a folder; status and everything that it printed and logged."""
    if not (folder / "configs").exists():
        (folder / "configs").symlink_to(PROJECT / "configs")
    recipe = PROJECT / "recipes" / f"{name}.py"
    process = subprocess.Popen(
        [sys.executable, str(recipe), *arguments], cwd=folder, env=toy_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.terminate()  # the launcher ends all that it started
        process.wait()
    logs = "".join(log.read_text(errors="replace")[-4000:] for log in (folder / "logs").glob("*.log"))
    return process.returncode, said + logs


def rollouts(output: Path) -> Sequence[dict]:
    return [json.loads(line) for line in (output / "rollouts" / "1.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides", "parts"),
    [
        ("assistant", (), {"correctness", "necessity", "usage", "quality", "coherence"}),
        ("maths", ("adapter=lora", "actor_rollout_ref.model.lora_rank=4"), {"correct", "executed", "used", "called"}),
        ("mixed", (), {"correct", "tools", "called/python", "worth/search"}),
    ],
)
def test_a_recipe_trains_a_step(tmp_path, name, overrides, parts):
    model = toys.make_model(tmp_path / "model")
    status, said = train(
        tmp_path, f"tool_grpo/train_{name}", "--model_name", str(model), "--output_dir", "out", *SHORT, *overrides
    )
    assert status == 0, said
    records = rollouts(tmp_path / "out")
    assert len(records) == 4
    for record in records:
        assert parts <= record["reward"].keys()
        assert Trajectory.from_dict(record["trajectory"]).expected
    assert (tmp_path / "out" / "outcome.json").is_file()


@pytest.mark.slow
def test_function_calling_trains_a_step_of_four_mini_batches(tmp_path):
    model = toys.make_model(tmp_path / "model")
    status, said = train(
        *(tmp_path, "function_calling/train_fctncalling", "--model_name_or_path", str(model)),
        *("--algorithm_name", "POAD", "--num_mini_batch", "4", "--family", "plain", "--experiment_name", "short"),
        *(*A_STEP, "data.train_batch_size=8", "env_tuning.max_message_tokens=16"),
    )
    assert status == 0, said
    output = tmp_path / "results" / "short" / "fctncalling_env" / "offline" / "POAD" / "seed_1"
    records = rollouts(output)
    assert len(records) == 8
    assert all({"success", "selection", "filling"} <= record["reward"].keys() for record in records)
    (step,) = [event for event in read_events(output / "progress.jsonl") if event["event"] == "step"]
    assert math.isfinite(step["loss"])
    assert step["value_loss"] > 0
