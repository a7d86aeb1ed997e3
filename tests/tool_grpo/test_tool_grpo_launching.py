"""The flags of the systems' documents become data and Hydra keys, and a wrong one is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from env_tuning import launch
from env_tuning.errors import UserError
from env_tuning.tool_grpo.launching import SYSTEMS, main, parser, plan
from env_tuning.verl_plugin.compose import compose_config

pytest.importorskip("verl")
PROJECT = Path(__file__).parents[2]
MODEL = ("--model_name", "TinyLlama/TinyLlama-1.1B-Chat-v1.0")


@pytest.fixture
def home(tmp_path, monkeypatch):
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    rows = [{"conversation": [{"role": "user", "content": f"{n} 加 {n} 等于多少？"}]} for n in range(30)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "sample_data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL", raising=False)
    monkeypatch.setattr(launch, "gpu_count", lambda: 1)
    return tmp_path


def planned(name, *arguments):
    flags, overrides = parser(SYSTEMS[name]).parse_known_args(arguments)
    return plan(SYSTEMS[name], flags, overrides)


def composed(name, *arguments):
    made = planned(name, *arguments)
    return compose_config(made.config_dir, made.config_name, made.overrides)


def test_the_documents_command_is_planned(home):
    config = composed(
        "assistant",
        *MODEL,
        *("--data_path", "sample_data.jsonl", "--output_dir", "./checkpoints", "--batch_size", "1"),
        *("--gradient_accumulation_steps", "8", "--learning_rate", "1e-6", "--num_epochs", "1"),
        *("--num_generations", "4", "--max_new_tokens", "256", "--temperature", "0.9", "--seed", "42", "--bf16"),
    )
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert config.actor_rollout_ref.model.path == MODEL[1]
    assert config.env_tuning.output_dir == "./checkpoints"
    assert (config.data.train_batch_size, actor.ppo_mini_batch_size) == (8, 8)
    assert (actor.optim.lr, config.trainer.total_epochs, rollout.n) == (1e-6, 1, 4)
    assert (config.env_tuning.max_message_tokens, rollout.temperature) == (256, 0.9)
    assert (config.data.seed, rollout.seed) == (42, 42)
    assert (rollout.dtype, actor.fsdp_config.mixed_precision.param_dtype) == ("bfloat16", "bf16")
    assert rollout.name == "vllm"
    assert config.env_tuning.interactions.dialogue.config.tool_listing == "json"
    assert config.actor_rollout_ref.model.lora_rank == 0


def test_data_of_the_user_is_split_and_rows_without_labels_are_kept(home):
    import pyarrow.parquet as pq

    config = composed("assistant", *MODEL, "--data_path", "sample_data.jsonl")
    counts = [pq.read_metadata(path).num_rows for path in (config.data.train_files, config.data.val_files)]
    assert counts == [27, 3]
    assert config.data.train_batch_size == 8, "what is not given stays as configured"
    own = composed("assistant", *MODEL, "--data_path", "sample_data.jsonl", "--val_path", "sample_data.jsonl")
    assert pq.read_metadata(own.data.train_files).num_rows == 30


def test_maths_on_gpus_trains_adapters_of_rank_128_of_the_documents_model(home):
    config = composed("maths")
    model = config.actor_rollout_ref.model
    assert model.path == "Qwen/Qwen2.5-0.5B-Instruct"
    assert (model.lora_rank, model.lora_alpha, model.target_modules) == (128, 128, "all-linear")
    assert composed("maths", "adapter=none").actor_rollout_ref.model.lora_rank == 0
    dialogue = config.env_tuning.interactions.dialogue.config
    assert (dialogue.protocol, list(dialogue.tools), dialogue.rules.calls_per_step) == ("python_block", ["python"], 3)


def test_every_recipe_of_the_folder_is_a_system_and_composes_on_a_cpu(home):
    recipes = {file.stem.removeprefix("train_") for file in (PROJECT / "recipes" / "tool_grpo").glob("train_*.py")}
    assert recipes == set(SYSTEMS)
    for name in SYSTEMS:
        config = composed(name, *MODEL, "hardware=cpu")
        assert config.trainer.device == "cpu"
        assert config.env_tuning.interactions.dialogue.config.tool_listing == "signatures"
        assert config.actor_rollout_ref.model.lora_rank == 0
        assert config.data.max_prompt_length + config.data.max_response_length <= 4096
        assert Path(config.data.train_files).parent.name == name


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--num_generation", "4"), "unknown flag --num_generation; did you mean --num_generations?"),
        (("--learning-rate=1",), "unknown flag --learning-rate; did you mean --learning_rate?"),
        (("-x",), "unknown flag -x"),
        ((), "no model given"),
        ((*MODEL, "--batch_size", "0"), "must be at least 1"),
        ((*MODEL, "--data_path", "none.jsonl"), "none.jsonl cannot be read"),
        (("--data_path", "sample_data.jsonl", "hardware=cpu"), "knows the offline set only"),
    ],
)
def test_wrong_flags_are_named(home, capsys, arguments, error):
    assert main("assistant", arguments) == 2
    assert error in capsys.readouterr().out


def test_files_and_public_sets_exclude_each_other(home):
    with pytest.raises(UserError, match="one of the two"):
        planned("maths", "--data_path", "sample_data.jsonl", "--dataset", "aime")
    with pytest.raises(UserError, match="no public set named 'aimee'"):
        planned("maths", "--dataset", "aimee")


def test_answers_that_nothing_could_judge_are_refused_before_the_start(home, monkeypatch):
    monkeypatch.setattr("env_tuning.tool_grpo.launching.importlib.util.find_spec", lambda name: None)
    row = {"conversation": [{"role": "user", "content": "2 ** 10?"}], "answer": "1024", "kind": "maths"}
    (home / "maths.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(UserError, match="env-tuning\\[math\\]"):
        planned("maths", "--data_path", "maths.jsonl")
