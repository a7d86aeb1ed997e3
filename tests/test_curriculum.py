"""The runner, with stages that are played by a small program instead of verl."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import stage_player
from clusters import wait_until
from omegaconf import OmegaConf
from stage_player import finish

from env_tuning import launch
from env_tuning.curriculum import runner
from env_tuning.curriculum.plan import plan_of, read_plan, split_overrides
from env_tuning.curriculum.results import hash_weights, read_result, stage_result
from env_tuning.errors import UserError
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.main import complete

PROJECT = Path(__file__).parents[1]


def test_a_result_is_made_once_and_outlives_its_checkpoint(tmp_path):
    finish(tmp_path)
    made = stage_result(tmp_path)
    assert (made.step, made.made_by) == (stage_player.STEPS, "linked")
    assert made.weights_sha256 == hash_weights(made.folder)
    before = (made.folder / "model.safetensors").stat()
    for file in (tmp_path / "checkpoints").rglob("*.safetensors"):
        file.unlink()
    assert stage_result(tmp_path) == made == read_result(tmp_path)
    assert (made.folder / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns


def test_a_result_follows_a_run_that_was_extended(tmp_path):
    finish(tmp_path, weights="old")
    old = stage_result(tmp_path)
    finish(tmp_path, step=5, weights="new")
    new = stage_result(tmp_path)
    assert (old.step, new.step) == (stage_player.STEPS, 5)
    assert (new.folder / "model.safetensors").read_text() == "new"


def test_a_half_made_result_does_not_count(tmp_path):
    finish(tmp_path)
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "model.safetensors").write_text("torn")
    assert read_result(tmp_path) is None
    assert (stage_result(tmp_path).folder / "model.safetensors").read_text() == "weights"


def test_an_unfinished_stage_has_no_result(tmp_path):
    with pytest.raises(UserError, match="holds no finished stage"):
        stage_result(tmp_path)


def test_the_shipped_plan_is_the_papers_four_stages():
    planned = read_plan(PROJECT / "configs", "curriculum")
    assert [stage.config for stage in planned.stages] == ["stage1", "stage2", "stage3", "stage4"]
    assert all(stage.overrides == () and stage.model is None for stage in planned.stages)


def test_a_plans_gate_becomes_overrides_of_the_stage():
    planned = plan_of({"stages": [{"config": "stage1", "gate": {"min_gain": 0.5, "budget_steps": None}}]})
    assert planned.stages[0].overrides == ("env_tuning.gate.min_gain=0.5", "env_tuning.gate.budget_steps=null")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": []}, "at least one stage"),
        ({"stages": [{"config": "a"}, {"config": "a"}]}, "stand twice"),
        ({"stages": [{"config": "a", "gates": {}}]}, "unknown stage keys"),
        ({"stages": [{"config": "a", "gate": {"widow": 1}}]}, "unknown gate keys"),
        ({"stages": [{"name": "../up", "config": "a"}]}, "no folder name"),
        ({"stages": [{"name": "a"}]}, "a stage needs config"),
        ({"stages": [{"config": "a"}], "retries": -1}, "retries"),
        ({"stages": [{"config": "a"}], "ray": {"adress": 1}}, "unknown curriculum.ray keys"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        plan_of(settings)


def test_overrides_of_the_plan_and_of_the_stages_are_told_apart():
    mine, others = split_overrides(["hardware=cpu", "curriculum.retries=0", "+curriculum.ray.x=1", "data.seed=2"])
    assert mine == ["curriculum.retries=0", "+curriculum.ray.x=1"]
    assert others == ["hardware=cpu", "data.seed=2"]


def test_the_scripts_and_the_curriculum_start_the_same_stages(tmp_path, monkeypatch):
    """Launch by launch: the same composed configuration, down to the last key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENV_TUNING_HOME", str(PROJECT))
    monkeypatch.setattr(launch, "gpu_count", lambda: 0)
    monkeypatch.setattr(launch, "_make_data", lambda folder, environ: None)
    planned = read_plan(PROJECT / "configs", "curriculum", [])
    environ = {"MODEL": "/models/base"}
    for position, stage in enumerate(planned.stages):
        parent = stage_result(planned.folder(planned.stages[position - 1])) if position else None
        by_script = launch.plan(stage.config, ["data.seed=3"], environ if position == 0 else {})
        by_plan = runner.plan_stage(planned, stage, ["data.seed=3"], environ, parent)
        composed = []
        for planned_launch in (by_script, by_plan):
            config = compose_config(planned_launch.config_dir, planned_launch.config_name, planned_launch.overrides)
            complete(config)
            composed.append(OmegaConf.to_container(config, resolve=True))
        assert composed[0] == composed[1]
        assert composed[0]["env_tuning"]["stage"] == stage.name
        finish(planned.folder(stage))


@pytest.fixture
def start(tmp_path, processed_data):
    """Starts `env-tuning curriculum` with stages of a few quick steps that `stage_player` plays."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_text("base")
    data = processed_data / "bfcl_v3" / "bfcl_train_base.parquet"
    running = []

    def command(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        given = [
            *(sys.executable, str(Path(stage_player.__file__)), "curriculum", *arguments),
            *(f"curriculum.output_dir={tmp_path / 'out'}", "hardware=cpu", f"data.train_files={data}"),
            *(f"data.val_files={data}", f"trainer.total_training_steps={stage_player.STEPS}"),
        ]
        environment = {**os.environ, "MODEL": str(model), **variables}
        process = subprocess.Popen(
            given, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        running.append(process)
        return process

    yield command
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


STAGES = ("stage1", "stage2", "stage3", "stage4")


def must_be_complete(folder: Path) -> None:
    """Every stage was trained once, from the one before, and the record says so."""
    for stage in STAGES:
        assert (folder / stage / "ends.txt").read_text() == "end\n", f"{stage} was not trained exactly once"
    record = json.loads((folder / "curriculum.json").read_text())["stages"]
    assert [(stage["name"], stage["status"]) for stage in record] == [(name, "done") for name in STAGES]
    assert [stage["started_from"]["stage"] for stage in record] == [None, *STAGES[:-1]]
    for before, after in itertools.pairwise(record):
        assert after["started_from"]["weights_sha256"] == before["result"]["weights_sha256"]
    for stage in record:
        assert stage["lineage"]["versions"]["verl"]
        assert len(stage["lineage"]["config_sha256"]) == 64
        assert all(len(digest) == 64 for digest in stage["lineage"]["data_sha256"].values())
        assert stage["decision"]["reason"]
    weights = (folder / "stage4" / "result" / "model.safetensors").read_text()
    assert weights == "base > stage1 > stage2 > stage3 > stage4"


def test_a_curriculum_runs_stage_after_stage_and_then_has_nothing_to_do(start, tmp_path):
    first = start("--local")
    said, _ = first.communicate(timeout=100)
    assert first.returncode == 0, said
    must_be_complete(tmp_path / "out")
    again = start("--local")
    said, _ = again.communicate(timeout=100)
    assert again.returncode == 0
    assert said.count("is done already") == len(STAGES)
    must_be_complete(tmp_path / "out")


def test_a_failed_stage_is_started_again_and_each_attempt_is_on_record(start, tmp_path):
    (tmp_path / "fail").write_text("")
    process = start("--local", FAIL_ONCE=str(tmp_path / "fail"))
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said
    must_be_complete(tmp_path / "out")
    attempts = json.loads((tmp_path / "out" / "curriculum.json").read_text())["stages"][0]["attempts"]
    assert [attempt["exit_status"] for attempt in attempts] == [1, 0]


@pytest.mark.slow
def test_a_curriculum_that_is_killed_again_and_again_still_trains_every_stage_once(start, tmp_path):
    for _ in range(6):
        process = start("--local", STEP_SECONDS="0.3")
        time.sleep(3.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The stage of a killed runner ends by itself within a second or two.
        wait_until(lambda: not players(tmp_path))
    process = start("--local")
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said
    must_be_complete(tmp_path / "out")


def test_a_finished_stage_of_another_configuration_does_not_pass_for_this_one(start, tmp_path):
    first = start("--local")
    first.communicate(timeout=100)
    second = start("--local", "data.seed=7")
    said, _ = second.communicate(timeout=100)
    assert second.returncode == 2
    assert "holds another run (seed there: 1, now: 7)" in said
    must_be_complete(tmp_path / "out")


def test_two_curricula_do_not_share_a_folder(start, tmp_path):
    first = start("--local", STEP_SECONDS="1")
    wait_until(lambda: (tmp_path / "out" / "stage1").is_dir())
    second = start("--local")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "another curriculum is running" in said
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == 130


def players(folder: Path) -> list[int]:
    """The stages of this test's folder that are running."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]
