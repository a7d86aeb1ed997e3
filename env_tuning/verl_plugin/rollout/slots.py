"""Key and value memory in slots, and the attention that reads it.

Owns: one tensor with a row per slot, its growth, moves between rows, and the attention function that transformers calls
for every layer. Refuses: deciding which request sits in which row (`engine`).

A step's tokens are laid end to end in one sequence `[1, T]`, without padding: first one token for each decoding row
(rows `0 .. B-1`), then a run of tokens per prefilling row. Everything but attention treats tokens alone, so only
attention needs to know whose token is whose; it gets a `StepLayout` for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION_NAME = "env_tuning_slots"
_FIRST_ROWS = 8
_LENGTH_STEP = 128


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive new tokens of one row: `count` tokens, the first at position `start`."""

    row: int
    start: int
    count: int


class SlotMemory:
    """Keys and values of every slot, in one tensor `[2 * layers, rows, kv_heads, length, head_dim]` in fp32.

    Bytes held: `8 * layers * rows * kv_heads * length * head_dim`. `rows` doubles from 8 towards `max_rows` as more
    slots are in use at once, and `length` grows by a quarter towards `max_length` as the longest sequence does, so
    memory follows use; while it grows, the old and the new tensor exist together. For example: 4 layers, 2 heads of
    32, 64 rows: 16 KiB per row of 8 positions, 268 MiB if all of them reach 2,048 tokens.
    """

    def __init__(self, *, layers: int, kv_heads: int, head_dim: int, max_rows: int, max_length: int) -> None:
        self._max_rows, self._max_length = max_rows, max_length
        self._shape = (2 * layers, kv_heads, head_dim)
        self.release()

    def release(self) -> None:
        """Give all memory back; contents are lost."""
        planes, heads, size = self._shape
        self._kv = torch.zeros(planes, 0, heads, 0, size)

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._kv.numel() * self._kv.element_size()

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` rows of `length` positions; contents stay."""
        assert rows <= self._max_rows and length <= self._max_length
        have_rows, have_length = self._kv.shape[1], self._kv.shape[3]
        if rows <= have_rows and length <= have_length:
            return
        if rows > have_rows:
            rows = min(self._max_rows, max(rows, _FIRST_ROWS, 2 * have_rows))
        if length > have_length:
            wanted = max(length, have_length * 5 // 4)
            length = min(self._max_length, -(-wanted // _LENGTH_STEP) * _LENGTH_STEP)
        planes, heads, size = self._shape
        # Zeros, not `empty`: positions that no mask lets through still enter a product with weight 0, and 0 * NaN
        # from old memory would be NaN.
        # A normal tensor even when a step grows it: inference tensors cannot be written between steps.
        with torch.inference_mode(False):
            grown = torch.zeros(planes, max(rows, have_rows), heads, max(length, have_length), size)
        grown[:, :have_rows, :, :have_length] = self._kv
        self._kv = grown

    def layer(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values of one layer, each `[rows, kv_heads, length, head_dim]`, as views."""
        return self._kv[2 * index], self._kv[2 * index + 1]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of row `source` to row `target`."""
        self._kv[:, target, :, :length] = self._kv[:, source, :, :length]

    def exchange(self, row: int, length: int, other: int, other_length: int) -> None:
        """Swap two rows, of which only the first `length` and `other_length` positions matter."""
        if not length or not other_length:
            source, target, count = (row, other, length) if length else (other, row, other_length)
            if count:
                self.copy(source, target, count)
            return
        kept = self._kv[:, row, :, :length].clone()
        self.copy(other, row, other_length)
        self._kv[:, other, :, :length] = kept

    def wipe(self, row: int) -> None:
        """Zero one row, so that non-finite numbers in it cannot spoil a later use."""
        if row < self._kv.shape[1]:
            self._kv[:, row] = 0


class StepLayout:
    """Where the tokens of one step belong: the bridge between a flat sequence and the rows of `SlotMemory`."""

    def __init__(self, memory: SlotMemory, decode_positions: torch.Tensor, runs: Sequence[Run]) -> None:
        """Prepare the masks, which all layers share.

        Args:
            memory: Where keys and values are read and written; room must be reserved.
            decode_positions: `[B]`, the position of the one new token of each row `0 .. B-1`.
            runs: The prefilling rows' tokens, in the order of the sequence after the decoding tokens.
        """
        self._memory = memory
        self._positions = decode_positions
        self._runs = runs
        self._rows = torch.arange(len(decode_positions))
        # An additive float mask: measured twice as fast as a boolean one in the CPU kernel.
        if len(decode_positions):
            self._span = int(decode_positions.max()) + 1
            hidden = torch.arange(self._span)[None] > decode_positions[:, None]
            self._decode_mask = _additive(hidden)[:, None, None]
        self._run_masks = [None if run.start == 0 else _additive(_future(run)) for run in runs]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Store the new keys and values, then attend.

        Args:
            layer: Index of the layer.
            query: `[1, heads, T, head_dim]`.
            key: `[1, kv_heads, T, head_dim]`, rotated.
            value: Like `key`.
            scale: Factor on the scores.

        Returns:
            `[1, T, heads, head_dim]`.
        """
        keys, values = self._memory.layer(layer)
        decoding = len(self._rows)
        parts = []
        if decoding:
            parts.append(self._decode(keys, values, query[0, :, :decoding], key, value, scale))
        offset = decoding
        for run, mask in zip(self._runs, self._run_masks, strict=True):
            end = offset + run.count
            keys[run.row, :, run.start : run.start + run.count] = key[0, :, offset:end]
            values[run.row, :, run.start : run.start + run.count] = value[0, :, offset:end]
            span = run.start + run.count
            held = keys[run.row, None, :, :span], values[run.row, None, :, :span]
            parts.append(_attend_run(query[:, :, offset:end], *held, mask, scale))
            offset = end
        return (parts[0] if len(parts) == 1 else torch.cat(parts))[None]

    def _decode(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """One new token per row; returns `[B, heads, head_dim]`."""
        heads, rows, size = query.shape
        kv_heads = keys.shape[1]
        keys[self._rows, :, self._positions] = key[0, :, :rows].transpose(0, 1)
        values[self._rows, :, self._positions] = value[0, :, :rows].transpose(0, 1)
        # The query heads that share a key head become query positions, so keys need not be repeated per query head.
        folded = query.transpose(0, 1).reshape(rows, kv_heads, heads // kv_heads, size)
        held = keys[:rows, :, : self._span], values[:rows, :, : self._span]
        mixed = scaled_dot_product_attention(folded, *held, attn_mask=self._decode_mask, scale=scale)
        return mixed.reshape(rows, heads, size)


def _attend_run(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Causal attention of one run `[1, heads, count, head_dim]`; returns `[count, heads, head_dim]`."""
    if mask is None:
        mixed = scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scale, enable_gqa=True)
    else:
        mixed = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale, enable_gqa=True)
    return mixed[0].transpose(0, 1)


def _additive(hidden: torch.Tensor) -> torch.Tensor:
    return torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))


def _future(run: Run) -> torch.Tensor:
    """Which of the row's positions each token of the run must not see: `[count, start + count]`."""
    return torch.arange(run.start + run.count)[None] > torch.arange(run.start, run.start + run.count)[:, None]


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    slot_layout: StepLayout,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The signature that transformers' attention modules call; `slot_layout` comes from the model's keyword."""
    assert attention_mask is None, "transformers builds no mask for an attention function it has no mask for"
    return slot_layout.attend(int(module.layer_idx), query, key, value, scaling), None


AttentionInterface.register(ATTENTION_NAME, _attention)
