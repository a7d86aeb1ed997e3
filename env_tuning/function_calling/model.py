"""The tiny model of this system, warm-started on the training dialogues: made where there is no GPU.

Owns: perfect episodes as messages, and the settings of the warm start. Refuses: how a model is made and kept
(`model.embedded`), validation dialogues.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from env_tuning.data.demonstrations import Message
from env_tuning.function_calling.episode import FunctionCallingEpisode, Rules, perfect_messages
from env_tuning.function_calling.families import Family, family
from env_tuning.function_calling.records import dataset, inventory
from env_tuning.hashing import file_sha256
from env_tuning.model.embedded import PACKAGES, cached_model
from env_tuning.model.tiny import SIZES
from env_tuning.model.warm_start import WarmStart

RECIPE_VERSION = 1
"""Raise it when a change of this room makes another model from the same settings."""

WARM_START = WarmStart(steps=240, batch_size=8)
"""Short of perfect: a model that has learned all is nothing to train."""


def demonstrations(file: Path, family: Family, rules: Rules) -> list[list[Message]]:
    """The perfect episode of every row of a parquet file that `prepare` wrote."""
    import pyarrow.parquet as pq

    return [
        demonstration(extra["interaction_kwargs"], family, rules)
        for extra in pq.read_table(file).column("extra_info").to_pylist()
    ]


def demonstration(row: dict[str, str], family: Family, rules: Rules) -> list[Message]:
    """The perfect episode of a row's ``interaction_kwargs``, as messages.

    Raises:
        RuntimeError: the episode does not take its own perfect messages: a bug.
    """
    tools = inventory(json.loads(row["tools"]), "the row's tools")
    (dialogue,) = dataset([json.loads(row["dialogue"])], tools, "the row's dialogue")
    episode = FunctionCallingEpisode(
        dialogue, tools=tools, candidates=json.loads(row["candidates"]), family=family, rules=rules
    )
    messages: list[Message] = [*episode.opening()]
    for text in perfect_messages(dialogue, family, rules):
        reaction = episode.step(text)
        if not reaction.grade.right:
            raise RuntimeError(f"{dialogue.id}: {text!r} is graded as wrong")
        messages.append({"role": "assistant", "content": text})
        if not reaction.over:
            messages.append({"role": "user", "content": reaction.content})
    return messages


def tiny_model(
    cache: Path, train_file: Path, family: Family, rules: Rules, *, settings: WarmStart = WARM_START, seed: int = 0
) -> Path:
    """The model's folder, made first if the cache does not hold it.

    Args:
        cache: folder for models.
        train_file: ``train.parquet`` of `prepare`.
        family: how it speaks.
        rules: of its episodes.
        settings: of the warm start.
        seed: of weights and order.
    """
    shape = SIZES["small"]
    recipe = {
        "function_calling": RECIPE_VERSION,
        "seed": seed,
        "size": asdict(shape),
        "settings": asdict(settings),
        "family": family.name,
        "rules": asdict(rules),
        "train_sha256": file_sha256(train_file),
        "packages": {package: version(package) for package in PACKAGES},
    }

    def shown() -> Sequence[Sequence[Message]]:
        return demonstrations(train_file, family, rules)

    return cached_model(
        cache, shown, recipe, shape=shape, pieces=2048, settings=settings, seed=seed,
        what="perfect episodes of the function-calling system's training dialogues",
    )  # fmt: skip


if __name__ == "__main__":  # a process of its own, so that the launcher need not load torch
    cache_folder, rows, spoken, played = sys.argv[1:]
    print(tiny_model(Path(cache_folder), Path(rows), family(spoken), Rules(**json.loads(played))))
