"""A healthy configuration, composed from the project's own files."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import patients
from omegaconf import OmegaConf

from env_tuning.data.demonstrations import demonstration
from env_tuning.data.rows import load_tasks
from env_tuning.doctor.evidence import read_file
from env_tuning.verl_plugin.compose import compose_config

_read_once = functools.cache(read_file)


@pytest.fixture(autouse=True)
def _files_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("env_tuning.doctor.examine.read_file", _read_once)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, processed_data: Path) -> Path:
    """A model and a few rows of the real data."""
    made = tmp_path_factory.mktemp("doctor")
    for name, source, count in (("train", "train_format_75", 6), ("val", "bfcl_val", 4)):
        patients.first_rows(processed_data / "bfcl_v3" / f"{source}.parquet", made / f"{name}.parquet", count)
    played = [message for task in load_tasks(made / "train.parquet") for message in demonstration(task)]
    patients.write_model(made / "model", [message["content"] for message in played])
    return made


@pytest.fixture(scope="session")
def healthy(folder: Path, processed_data: Path) -> dict[str, Any]:
    """Stage 1 on a CPU, with a small model of its own."""
    overrides = [
        "hardware=cpu",
        f"env_tuning.home={processed_data}",
        f"env_tuning.output_dir={folder / 'out'}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'val.parquet'}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
        # Its tokenizer has seen little, so that everything is long.
        "data.max_prompt_length=2048",
        "data.max_response_length=4096",
        "env_tuning.max_message_tokens=512",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=8192",
    ]
    config = OmegaConf.to_container(compose_config(patients.PROJECT / "configs", "stage1", overrides), resolve=True)
    assert isinstance(config, dict)
    return config  # type: ignore[return-value]
