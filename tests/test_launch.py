"""The launcher decides, starts and watches; verl itself is not needed to test that."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from env_tuning import launch
from env_tuning.curriculum.gate import Decision, Verdict
from env_tuning.errors import UserError
from env_tuning.outcome import Outcome, write_outcome


@pytest.mark.parametrize(("gpus", "group"), [(0, "cpu"), (1, "gpu1"), (3, "gpu1"), (8, "gpu8"), (16, "gpu8")])
def test_the_hardware_group_is_the_largest_that_fits(gpus, group):
    assert launch.hardware_group(gpus, ["cpu", "gpu1", "gpu8"]) == group


def test_no_fitting_hardware_group_is_an_error_that_lists_the_groups():
    with pytest.raises(UserError, match="gpu8"):
        launch.hardware_group(2, ["cpu", "gpu8"])


def test_the_last_override_of_a_key_wins():
    assert launch.given(["a.b=1", "+a.b=2", "a.bc=3"], "a.b") == "2"
    assert launch.given(["a.b=1"], "a") is None


@pytest.fixture
def project(tmp_path, monkeypatch):
    configs = tmp_path / "configs"
    (configs / "hardware").mkdir(parents=True)
    for name in ("base", "hardware/cpu", "hardware/gpu8"):
        (configs / f"{name}.yaml").write_text("{}")
    stage = "defaults: [_self_, {{hardware: cpu}}]\nenv_tuning: {{follows: {}, previous_dir: outputs/stage1}}\n"
    (configs / "stage1.yaml").write_text(stage.format("null"))
    (configs / "stage2.yaml").write_text(stage.format("stage1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "gpu_count", lambda: 0)
    monkeypatch.setattr(launch, "_make_data", lambda folder, environ: None)
    return tmp_path


def test_a_plan_picks_hardware_and_model_and_leaves_the_users_words_alone(project):
    planned = launch.plan("stage1", ["trainer.total_epochs=1"], {"MODEL": "/m"})
    assert planned.overrides == ("hardware=cpu", "trainer.total_epochs=1", "actor_rollout_ref.model.path=/m")
    chosen = launch.plan("stage1", ["hardware=cpu", "actor_rollout_ref.model.path=/n"], {"MODEL": "/m"})
    assert chosen.overrides == ("hardware=cpu", "actor_rollout_ref.model.path=/n")


def test_an_unknown_stage_lists_the_stages(project):
    with pytest.raises(UserError, match="there are: stage1, stage2"):
        launch.plan("stage9", [], {"MODEL": "/m"})


def test_a_stage_starts_from_the_result_of_the_one_it_follows(project):
    with pytest.raises(UserError, match=r"stage2 starts from the result of stage1: .*outputs/stage1 holds no finished"):
        launch.plan("stage2", [], {})
    weights = project / "outputs" / "stage1" / "checkpoints" / "global_step_3" / "actor" / "huggingface"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_text("weights")
    done = Decision(verdict=Verdict.BUDGET, reason="all 3 steps are done", step=3)
    outcome = Outcome(step=3, total=3, decision=done, checkpoint="checkpoints/global_step_3", checkpoint_step=3)
    write_outcome(project / "outputs" / "stage1", outcome)
    result = project / "outputs" / "stage1" / "result"
    assert launch.plan("stage2", [], {}).overrides[-1] == f"actor_rollout_ref.model.path={result}"
    assert (result / "model.safetensors").read_text() == "weights"
    assert launch.plan("stage2", [], {"MODEL": "/m"}).overrides[-1] == "actor_rollout_ref.model.path=/m"


def test_a_gpu_machine_without_a_model_is_told_to_give_one(project, monkeypatch):
    with pytest.raises(UserError, match="set MODEL="):
        launch.plan("stage1", ["hardware=gpu8"], {})


def test_a_configuration_with_a_launcher_of_its_own_names_it_when_there_is_no_model(project):
    stage = project / "configs" / "stage1.yaml"
    stage.write_text(stage.read_text().replace("{follows", "{launcher: recipes/train.py, follows"))
    with pytest.raises(UserError, match=r"set MODEL=.*, or run python recipes/train\.py"):
        launch.plan("stage1", [], {})
    assert launch.plan("stage1", [], {"MODEL": "/m"}).overrides[-1] == "actor_rollout_ref.model.path=/m"


def fake_child(monkeypatch, code: str) -> None:
    """Run `code` in place of verl."""
    real = subprocess.Popen
    monkeypatch.setattr(
        launch.subprocess,
        "Popen",
        lambda command, **options: real([sys.executable, "-u", "-c", textwrap.dedent(code)], **options),
    )


def planned(project) -> launch.Launch:
    return launch.Launch(
        config_dir=project / "configs", config_name="stage1", overrides=(), log_file=project / "logs" / "a.log"
    )


def test_progress_lines_reach_the_terminal_and_everything_reaches_the_log(project, monkeypatch, capfd):
    fake_child(monkeypatch, "print('noise'); print('[env-tuning] step 1/2: reward 0.5')")
    assert launch.run(planned(project)) == 0
    shown = capfd.readouterr().out
    assert "step 1/2" in shown
    assert "noise" not in shown
    assert "noise" in (project / "logs" / "a.log").read_text()


def test_a_failure_is_a_status_and_a_line_that_names_the_log(project, monkeypatch, capfd):
    fake_child(monkeypatch, "raise SystemExit(7)")
    assert launch.run(planned(project)) == 7
    assert "logs/a.log" in capfd.readouterr().out


def test_ending_a_run_ends_everything_it_started(project, monkeypatch):
    # The child ignores SIGTERM and has a child of its own: only the group and SIGKILL reach both.
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.5)
    pids = project / "pids"
    code = f"""
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{inner.pid}}")
        time.sleep(600)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], start_new_session=True, text=True)
    deadline = time.monotonic() + 30
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launch.end_group(child, signal.SIGTERM)
    time.sleep(0.2)
    for pid in map(int, pids.read_text().split()):
        assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_ctrl_c_stops_the_child_and_says_that_the_run_continues_later(project, monkeypatch, capfd):
    fake_child(monkeypatch, "import time; print('[env-tuning] ready', flush=True); time.sleep(600)")
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    assert launch.run(planned(project)) == 130
    assert "the same command continues" in capfd.readouterr().out


def test_a_launcher_that_is_told_to_stop_takes_its_child_along(project):
    code = f"""
        import sys
        from pathlib import Path
        from env_tuning import launch
        real = launch.subprocess.Popen
        inner = "import os, time; print('[env-tuning] pid', os.getpid(), flush=True); time.sleep(600)"
        launch.subprocess.Popen = lambda command, **options: real([sys.executable, "-u", "-c", inner], **options)
        launch.run(launch.Launch(config_dir=Path({str(project / "configs")!r}), config_name="stage1", overrides=(),
                                 log_file=Path({str(project / "a.log")!r})))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    line = next(line for line in parent.stdout if "pid" in line)
    parent.terminate()
    assert parent.wait(timeout=60) == 128 + signal.SIGTERM
    assert not _alive(int(line.split()[-1]))
