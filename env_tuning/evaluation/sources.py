"""What a user names: files of tasks, and a model on disk.

Owns: reading both, with one line for whatever is wrong. Refuses: loading weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from env_tuning.curriculum.results import hash_weights, stage_result
from env_tuning.data.lookup import padding_for
from env_tuning.data.rows import load_tasks, prompt_versions
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.errors import UserError
from env_tuning.hashing import file_sha256
from env_tuning.outcome import read_outcome
from env_tuning.protocols.base import PromptVersion
from env_tuning.task import Task

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Tasks of one or several files.

    Attributes:
        tasks: in the order of the files.
        files: name, sha256 and rows of every file, as plain data.
        version: the system prompt that their rows ask for.
        padding: the data of long-context tasks, if there are any.
    """

    tasks: tuple[Task, ...]
    files: tuple[dict[str, Any], ...]
    version: PromptVersion
    padding: LongContext | None


def read_data(names: Sequence[str], prepared: Path, *, limit: int | None = None) -> Data:
    """The tasks of files.

    Args:
        names: parquet files, or ``train``, ``val`` and ``test`` for the prepared ones.
        prepared: what `env-tuning prepare` wrote.
        limit: so many tasks only, spread evenly over the files.

    Raises:
        ValueError: a file cannot be read, a task stands in two, or their rows ask for different prompts.
    """
    files = [_file(name, prepared) for name in names]
    tasks = [task for file in files for task in load_tasks(file)]
    if not tasks:
        raise UserError(f"{', '.join(map(str, files))}: no tasks")
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise UserError(f"task {task.id} is there twice; give files without common tasks")
        seen.add(task.id)
    versions = {version for file in files for version in prompt_versions(file)}
    if len(versions) > 1:
        raise UserError("the files ask for different system prompts; evaluate those of bfcl_v3_new_prompt/ separately")
    if limit is not None and limit < len(tasks):
        tasks = [tasks[at * len(tasks) // limit] for at in range(limit)]
    return Data(
        tasks=tuple(tasks),
        files=tuple({"name": file.name, "sha256": file_sha256(file), "rows": len(load_tasks(file))} for file in files),
        version=versions.pop(),
        padding=padding_for(tuple(tasks), prepared),
    )


def find_model(place: Path) -> Path:
    """The Hugging Face folder that a path means: itself, a checkpoint of a run, or the result of a finished run.

    Raises:
        UserError: there is no model.
    """
    if not place.exists():
        raise UserError(f"the model {place} does not exist; give a Hugging Face folder, or --base-url for an endpoint")
    for folder in (place, place / "actor" / "huggingface", place / "model"):
        if (folder / "config.json").is_file():
            return folder
    if place.is_dir() and read_outcome(place) is not None:
        return stage_result(place).folder
    raise UserError(
        f"{place} is no model: it has no config.json; give a Hugging Face folder, a checkpoint or a finished stage"
    )


def find_model_or_id(name: str) -> str:
    """The folder that a path means, or the name itself if there is nothing there and it may be an id of the hub.

    Raises:
        UserError: it is neither.
    """
    if Path(name).exists():
        return str(find_model(Path(name)))
    if name.count("/") != 1 or name[0] in "./~":
        raise UserError(f"{name}: there is no such folder, and it is no hub id such as Qwen/Qwen3-0.6B")
    return name


def checkpoint_facts(folder: Path) -> dict[str, Any]:
    """How a card knows a model on disk.

    Raises:
        UserError: the folder has no weights.
    """
    weights = hash_weights(folder)
    if weights is None:
        raise UserError(f"{folder} has a config.json but no weights (*.safetensors); give a whole model folder")
    return {"kind": "checkpoint", "folder": str(folder), "weights_sha256": weights}


def _file(name: str, prepared: Path) -> Path:
    file = Path(name)
    return prepared / "bfcl_v3" / f"bfcl_{name}.parquet" if name in _SPLITS and not file.exists() else file
