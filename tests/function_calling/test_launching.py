"""The flags of the system's origin become data, a model and Hydra keys."""

import json
import shutil
from pathlib import Path

import pytest

from env_tuning.errors import UserError
from env_tuning.function_calling.launching import family_of, main, parser, plan
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.verl_plugin.compose import compose_config

pytest.importorskip("verl")
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    (tmp_path / "tools.json").write_text(json.dumps([tool.to_json() for tool in offline_tools().values()]))
    (tmp_path / "data.json").write_text(json.dumps([one.to_json() for one in offline_dialogues(40)]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL", raising=False)
    return tmp_path


def planned(*flags):
    given, overrides = parser().parse_known_args(
        [*("--dataset_name", "mine", "--dataset_path", "data.json", "--tool_inventory_path", "tools.json"), *flags]
    )
    launch = plan(given, overrides)
    return compose_config(launch.config_dir, launch.config_name, launch.overrides)


def test_the_documents_command_is_planned(home):
    config = planned(
        *("--model_name_or_path", "models/Qwen3-0.6B", "--embedding_model", "bm25", "--algorithm_name", "POAD"),
        *("--ppo_epoch", "2", "--num_mini_batch", "2", "--experiment_name", "first", "--seed", "7", "--no_questioning"),
        *("hardware=cpu", "data.train_batch_size=8", "algorithm.gamma=0.9"),
    )
    assert (config.algorithm.adv_estimator, config.algorithm.gamma, config.algorithm.lam) == ("poad", 0.9, 0.95)
    assert config.critic.enable
    assert config.critic.model.path == config.actor_rollout_ref.model.path == "models/Qwen3-0.6B"
    actor = config.actor_rollout_ref.actor
    assert (actor.ppo_epochs, actor.ppo_mini_batch_size, config.critic.ppo_epochs) == (2, 4, 2)
    assert config.env_tuning.output_dir == "results/first/fctncalling_env/mine/POAD/seed_7"
    assert config.env_tuning.reward_placement == "turns"
    assert config.data.seed == 7
    interaction = config.env_tuning.interactions.function_calling.config
    assert (interaction.family, interaction.rules.questioning) == ("qwen", False)
    assert Path(config.data.train_files).is_file()
    report = json.loads((home / "processed_data" / "function_calling" / "mine" / "preparation.json").read_text())
    assert report["validation"] == 4


def test_roles_share_weights_or_one_adapter(home):
    config = planned("--model_name_or_path", "some/model", "--roles", "hardware=cpu", "adapter=lora")
    assert config.env_tuning.interactions.function_calling.config.rules.roles
    assert config.actor_rollout_ref.model.lora_rank == 128


def test_appo_is_the_default_and_sets_its_loss(home):
    config = planned("--model_name_or_path", "some/model", "hardware=cpu")
    assert config.algorithm.adv_estimator == "appo"
    assert config.actor_rollout_ref.actor.policy_loss.loss_mode == "appo_token"
    assert config.actor_rollout_ref.actor.loss_agg_mode == "seq-mean-token-mean"
    assert config.critic.loss_agg_mode == "seq-mean-token-mean"


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--num_mini_batch", "3"), "--num_mini_batch 3 does not divide data.train_batch_size=32"),
        (("--ppo_epoch", "0"), "must be at least 1"),
        (("hardware=gpu1",), "give --model_name_or_path"),
        (("--dataset_path", "none.json"), "give --dataset_path an existing file"),
        (("--embedding_model", "no/such/model"), r"pip install 'env-tuning\[retrieval\]'|cannot be loaded"),
    ],
)
def test_wrong_flags_are_named(home, flags, error):
    model = () if "hardware=gpu1" in flags else ("--model_name_or_path", "some/model", "hardware=cpu")
    with pytest.raises(UserError, match=error):
        planned(*model, *flags)


def test_the_two_files_belong_together(home, capsys):
    assert main(["--dataset_path", "data.json", "hardware=cpu"]) == 2
    assert "give both or none" in capsys.readouterr().out
    assert main(["--dataset_name", "mine"]) == 2
    assert "the dataset mine needs --dataset_path" in capsys.readouterr().out
    assert main(["--algoritm", "TPPO"]) == 2
    assert "unknown flags --algoritm" in capsys.readouterr().out


def test_families_are_known_by_name_and_by_type(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "llama"}')
    assert family_of(str(tmp_path / "mine")) == "llama"
    assert family_of("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B") == "deepseek"
    assert family_of("Qwen/Qwen3-0.6B") == "qwen"
    assert family_of("some/model") == "plain"
