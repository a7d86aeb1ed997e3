"""A trained model's folder, replaced whole.

Owns: `publish`. Refuses: deciding which weights are worth it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def publish(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model and its tokenizer beside their place and put them there: a kill leaves no half of a model."""
    building, old = (folder.with_name(f".{folder.name}-{part}") for part in ("building", "old"))
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    model.save_pretrained(building)
    tokenizer.save_pretrained(building)
    if folder.exists():
        folder.rename(old)
    building.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
