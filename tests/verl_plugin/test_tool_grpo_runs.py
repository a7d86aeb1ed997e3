"""The recipes of tool use, by real verl on a CPU: a step of each, one of them with adapters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("verl")
import toys
from running import PROJECT, SECONDS, toy_environment

from env_tuning.trajectory import Trajectory

SHORT = (
    *("hardware=cpu", "env_tuning.threads=1", "--batch_size", "2", "--num_generations", "2", "--max_new_tokens", "16"),
    *("trainer.total_training_steps=1", "trainer.val_before_train=false", "trainer.test_freq=-1"),
)


def train(folder: Path, name: str, *arguments: str) -> tuple[int, str]:
    """Run a recipe in a folder; status and everything that it printed and logged."""
    if not (folder / "configs").exists():
        (folder / "configs").symlink_to(PROJECT / "configs")
    recipe = PROJECT / "recipes" / "tool_grpo" / f"train_{name}.py"
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
    status, said = train(tmp_path, name, "--model_name", str(model), "--output_dir", "out", *SHORT, *overrides)
    assert status == 0, said
    records = rollouts(tmp_path / "out")
    assert len(records) == 4
    for record in records:
        assert parts <= record["reward"].keys()
        assert Trajectory.from_dict(record["trajectory"]).expected
    assert (tmp_path / "out" / "outcome.json").is_file()
