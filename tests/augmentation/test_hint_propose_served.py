"""Hint proposals by the project's own model, served over the same protocol: it answers nonsense, and nothing breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parking import NAME, garage_tasks, write_run
from typer.testing import CliRunner

from env_tuning.augmentation.proposals.prompts import judging_messages, writing_messages
from env_tuning.augmentation.proposals.rollouts import RolloutReader, rollout_files
from env_tuning.augmentation.proposals.sites import error_sites
from env_tuning.augmentation.rule_file import read_entries, reviewed_rules
from env_tuning.cli import app
from env_tuning.serving.chat import chat_app, load_model
from env_tuning.serving.local import served


@pytest.fixture(scope="module")
def nonsense(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a nano model with random weights."""
    import torch
    from transformers import Qwen3ForCausalLM

    from env_tuning.model.tiny import SIZES, tiny_config
    from env_tuning.model.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("model") / "nano"
    tokenizer = train_tokenizer([judging_messages.__doc__, writing_messages.__doc__], pieces=400)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen3ForCausalLM(tiny_config(SIZES["nano"], tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = load_model(folder, max_length=8192)
    try:
        with served(chat_app(model)) as url:
            yield f"{url}/v1"
    finally:
        model.thread.close()


def test_a_model_that_answers_nonsense_leaves_every_site_open_and_nothing_to_use(nonsense, tmp_path):
    run = write_run(tmp_path / "run")
    file = tmp_path / "hints.yaml"
    command = ["hints", "propose", str(run), "--tasks", NAME, "--file", str(file), "--base-url", nonsense]
    result = CliRunner().invoke(app, [*command, "--max-tokens", "64"])
    assert result.exit_code == 1, result.output
    assert "0 accepted, 0 not_needed, 0 rejected, 3 failed" in result.output
    assert "9 answers, 0 retries" in result.output
    entries = read_entries(file)
    assert entries["hints"] == []
    assert [(entry["outcome"], entry["attempts"]) for entry in entries["no_hint"]] == [("failed", 3)] * 3
    # Of a nonsensical answer nothing is kept but what was wrong with it.
    assert {tuple(refused) for entry in entries["no_hint"] for refused in entry["refused"]} == {("problem",)}
    assert reviewed_rules(file, "Garage", ()) == ()


def test_the_prompts_stay_small(tmp_path):
    run = write_run(tmp_path / "run")
    sites = error_sites(RolloutReader(tasks=garage_tasks()).failed_calls(rollout_files([run])))
    assert max(len(str(writing_messages(site, []))) for site in sites) < 6000
