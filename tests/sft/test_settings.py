"""Keys of a run: wrong ones are refused in one line, and what starts fits the machine."""

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from env_tuning.errors import UserError
from env_tuning.sft import launch
from env_tuning.sft.mixing import DataSettings, generate, write_splits
from env_tuning.sft.output import Patience, RunFolder, boards
from env_tuning.sft.settings import SftSettings, read_choices

RECIPE = Path(__file__).parents[2] / "recipes" / "sft"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data and without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "gpu_count", lambda: 0)
    write_splits(generate(DataSettings(rows=100, test_rows=2)), tmp_path / "rows")
    return tmp_path


def planned(*arguments, **environ):
    return launch.plan(
        ["model=some/model", "data=rows", "output_dir=out", *arguments], environ, config=RECIPE / "sft.yaml"
    )


def test_the_recipes_file_holds_only_keys_that_exist():
    choices = read_choices(RECIPE / "sft.yaml", [])
    assert choices.settle(tiny=False).learning_rate == 2e-5
    assert choices.settle(tiny=True).precision == "fp32"


def test_the_command_line_wins_over_the_tiny_values():
    assert read_choices(RECIPE / "sft.yaml", ["epochs=7", "learning_rate=1e-3"]).settle(tiny=True).epochs == 7


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("epoch=3", "unknown sft keys"),
        ("epochs=many", "expected int"),
        ("epochs=0", "must be positive"),
        ("epochs", "no key=value"),
        ("trainer=jax", "'verl', 'trl'"),
        ("warmup_ratio=1", "warmup_ratio"),
        ("load_in_4bit=true", "needs trainer=trl"),
        ("lora_rank=-1", "at least 0"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(argument, said):
    with pytest.raises(ValueError, match=said) as caught:
        read_choices(RECIPE / "sft.yaml", [argument]).settle(tiny=True)
    assert "\n" not in str(caught.value)


def test_without_a_gpu_one_process_trains_in_float32_on_the_cpu_platform(folder):
    started = planned()
    assert started.processes == 1 and started.settings.precision == "fp32"
    assert started.variables["VERL_PLATFORM"] == "cpu"
    assert "env_tuning.verl_plugin.sft_trainer" in started.command
    assert SftSettings.load(RunFolder(folder / "out").settings) == replace(started.settings)


def test_gpus_get_a_process_each_and_no_variables_of_a_cpu(folder, monkeypatch):
    monkeypatch.setattr(launch, "gpu_count", lambda: 4)
    started = planned()
    assert "--nproc-per-node=4" in started.command and started.settings.precision == "bf16"
    assert not {"VERL_PLATFORM", "DS_ACCELERATOR"} & set(started.variables)


def test_the_same_command_continues_and_another_run_is_refused(folder):
    planned()
    planned("processes=2")
    with pytest.raises(UserError, match="output_dir=ANOTHER-FOLDER"):
        planned("epochs=9")


def test_a_finished_run_is_not_trained_again(folder, capsys):
    started = planned()
    RunFolder(folder / "out").summary.write_text("{}")
    assert launch.run(started) == 0 and "finished" in capsys.readouterr().out


def test_too_few_rows_for_a_batch_are_named(folder):
    with pytest.raises(UserError, match="20 validation rows; give batch_size=20"):
        planned("batch_size=32")


def test_a_missing_trainer_names_the_extra(folder, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"\.\[sft\]"):
        planned("trainer=trl")


def test_a_user_variable_is_never_overwritten(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in planned().variables


def test_deepspeeds_file_leaves_sizes_and_rates_to_the_trainer():
    config = json.loads((RECIPE / "ds_zero2.json").read_text())
    assert config["zero_optimization"]["stage"] == 2
    sizes = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    assert all(config[name] == "auto" for name in sizes)
    assert config["optimizer"]["params"]["lr"] == "auto"
    assert yaml.safe_load((RECIPE / "sft.yaml").read_text())["deepspeed"] == "recipes/sft/ds_zero2.json"


def test_patience_ends_a_run_after_so_many_validations_without_a_gain():
    patience = Patience(2)
    assert [patience.see(step, loss) for step, loss in enumerate((3.0, 2.0, 2.5, 2.0))] == [True, True, False, False]
    assert patience.exhausted and patience.best_step == 1
    assert not Patience(0, without=99).exhausted


def test_a_resumed_run_knows_the_validations_before_its_checkpoint_only():
    events = [{"step": 1, "loss": 9.0}, {"step": 2, "validation_loss": 3.0}, {"step": 4, "validation_loss": 1.0}]
    patience = Patience.replayed(3, events, until=2)
    assert (patience.best_step, patience.best_loss) == (2, 3.0)
    assert math.isinf(Patience.replayed(3, events, until=0).best_loss)


def test_events_and_summary_say_what_happened(tmp_path, capsys):
    run = RunFolder(tmp_path)
    run.tell(1, loss=2.0)
    run.tell(2, loss=1.0)
    run.finish(best_step=2, best_loss=1.5, steps=2, conversations=16, seconds=4.0)
    summary = json.loads(run.summary.read_text())
    assert (summary["first_loss"], summary["last_loss"], summary["conversations_per_second"]) == (2.0, 1.0, 4.0)
    assert "step 2: loss 1" in capsys.readouterr().out


@pytest.mark.parametrize(("rank", "said"), [("0", True), ("1", False)])
def test_losses_go_to_wandb_with_its_key_and_its_package_only(rank, said, capsys, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "wandb" else there(name))
    assert boards({}) == ["tensorboard"]
    assert boards({"WANDB_API_KEY": "k"}) == ["tensorboard", "wandb"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else there(name))
    assert boards({"WANDB_API_KEY": "k", "RANK": rank}) == ["tensorboard"]
    assert ("pip install wandb" in capsys.readouterr().out) is said
