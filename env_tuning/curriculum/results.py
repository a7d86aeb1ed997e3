"""What a finished stage hands on: one Hugging Face folder, made once from the checkpoint that its outcome names.

Owns: the folder ``result/`` of a stage's output folder and its record ``result.json``. Refuses: training, and deciding
which checkpoint is the right one (`outcome`). verl's merger runs in a process of its own, so nothing heavy is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from env_tuning.errors import UserError
from env_tuning.hashing import file_sha256
from env_tuning.outcome import Outcome, read_outcome

RESULT = "result"
RECORD_FILE = "result.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A model that a stage made.

    Attributes:
        folder: for ``AutoModelForCausalLM.from_pretrained``.
        step: the update it was saved after.
        checkpoint: the folder it was made from, as the outcome names it.
        made_by: ``linked`` when the checkpoint held the model already, ``merged`` when verl's merger made it of shards.
        weights_sha256: of the weight files, names included.
    """

    folder: Path
    step: int
    checkpoint: str
    made_by: str
    weights_sha256: str


def stage_result(stage_folder: Path) -> StageResult:
    """The result of a finished stage, made now if it was not made before.

    It is built beside its place and renamed, so that a kill leaves nothing half-made under the name; hard links keep
    it from taking the disk twice, and from going when checkpoints rotate.

    Raises:
        UserError: the stage has not finished, or its checkpoint is gone.
    """
    outcome = read_outcome(stage_folder)
    if outcome is None:
        raise UserError(f"{stage_folder} holds no finished stage; run it to its end first, or set MODEL=/path/to/model")
    there = read_result(stage_folder)
    if there is not None and (there.step, there.checkpoint) == (outcome.checkpoint_step, outcome.checkpoint):
        return there
    return _make(stage_folder, outcome)


def read_result(stage_folder: Path) -> StageResult | None:
    """The result that was made before, None if there is none."""
    folder = stage_folder / RESULT
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return StageResult(folder=folder, **record)
    except (OSError, ValueError, TypeError):
        return None


def recorded_weights(model: Path) -> str | None:
    """The hash of the weights of a model that a stage made; None for any other folder."""
    try:
        return str(json.loads((model / RECORD_FILE).read_text(encoding="utf-8"))["weights_sha256"])
    except (OSError, ValueError, KeyError):
        return None


def hash_weights(model: Path) -> str | None:
    """SHA-256 over names and contents of the weight files; None if the folder has none."""
    files = _weight_files(model)
    if not files:
        return None
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}:{file_sha256(file)}\n".encode())
    return total.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    return sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))


def _make(stage_folder: Path, outcome: Outcome) -> StageResult:
    if outcome.checkpoint is None or outcome.checkpoint_step is None:
        raise UserError(f"the stage in {stage_folder} ended without a checkpoint (trainer.save_freq); train it again")
    actor = stage_folder / outcome.checkpoint / "actor"
    if not actor.is_dir():
        raise UserError(f"the checkpoint {actor} of a finished stage is gone; remove {stage_folder} and train it again")
    with tempfile.TemporaryDirectory(prefix=".result-", dir=stage_folder) as scratch:
        building = Path(scratch) / RESULT
        ready = actor / "huggingface"
        if _weight_files(ready):
            made_by = "linked"
            shutil.copytree(ready, building, copy_function=_link)
        else:
            made_by = "merged"
            _merge(actor, building)
        weights = hash_weights(building)
        if weights is None:
            raise UserError(f"no weights came out of {actor}")
        result = StageResult(
            folder=stage_folder / RESULT,
            step=outcome.checkpoint_step,
            checkpoint=outcome.checkpoint,
            made_by=made_by,
            weights_sha256=weights,
        )
        record: Mapping[str, Any] = {key: value for key, value in asdict(result).items() if key != "folder"}
        (building / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        # An older result, of a run that was extended since, has to make room.
        shutil.rmtree(result.folder, ignore_errors=True)
        os.replace(building, result.folder)
    return result


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _merge(actor: Path, target: Path) -> None:
    command = [
        *(sys.executable, "-m", "verl.model_merger", "merge", "--backend", "fsdp"),
        *("--local_dir", str(actor), "--target_dir", str(target)),
    ]
    environment = {**os.environ, "VERL_PLATFORM": os.environ.get("VERL_PLATFORM", "cpu"), "HF_HUB_OFFLINE": "1"}
    made = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
    )
    if made.returncode != 0:
        raise UserError(f"verl could not merge the shards of {actor}: {made.stdout.strip().splitlines()[-1:]}")
