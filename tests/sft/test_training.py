"""Both trainers for real, on a nano model and a CPU: they learn, keep the best weights, stop and go on.

TRL's tests need the extra ``sft`` and are skipped without it.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from env_tuning.sft.mixing import DataSettings, generate, write_splits
from env_tuning.sft.output import RunFolder
from env_tuning.verl_plugin.progress import read_events

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "recipes" / "sft"
SECONDS = 600

needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None or importlib.util.find_spec("datasets") is None,
    reason="trl is not installed (pip install -e '.[sft]')",
)
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed (pip install -e '.[sft]')"
)
TRAINERS = [pytest.param("verl"), pytest.param("trl", marks=needs_trl)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_splits(generate(DataSettings(rows=40, test_rows=2, validation=0.2)), folder)
    return folder


@pytest.fixture(scope="module")
def model(rows, tmp_path_factory):
    from env_tuning.sft.mixing import read_split
    from env_tuning.sft.tiny import untrained_model

    return untrained_model(tmp_path_factory.mktemp("models"), read_split(rows, "train"), size="nano", pieces=600)


def train(rows, model, folder, *arguments, timeout=SECONDS):
    keys = {"model": model, "data": rows, "output_dir": folder, "batch_size": 8, "learning_rate": 0.01, "threads": 1}
    command = [sys.executable, "-m", "env_tuning.cli", "sft", "train", "--config", str(RECIPE / "sft.yaml")]
    given = [f"{key}={value}" for key, value in {**keys, "deepspeed": "null", "precision": "fp32"}.items()]
    return subprocess.run(
        [*command, *given, *arguments], capture_output=True, text=True, timeout=timeout, check=False, cwd=folder.parent
    )


def losses(folder, name="loss"):
    return [event[name] for event in read_events(RunFolder(folder).metrics) if name in event]


def loads(folder):
    from transformers import AutoModelForCausalLM

    _, report = AutoModelForCausalLM.from_pretrained(RunFolder(folder).model, output_loading_info=True)
    return not report["missing_keys"] and not report["unexpected_keys"]


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("lora", [0, 4])
def test_the_loss_falls_and_the_best_weights_are_a_model(trainer, lora, rows, model, tmp_path):
    ended = train(rows, model, tmp_path / "out", f"trainer={trainer}", f"lora_rank={lora}", "epochs=3")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    found = losses(tmp_path / "out")
    assert len(found) == 3 * 64 // 8 and found[-1] < found[0]
    validations = losses(tmp_path / "out", "validation_loss")
    summary = json.loads(RunFolder(tmp_path / "out").summary.read_text())
    assert summary["best_validation_loss"] == pytest.approx(min(validations), abs=1e-4)
    assert loads(tmp_path / "out")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_run_that_gets_worse_stops_early(trainer, rows, model, tmp_path):
    # A rate this high undoes what was learned.
    ended = train(rows, model, tmp_path / "out", f"trainer={trainer}", "epochs=20", "patience=1", "learning_rate=0.5")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert len(losses(tmp_path / "out")) < 20 * 64 // 8


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_killed_run_goes_on_from_its_checkpoint(trainer, rows, model, tmp_path):
    folder = tmp_path / "out"
    ended = train(rows, model, folder, f"trainer={trainer}", "epochs=2")
    assert ended.returncode == 0, ended.stderr[-3000:]
    # As a kill after the last checkpoint but one leaves it.
    run = RunFolder(folder)
    run.summary.unlink()
    last = max(run.checkpoints.glob("*[0-9]"), key=lambda path: int(path.name.rpartition("_")[2].rpartition("-")[2]))
    shutil.rmtree(last)
    tracker = run.checkpoints / "latest_checkpointed_iteration.txt"
    if tracker.is_file():
        tracker.write_text("12")
    before = len(losses(folder))
    ended = train(rows, model, folder, f"trainer={trainer}", "epochs=2")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert len(losses(folder)) == before + 4
    assert json.loads(run.summary.read_text())["steps"] == 16


@needs_trl
@needs_deepspeed
def test_zero2_on_two_processes_of_a_cpu(rows, model, tmp_path):
    ended = train(
        rows, model, tmp_path / "out", "trainer=trl", "processes=2", "epochs=2", f"deepspeed={RECIPE / 'ds_zero2.json'}"
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    shards = list(RunFolder(tmp_path / "out").checkpoints.glob("*/global_step*/*zero_pp_rank_1*"))
    assert shards, "the optimiser is not sharded: DeepSpeed was not used"
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0] and loads(tmp_path / "out")


@needs_trl
def test_both_trainers_are_given_the_same_tokens_and_the_same_loss(rows, model):
    from transformers import AutoTokenizer

    from env_tuning.model.warm_start import NO_LOSS
    from env_tuning.sft.mixing import read_split
    from env_tuning.sft.rendering import all_examples
    from env_tuning.sft.trl_trainer import rows as trl_rows
    from env_tuning.verl_plugin.sft_trainer import Examples

    examples, _ = all_examples(AutoTokenizer.from_pretrained(model), read_split(rows, "train"), longest=1024)
    for ours, theirs in zip(Examples(examples), trl_rows(examples), strict=True):
        assert ours["input_ids"].tolist() == theirs["input_ids"]
        assert [bool(own) for own in ours["loss_mask"].tolist()] == [label != NO_LOSS for label in theirs["labels"]]
