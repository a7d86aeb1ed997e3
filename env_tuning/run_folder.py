"""Whose an output folder is: the identity of a run, and the file that claims the folder for it.

Owns: `identity` and ``run.json``. Refuses: overwriting another run's files, and what a run writes besides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.curriculum.results import recorded_weights
from env_tuning.errors import UserError
from env_tuning.hashing import file_sha256

RUN_FILE = "run.json"


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs the same run: a rerun with the same identity continues, another is refused."""
    actor = config["actor_rollout_ref"]
    return {
        "stage": config["env_tuning"]["stage"],
        "model": actor["model"]["path"],
        # The same path holds other weights when the stage before was trained again.
        "model_weights": recorded_weights(Path(actor["model"]["path"])),
        "train_files": {file.name: file_sha256(file) for file in files(config["data"]["train_files"])},
        "reward": config["env_tuning"]["reward"],
        "reward_placement": config["env_tuning"]["reward_placement"],
        "interactions": config["env_tuning"]["interactions"],
        "adv_estimator": config["algorithm"]["adv_estimator"],
        "rollouts_per_prompt": actor["rollout"]["n"],
        "train_batch_size": config["data"]["train_batch_size"],
        "learning_rate": actor["actor"]["optim"]["lr"],
        "seed": config["data"]["seed"],
    }


_ELSEWHERE = "env_tuning.output_dir=ANOTHER-FOLDER"


def refuse_occupied(folder: Path, run: Mapping[str, Any], *, elsewhere: str = _ELSEWHERE) -> None:
    """Look whether a folder is free for a run, or this run's already; touches nothing.

    Args:
        folder: where the run writes.
        run: what makes two runs the same one.
        elsewhere: how a user names another folder.

    Raises:
        UserError: it holds another run, or files that no run wrote.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} holds files but no {RUN_FILE} of a run; give {elsewhere}")
        return
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{file} is broken; remove {folder} or give {elsewhere}") from None
    here, wanted = _leaves(there), _leaves(json.loads(json.dumps(run, default=str)))
    if different := [key for key in {**wanted, **here} if here.get(key) != wanted.get(key)]:
        key = different[0]
        before, now = json.dumps(here.get(key)), json.dumps(wanted.get(key))
        raise UserError(
            f"{folder} holds another run ({key} there: {before}, now: {now}); remove it or give {elsewhere}"
        )


def claim_output(folder: Path, run: Mapping[str, Any], *, elsewhere: str = _ELSEWHERE) -> None:
    """Make the output folder this run's, or find that it is already.

    Raises:
        UserError: as `refuse_occupied`; nothing was touched.
    """
    refuse_occupied(folder, run, elsewhere=elsewhere)
    file = folder / RUN_FILE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(run, indent=2, default=str) + "\n")


def files(value: Any) -> list[Path]:
    """The paths of a setting that is one path or a list of them, as ``data.train_files``."""
    return [Path(item) for item in ([value] if isinstance(value, str) else value)]


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        path: leaf
        for key, item in value.items()
        for path, leaf in _leaves(item, f"{prefix}.{key}" if prefix else key).items()
    }
