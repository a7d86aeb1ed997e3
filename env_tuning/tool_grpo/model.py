"""The tiny model of these systems: it solves the tasks of a file well, and has habits to unlearn.

Owns: its settings and what its folder is named by. Refuses: how a model is made and kept (`model.embedded`), validation
dialogues.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from env_tuning.data.conversations import read_conversations, read_replies
from env_tuning.hashing import file_sha256
from env_tuning.model.embedded import Lesson, cached_model
from env_tuning.model.tiny import SIZES
from env_tuning.model.warm_start import WarmStart
from env_tuning.tool_grpo.demonstrations import Habits, demonstrations

RECIPE_VERSION = 2
"""Raise it when a change of this room makes another model from the same settings."""

LESSONS = (
    WarmStart(steps=600, batch_size=6),
    WarmStart(steps=200, batch_size=6, learning_rate=2e-3, matrix_learning_rate=5e-3),
)
"""First the tasks, then the habits, gently: shown habits from the start, a model this small hardly learns the tasks."""

VARIANTS = 12
"""Of every demonstration in the second lesson."""

PIECES = 2048
HABITS = Habits()
_NO_HABITS = Habits(evade=0.0, malformed=0.0)


def tiny_model(
    cache: Path,
    file: Path,
    config: Mapping[str, Any],
    *,
    settings: tuple[WarmStart, WarmStart] = LESSONS,
    habits: Habits = HABITS,
    variants: int = VARIANTS,
    seed: int = 0,
) -> Path:
    """The model's folder, made first if the cache does not hold it.

    Args:
        cache: folder for models.
        file: JSONL of training conversations in which the assistant answers.
        config: of `DialogueInteraction`, as training has it.
        settings: of both lessons.
        habits: how often the demonstrations of the second show bad habits.
        variants: of every demonstration.
        seed: of weights, habits and order.
    """
    shape = SIZES["small"]
    recipe = {
        "tool_grpo": RECIPE_VERSION,
        "seed": seed,
        "size": asdict(shape),
        "pieces": PIECES,
        "settings": [asdict(lesson) for lesson in settings],
        "habits": asdict(habits),
        "variants": variants,
        "config": dict(config),
        "file_sha256": file_sha256(file),
    }

    def lessons() -> list[Lesson]:
        records, replies = read_conversations(file), read_replies(file)
        tasks = demonstrations(records, replies, config, habits=_NO_HABITS, variants=1, seed=seed)
        faulty = demonstrations(records, replies, config, habits=habits, variants=variants, seed=seed)
        return [Lesson(demonstrations=shown, settings=of) for shown, of in zip((tasks, faulty), settings, strict=True)]

    return cached_model(
        cache, lessons, recipe, shape=shape, pieces=PIECES, seed=seed,
        what="conversations with tools in which the assistant has bad habits on purpose",
    )  # fmt: skip


if __name__ == "__main__":  # a process of its own, so that the launcher need not load torch
    cache_folder, conversations, spoken = sys.argv[1:]
    print(tiny_model(Path(cache_folder), Path(conversations), json.loads(spoken)))
