"""The tiny model of this system, warm-started on the training dialogues: made where there is no GPU.

Owns: episodes as messages, perfect or with a doubt to unlearn, and the settings of the warm start. Refuses: how a
model is made and kept (`model.embedded`), validation dialogues.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from env_tuning.data.demonstrations import Message
from env_tuning.function_calling.episode import FunctionCallingEpisode, Rules
from env_tuning.function_calling.families import Family, family
from env_tuning.function_calling.records import dataset, inventory
from env_tuning.hashing import file_sha256
from env_tuning.model.embedded import Lesson, cached_model
from env_tuning.model.tiny import SIZES
from env_tuning.model.warm_start import WarmStart

RECIPE_VERSION = 2
"""Raise it when a change of this room makes another model from the same settings."""

LESSONS = (
    WarmStart(steps=500, batch_size=8),
    WarmStart(steps=120, batch_size=8, learning_rate=4e-3, matrix_learning_rate=1e-2),
)
"""First the tasks, then the doubt, gently: shown it from the start, a model this small hardly learns the tasks."""

DOUBT = 0.5
DOUBTFUL = "I am not sure."
"""Cannot be read at any stage, and is told from a right message by its first word."""


def demonstrations(
    file: Path, family: Family, rules: Rules, *, doubt: float = 0.0, seed: int = 0
) -> list[list[Message]]:
    """An episode over every row of a parquet file that `prepare` wrote.

    Args:
        file: ``train.parquet``.
        family: how the model speaks.
        rules: of its episodes.
        doubt: the chance of every message to be `DOUBTFUL`; without it all are perfect.
        seed: of where doubt shows.
    """
    import pyarrow.parquet as pq

    rows = [extra["interaction_kwargs"] for extra in pq.read_table(file).column("extra_info").to_pylist()]
    chance = random.Random(seed)
    return [demonstration(row, family, rules, lambda: chance.random() < doubt) for row in rows]


def demonstration(
    row: Mapping[str, str], family: Family, rules: Rules, doubts: Callable[[], bool] = lambda: False
) -> list[Message]:
    """The episode over the ``interaction_kwargs`` of a row, as messages.

    Args:
        row: as `prepare.row` writes it.
        family: how the model speaks.
        rules: of the episode.
        doubts: asked before every message whether it is `DOUBTFUL`; else it is perfect.

    Raises:
        RuntimeError: the episode does not take its own perfect message: a bug.
    """
    tools = inventory(json.loads(row["tools"]), "the row's tools")
    (dialogue,) = dataset([json.loads(row["dialogue"])], tools, "the row's dialogue")
    candidates = json.loads(row["candidates"])
    episode = FunctionCallingEpisode(dialogue, tools=tools, candidates=candidates, family=family, rules=rules)
    messages: list[Message] = [*episode.opening()]
    while not episode.over:
        doubtful = doubts()
        text = DOUBTFUL if doubtful else episode.right_message()
        reaction = episode.step(text)
        if reaction.grade.right is doubtful:
            raise RuntimeError(f"{text!r} is graded as {'right' if doubtful else 'wrong'}")
        messages.append({"role": "assistant", "content": text})
        if not reaction.over:
            messages.append({"role": "user", "content": reaction.content})
    return messages


def tiny_model(
    cache: Path,
    train_file: Path,
    family: Family,
    rules: Rules,
    *,
    settings: tuple[WarmStart, WarmStart] = LESSONS,
    doubt: float = DOUBT,
    seed: int = 0,
) -> Path:
    """The model's folder, made first if the cache does not hold it.

    Args:
        cache: folder for models.
        train_file: ``train.parquet`` of `prepare`.
        family: how it speaks.
        rules: of its episodes.
        settings: of both lessons.
        doubt: how often the demonstrations of the second show it.
        seed: of weights, doubt and order.
    """
    shape = SIZES["small"]
    recipe = {
        "function_calling": RECIPE_VERSION,
        "seed": seed,
        "size": asdict(shape),
        "settings": [asdict(lesson) for lesson in settings],
        "doubt": doubt,
        "family": family.name,
        "rules": asdict(rules),
        "train_sha256": file_sha256(train_file),
    }

    def lessons() -> list[Lesson]:
        perfect = demonstrations(train_file, family, rules)
        doubtful = demonstrations(train_file, family, rules, doubt=doubt, seed=seed)
        return [
            Lesson(demonstrations=shown, settings=of) for shown, of in zip((perfect, doubtful), settings, strict=True)
        ]

    return cached_model(
        cache, lessons, recipe, shape=shape, pieces=2048, seed=seed,
        what="the function-calling system's training dialogues, with a doubt to unlearn",
    )  # fmt: skip


if __name__ == "__main__":  # a process of its own, so that the launcher need not load torch
    cache_folder, rows, spoken, played = sys.argv[1:]
    print(tiny_model(Path(cache_folder), Path(rows), family(spoken), Rules(**json.loads(played))))
