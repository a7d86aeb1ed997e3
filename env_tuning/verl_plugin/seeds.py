"""Seeds that name what they are for, so that no number depends on what happened to come first.

Owns: the seed of an episode, and the order of a batch. Refuses: drawing (`rollout`), verl.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def episode_seed(base: int, *, step: int, validate: bool, row: Mapping[str, Any], rollout: int) -> int:
    """The seed of one episode: the same whenever, and by whichever process, that episode is played.

    Args:
        base: ``data.seed``.
        step: the update that the episode is for.
        validate: whether it is played for validation.
        row: the row of the data; its source, number and opening name it.
        rollout: position among the episodes of the same row.

    Returns:
        A number in [0, 2**63).
    """
    named = [base, step, validate, row.get("data_source"), row.get("index"), row.get("raw_prompt"), rollout]
    digest = hashlib.sha256(json.dumps(named, default=str).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def arrival_free_order(keys: Sequence[str]) -> list[int]:
    """The positions of a batch's keys (``{uid}_{rollout}_{part}``) in the order of the keys, numbers as numbers."""

    def place(position: int) -> tuple[str, int, int]:
        uid, rollout, part = keys[position].rsplit("_", 2)
        return uid, int(rollout), int(part)

    return sorted(range(len(keys)), key=place)
