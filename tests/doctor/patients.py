"""Configurations and models for the doctor: one that is well, and what makes it ill."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from env_tuning.doctor.machine import GIB, Machine
from env_tuning.interaction.base import Interaction
from env_tuning.trajectory import Trajectory

PROJECT = Path(__file__).parents[2]

ROOMY = Machine(cores=2, memory=64 * GIB, disk=500 * GIB, shared=16 * GIB, gpus=(80 * GIB,) * 8)

SHAPE = {
    "model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1000, "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
}  # fmt: skip


def write_model(folder: Path, texts: list[str], *, template: str | None = None, **shape: Any) -> Path:
    """A model's description and tokenizer, without weights: the doctor loads none."""
    from env_tuning.model.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, pieces=1000)
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(SHAPE | shape))
    return folder


def first_rows(source: Path, destination: Path, count: int, **columns: Any) -> Path:
    """The first rows of a parquet file, with further columns of one value each."""
    table = pq.read_table(source, partitioning=None).slice(0, count)
    for name, value in columns.items():
        values = value if isinstance(value, list) else [value] * count
        table = table.append_column(name, [values])
    pq.write_table(table, destination)
    return destination


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with other values under dotted keys, which need not exist yet."""
    copied = copy.deepcopy(dict(config))
    for key, value in changes.items():
        at = copied
        *parts, last = key.split(".")
        for part in parts:
            at = at.setdefault(part, {}) if at.get(part) is not None else at.__setitem__(part, {}) or at[part]
        at[last] = value
    return copied


def raising(trajectory: Trajectory) -> dict[str, float]:
    """A reward that did not think of a model that writes nothing."""
    return {"score": len(trajectory.verdicts) / sum(bool(step.calls) for step in trajectory.steps)}


def constant(trajectory: Trajectory) -> dict[str, float]:
    """A reward that sees nothing of what was done."""
    return {"score": float(len(trajectory.task_id))}


_calls = [0]


def counting(trajectory: Trajectory) -> dict[str, float]:
    """A reward that remembers."""
    _calls[0] += 1
    return {"score": float(_calls[0])}


class Mute(Interaction):
    """Keeps no trajectory and scores nothing."""
