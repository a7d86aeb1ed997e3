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
from env_tuning.function_calling.records import Dialogue, Request, Tool, dataset, inventory
from env_tuning.hashing import file_sha256
from env_tuning.model.embedded import PACKAGES, Lesson, cached_model
from env_tuning.model.tiny import SIZES
from env_tuning.model.warm_start import WarmStart

RECIPE_VERSION = 1
"""Raise it when a change of this room makes another model from the same settings."""

WARM_START = WarmStart(steps=150, batch_size=3)
"""Short: after 4,000 dialogues it selects all tools rightly, and nothing of that is left to learn."""

TOGETHER = 4
"""Rows of a demonstration."""


def demonstrations(file: Path, family: Family, rules: Rules, *, together: int = TOGETHER) -> list[list[Message]]:
    """Perfect episodes over the rows of a parquet file that `prepare` wrote.

    Args:
        file: ``train.parquet``.
        family: how the model speaks.
        rules: of its episodes.
        together: how many rows one episode plays, one after the other: most of a short one is its system prompt.
    """
    import pyarrow.parquet as pq

    rows = [extra["interaction_kwargs"] for extra in pq.read_table(file).column("extra_info").to_pylist()]
    return [demonstration(rows[start : start + together], family, rules) for start in range(0, len(rows), together)]


def demonstration(rows: Sequence[dict[str, str]], family: Family, rules: Rules) -> list[Message]:
    """The perfect episode over the ``interaction_kwargs`` of rows, as messages.

    Raises:
        RuntimeError: the episode does not take its own perfect messages: a bug.
    """
    tools: dict[str, Tool] = {}
    requests: list[Request] = []
    candidates: list[list[str]] = []
    for row in rows:
        own = inventory(json.loads(row["tools"]), "the row's tools")
        (dialogue,) = dataset([json.loads(row["dialogue"])], own, "the row's dialogue")
        tools |= own
        requests += dialogue.requests
        candidates += json.loads(row["candidates"])
    played = Dialogue(id="demonstration", requests=tuple(requests))
    episode = FunctionCallingEpisode(played, tools=tools, candidates=candidates, family=family, rules=rules)
    messages: list[Message] = [*episode.opening()]
    for text in perfect_messages(played, family, rules):
        reaction = episode.step(text)
        if not reaction.grade.right:
            raise RuntimeError(f"{text!r} is graded as wrong")
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
        "together": TOGETHER,
        "family": family.name,
        "rules": asdict(rules),
        "train_sha256": file_sha256(train_file),
        "packages": {package: version(package) for package in PACKAGES},
    }

    def lessons() -> list[Lesson]:
        return [Lesson(demonstrations=demonstrations(train_file, family, rules), settings=settings)]

    return cached_model(
        cache, lessons, recipe, shape=shape, pieces=2048, seed=seed,
        what="perfect episodes of the function-calling system's training dialogues",
    )  # fmt: skip


if __name__ == "__main__":  # a process of its own, so that the launcher need not load torch
    cache_folder, rows, spoken, played = sys.argv[1:]
    print(tiny_model(Path(cache_folder), Path(rows), family(spoken), Rules(**json.loads(played))))
