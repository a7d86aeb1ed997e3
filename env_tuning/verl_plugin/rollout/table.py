"""The slots' state: what is known of every sequence, where its KV lies, and which sequence a prompt continues.

Owns: the arrays by slot, the order of rows, the search for a common prefix, and the choice of a slot (with eviction of
the one idle for longest). Refuses: the model, sampling, requests (`engine`).

Slots are names that stay; the row of `SlotMemory` that holds a slot's KV changes, so that the rows that decode are
always the first: `0 .. decoding-1` decode, the next `filling` are being filled, and the rest are idle, some with KV
kept for a later turn. Rows move by exchange when a slot changes its part, which is rare beside decoding steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from env_tuning.verl_plugin.rollout.slots import SlotMemory

NO_TOKEN = -1


class SlotTable:
    """State of every slot, as arrays indexed by slot.

    Attributes:
        tokens: Known tokens, prompt and output, `[slots, max_length]`.
        log_probs: Log-probability of each output token, at the token's place.
        uniforms: The numbers that will choose the output tokens, the first at 0.
        length: How many tokens are known.
        computed: How many of them have KV. A decoding slot lacks exactly one.
        prompt_length: Where the output begins.
        last_length: Where it ends at the latest.
        stoppable_from: Length beyond which a stop token or string may end it.
        temperature: As in `SamplingParams`; so are `top_k` and `top_p`.
        stop_ids: Stop tokens, filled up with `NO_TOKEN`.
        slot_at: Slot of each row, and `row_of` the row of each slot.
        decoding: How many slots decode.
        filling: How many slots are being filled.
        evicted: How often kept KV was given up for another episode.
    """

    def __init__(self, memory: SlotMemory, *, slots: int, max_length: int, min_shared: int, keep: bool) -> None:
        """Make empty slots.

        Args:
            memory: Where the rows lie.
            slots: How many.
            max_length: Most tokens of a sequence.
            min_shared: Shorter common prefixes are not worth copying.
            keep: Keep KV when a slot retires, and share prefixes.
        """
        self._memory, self._min_shared, self._keep = memory, min_shared, keep
        # Pages of `np.zeros` cost nothing until they are written, so full size is free here.
        self.tokens = np.zeros((slots, max_length), dtype=np.int64)
        self.log_probs = np.zeros((slots, max_length), dtype=np.float32)
        self.uniforms = np.zeros((slots, max_length), dtype=np.float32)
        self.length = np.zeros(slots, dtype=np.int64)
        self.computed = np.zeros(slots, dtype=np.int64)
        self.prompt_length = np.zeros(slots, dtype=np.int64)
        self.last_length = np.zeros(slots, dtype=np.int64)
        self.stoppable_from = np.zeros(slots, dtype=np.int64)
        self.temperature = np.zeros(slots, dtype=np.float32)
        self.top_k = np.zeros(slots, dtype=np.int64)
        self.top_p = np.ones(slots, dtype=np.float32)
        self.stop_ids = np.full((slots, 1), NO_TOKEN, dtype=np.int64)
        self.slot_at = np.arange(slots)
        self.row_of = np.arange(slots)
        self.decoding = 0
        self.filling = 0
        self.evicted = 0
        self._owner: list[str | None] = [None] * slots
        self._last_use = np.zeros(slots, dtype=np.int64)
        self._clock = itertools.count(1)

    @property
    def active(self) -> int:
        """How many slots have a request."""
        return self.decoding + self.filling

    @property
    def is_full(self) -> bool:
        """Whether every slot has a request."""
        return self.active == len(self.slot_at)

    def active_slots(self) -> list[int]:
        """Slots that have a request, in row order."""
        return self.slot_at[: self.active].tolist()

    def from_last_row(self, slots: Iterable[int]) -> list[int]:
        """The given slots, the last row's first: retired in this order, none is moved through another's row."""
        return sorted(map(int, slots), key=lambda slot: -self.row_of[slot])

    def set_stop_ids(self, slot: int, ids: tuple[int, ...]) -> None:
        """Set a slot's stop tokens; the table widens for the longest list."""
        have = self.stop_ids.shape[1]
        if len(ids) > have:
            self.stop_ids = np.pad(self.stop_ids, ((0, 0), (0, len(ids) - have)), constant_values=NO_TOKEN)
        self.stop_ids[slot] = NO_TOKEN
        self.stop_ids[slot, : len(ids)] = ids

    # Finding and taking a slot.

    def longest_prefix(self, prompt: np.ndarray) -> tuple[int, int]:
        """The slot whose tokens agree longest with the prompt, and for how many tokens; `(0, 0)` for none worth it.

        The prompt's last token never counts: it has to be computed, since its logits make the first output token.
        """
        limit, head = len(prompt) - 1, self._min_shared
        if not self._keep or limit < head:
            return 0, 0
        # Most slots differ from the prompt early; only those that do not are compared in full.
        held = np.nonzero(self.length >= head)[0]
        held = held[(self.tokens[held, :head] == prompt[:head]).all(1)]
        if not len(held):
            return 0, 0
        equal = self.tokens[held, :limit] == prompt[:limit]
        match = np.minimum(np.where(equal.all(1), limit, equal.argmin(1)), self.length[held])
        # Among equals: what is computed before what is not yet, and a slot this prompt continues before one to copy.
        ready = np.minimum(match, self.computed[held])
        continues = (self.computed[held] <= match) & (self.row_of[held] >= self.active)
        best = np.lexsort((continues, ready, match))[-1]
        return int(held[best]), int(match[best])

    def is_filling(self, slot: int) -> bool:
        """Whether a slot's prompt is still being computed."""
        return bool(self.decoding <= self.row_of[slot] < self.active)

    def take(self, owner: str, source: int, ready: int) -> int:
        """Make a slot one of those being filled, with the first `ready` tokens' KV taken from `source`.

        The slot is the source itself if the owner continues it, else a free slot, else the one idle for longest.
        """
        slot = self._choose(owner, source, ready)
        self._move(slot, self.active)
        if ready and slot != source:
            self._memory.reserve(self.active + 1, ready)
            self._memory.copy(int(self.row_of[source]), self.active, ready)
        self.computed[slot] = ready
        self._owner[slot] = owner
        self.filling += 1
        return slot

    def _choose(self, owner: str, source: int, ready: int) -> int:
        idle = self.slot_at[self.active :]
        if ready and self.row_of[source] >= self.active:
            continues = ready >= self.computed[source] or self._owner[source] == owner
            if continues or len(idle) == 1:
                return source
        others = idle[idle != source] if ready else idle
        slot = int(others[np.argmin(np.where(self.length[others] > 0, self._last_use[others], 0))])
        if self.length[slot]:
            self.evicted += 1
            self.free(slot)
        return slot

    # Changing parts.

    def start_decoding(self, slot: int) -> None:
        """From being filled to decoding."""
        self._move(slot, self.decoding)
        self.decoding += 1
        self.filling -= 1

    def retire(self, slot: int) -> None:
        """Make an active slot idle; the rows behind it close ranks."""
        if self.row_of[slot] < self.decoding:
            self._move(slot, self.decoding - 1)
            self.decoding -= 1
            self.filling += 1
        self._move(slot, self.active - 1)
        self.filling -= 1
        self._last_use[slot] = next(self._clock)
        # The last token was sampled but never computed: its KV is not there, so it is not part of what is kept.
        self.length[slot] = self.computed[slot]
        if not self._keep or not self.computed[slot]:
            self.free(slot)

    def free(self, slot: int) -> None:
        """Forget an idle slot's sequence."""
        self.length[slot] = self.computed[slot] = 0
        self._owner[slot] = None

    def spoil(self, slot: int) -> None:
        """Forget a slot's KV, and zero it, since it may hold numbers that are not finite."""
        self.computed[slot] = 0
        self._memory.wipe(int(self.row_of[slot]))

    def release(self, owner: str) -> None:
        """Free the idle slots of an episode."""
        for slot in self.slot_at[self.active :].tolist():
            if self._owner[slot] == owner:
                self.free(slot)

    def forget(self) -> None:
        """Forget all KV: idle slots become free, and active ones are filled again."""
        self.computed[:] = 0
        for slot in self.slot_at[self.active :].tolist():
            self.free(slot)
        self.filling += self.decoding
        self.decoding = 0

    def _move(self, slot: int, row: int) -> None:
        """Put a slot's KV into a row, and what was there into the slot's old row."""
        old = int(self.row_of[slot])
        if old == row:
            return
        other = int(self.slot_at[row])
        lengths = int(self.computed[slot]), int(self.computed[other])
        if any(lengths):
            self._memory.reserve(max(old, row) + 1, max(lengths))
            self._memory.exchange(old, lengths[0], row, lengths[1])
        self.slot_at[old], self.slot_at[row] = other, slot
        self.row_of[other], self.row_of[slot] = old, row
