"""Sizes of the embedded model: a Qwen3 small enough to train on two cores.

Owns: the presets and the configuration. Refuses: weights and training (`warm_start.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from transformers import PreTrainedTokenizerBase, Qwen3Config


@dataclass(frozen=True, kw_only=True)
class TinySize:
    """The shape of a tiny Qwen3.

    Attributes:
        hidden: width of the residual stream.
        layers: number of decoder layers.
        heads: query heads.
        kv_heads: key and value heads; divides `heads`.
        mlp: width of the feed-forward layers.
        head_dim: width of a head; vLLM's CPU attention needs at least 32.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    head_dim: int = 32

    def __post_init__(self) -> None:
        """Reject shapes that no Qwen3 has."""
        if min(self.hidden, self.layers, self.kv_heads, self.mlp) < 1 or self.heads % self.kv_heads:
            raise ValueError(f"{self}: every number must be at least 1, and kv_heads must divide heads")


# As many key and value heads as query heads: at this width sharing them saves neither time nor memory worth having.
SIZES: Mapping[str, TinySize] = MappingProxyType(
    {
        "nano": TinySize(hidden=32, layers=1, heads=1, kv_heads=1, mlp=64),
        "small": TinySize(hidden=96, layers=2, heads=3, kv_heads=3, mlp=256),
        "medium": TinySize(hidden=128, layers=3, heads=4, kv_heads=4, mlp=384),
        "large": TinySize(hidden=192, layers=4, heads=6, kv_heads=6, mlp=512),
    }
)
"""``nano`` is for tests; ``small`` is the default of the CPU hardware group."""

LONGEST_EPISODE = 32_768
"""Positions: as many tokens as the longest episode of the paper's last stages."""


def tiny_config(size: TinySize, tokenizer: PreTrainedTokenizerBase) -> Qwen3Config:
    """The configuration of a size. The vocabulary is exactly the tokenizer's: a padded one would let the model give
    probability to ids that a rollout engine masks, and rollout and trainer would disagree.
    """  # noqa: D205
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.head_dim,
        intermediate_size=size.mlp,
        max_position_embeddings=LONGEST_EPISODE,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
