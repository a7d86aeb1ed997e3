"""The tokens at which a model's messages end.

Owns: reading them. Refuses: adding any: a template that ends messages with another token is the model's to mend.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import GenerationConfig


@functools.cache
def stop_tokens(model_path: str, eos_token_id: int | None) -> frozenset[int]:
    """The tokenizer's own and those of the generation configuration.

    Args:
        model_path: a folder or hub id.
        eos_token_id: of the tokenizer.
    """
    from transformers import GenerationConfig

    try:
        settings = GenerationConfig.from_pretrained(model_path)
    except OSError:  # a model without generation_config.json
        settings = None
    return named_stop_tokens(settings, eos_token_id)


def named_stop_tokens(settings: GenerationConfig | None, eos_token_id: int | None) -> frozenset[int]:
    """The same of a generation configuration that is at hand; None: there is none."""
    configured = getattr(settings, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset({eos_token_id, *listed} - {None})  # type: ignore[arg-type]
