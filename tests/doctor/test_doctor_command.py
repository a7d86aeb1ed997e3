"""`env-tuning doctor`: what is printed, and the exit status."""

from __future__ import annotations

import os

import pytest
from typer.testing import CliRunner

from env_tuning.cli import app
from env_tuning.doctor import cli
from env_tuning.doctor.finding import Finding, Severity


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The command in an empty folder, on a machine whose verl has nothing to say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("env_tuning.verl_plugin.registered.not_loaded", lambda: ())
    monkeypatch.setattr("env_tuning.verl_plugin.main.refused_by_verl", lambda config: [])
    monkeypatch.setattr("os.environ", dict(os.environ))

    def invoke(*arguments):
        return CliRunner().invoke(app, ["doctor", *arguments])

    return invoke


def overrides(folder):
    return [
        "hardware=cpu",
        f"env_tuning.output_dir={folder / 'out'}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'val.parquet'}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
        "data.max_prompt_length=2048",
        "data.max_response_length=2000",
    ]


def test_alone_it_tells_what_the_machine_has(run):
    shown = run()
    assert "memory" in shown.output
    assert "verl           0.9.1" in shown.output
    assert shown.exit_code == 0, shown.output


def test_a_configuration_that_is_well(run, folder):
    shown = run("stage1", *overrides(folder))
    assert (shown.exit_code, shown.output) == (0, "nothing found that would go wrong\n")


def test_all_errors_are_told_at_once_with_key_and_fix(run, folder):
    shown = run("stage1", *overrides(folder), "actor_rollout_ref.rollout.n=1", "env_tuning.reward=fromat")
    assert shown.exit_code == 2
    assert "error    groups: actor_rollout_ref.rollout.n\n" in shown.output
    assert "fix: set actor_rollout_ref.rollout.n=8" in shown.output
    assert "error    reward: env_tuning.reward\n" in shown.output
    assert shown.output.endswith("2 errors, 0 warnings\n")


def test_what_verl_refuses_is_told_too(run, folder, monkeypatch):
    said = Finding(key="verl", problem="verl refuses the configuration: no", rule="registered")
    monkeypatch.setattr("env_tuning.verl_plugin.main.refused_by_verl", lambda config: [said])
    shown = run("stage1", *overrides(folder))
    assert (shown.exit_code, "verl refuses the configuration: no" in shown.output) == (2, True)


def test_a_stage_whose_predecessor_has_not_run_is_looked_at_all_the_same(run, folder):
    given = [item for item in overrides(folder) if "model.path" not in item]
    shown = run("stage2", *given, "actor_rollout_ref.rollout.n=1")
    assert shown.exit_code == 2
    assert "stage2 starts from the result of stage1" in shown.output
    assert "error    groups" in shown.output
    assert shown.output.endswith("2 errors, 0 warnings\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stage9"], "no configs/stage9.yaml; there are: stage1"),
        (["stage1", "hardware=cpu", "data.train_batch_sizes=4"], "did you mean data.train_batch_size"),
        (["/no/model", "--memory"], "is no model folder"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(run, folder, arguments, said):
    extra = overrides(folder)[1:] if arguments[0] == "stage1" else []
    shown = run(*arguments, *extra)
    assert isinstance(shown.exception, ValueError)
    assert said in str(shown.exception)


def test_memory_of_the_listed_sizes_and_of_a_model(run, folder):
    shown = run("--memory")
    assert shown.exit_code == 0, shown.output
    assert [line.split()[0] for line in shown.output.splitlines()[1::4]][:6] == [
        "0.5B",
        "1.5B",
        "3B",
        "7B",
        "14B",
        "32B",
    ]
    assert "model" in run(str(folder / "model"), "--memory", "--gpu-memory", "24").output.splitlines()[1]


def test_warnings_stop_nothing_and_stand_last():
    findings = [
        Finding(rule="b", key="k.b", problem="odd", severity=Severity.WARNING),
        Finding(rule="a", key="k.a", problem="bad", fix="mend it"),
    ]
    assert cli.report(findings).splitlines() == [
        "error    a: k.a", "         bad", "         fix: mend it", "warning  b: k.b", "         odd",
        "1 errors, 1 warnings",
    ]  # fmt: skip
