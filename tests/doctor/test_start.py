"""A training process refuses what the doctor refuses: every error in a line of its own, and no folder is touched."""

from __future__ import annotations

import contextlib
import os

from patients import PROJECT

from env_tuning.verl_plugin import main
from env_tuning.verl_plugin.progress import PREFIX


def start(folder, *overrides):
    given = [
        "hardware=cpu",
        f"env_tuning.output_dir={folder / 'refused'}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'val.parquet'}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
        "data.max_prompt_length=2048",
        "data.max_response_length=2000",
    ]
    return main.main(["--config-dir", str(PROJECT / "configs"), "--config-name", "stage1", *given, *overrides])


def test_all_errors_are_told_before_a_trainer_starts(folder, monkeypatch, capsys):
    told = []

    @contextlib.contextmanager
    def ray(config):
        told.append("ray starts")
        try:
            yield
        finally:
            told.append("ray ends")

    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(main, "local_ray", ray)
    monkeypatch.setattr(main, "_in_this_process", lambda config, ready: told.append("trainer"))
    wrong = ("env_tuning.reward=fromat", "actor_rollout_ref.rollout.n=1", "trainer.test_freq=-1")
    assert start(folder, *wrong) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix(PREFIX).partition(":")[0] for line in lines] == ["error", "error", "warning"]
    assert not (folder / "refused").exists()
    assert told == ["ray starts", "ray ends"]
    # Accepted, the one error is a warning, and the run goes on.
    accepted = ("actor_rollout_ref.rollout.n=1", "env_tuning.accept=[groups]")
    assert start(folder, *accepted) == 0
    assert capsys.readouterr().out.startswith(f"{PREFIX}warning: algorithm.adv_estimator=grpo compares")
    assert (folder / "refused" / "run.json").is_file()
    assert told[2:] == ["ray starts", "trainer", "ray ends"]
