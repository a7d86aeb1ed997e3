"""Weights over TCP, from training workers to rollout servers that live elsewhere, without an accelerator.

Owns: a checkpoint engine of verl's registry, ``checkpoint_engine.backend=store``. Refuses: speed; on GPUs the weights
travel over NCCL. A bucket is one safetensors block in the store, so nothing that arrives is unpickled.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any

import ray
import torch
from safetensors.torch import load, save
from torch.distributed import TCPStore
from verl.checkpoint_engine.base import CheckpointEngine, CheckpointEngineRegistry

BACKEND = "store"

_PATIENCE = timedelta(minutes=10)
"""How long a bucket is waited for: as long as the sender takes to gather a model."""

_LAST = "last"


@CheckpointEngineRegistry.register(BACKEND)
class StoreCheckpointEngine(CheckpointEngine):
    """The first training worker writes buckets into a store that it holds; every rollout worker reads all of them.

    Args:
        bucket_size: of a bucket, in bytes; one tensor larger than that is a bucket of its own.
        is_master: whether this is the first training worker.
    """

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self._limit, self._is_master = bucket_size, is_master
        self._store: TCPStore | None = None

    def prepare(self) -> tuple[str, int] | None:
        """Open the store; returns where it listens, for the first training worker."""
        if not self._is_master:
            return None
        host = ray.util.get_node_ip_address()
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_PATIENCE)
        return host, self._store.port

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: Sequence[tuple[str, int] | None]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """Tell rollout workers where the store is; training workers need not know."""
        return {"place": [None] * actor_wg_world_size}, {"place": [metadata[0]] * rollout_world_size}

    def init_process_group(self, place: tuple[str, int] | None) -> None:
        """Connect to the store."""
        if place is not None:
            self._store = TCPStore(*place, is_master=False, wait_for_workers=False, timeout=_PATIENCE)

    def finalize(self) -> None:
        """Close the store, and with it what it holds."""
        self._store = None

    async def send_weights(self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None) -> None:
        """Write all weights. Every rank takes every item, because gathering a sharded tensor is a collective."""
        bucket: dict[str, torch.Tensor] = {}
        size, number = 0, 0
        for name, weight in weights:
            if self._store is None:
                continue
            # A copy: tied weights share memory, which safetensors refuses.
            bucket[name] = weight.detach().cpu().clone().contiguous()
            size += weight.nbytes
            if size >= self._limit:
                self._store.set(str(number), save(bucket))
                bucket, size, number = {}, 0, number + 1
        if self._store is not None:
            self._store.set(_LAST, str(number))  # first, so that whoever reads the last bucket knows that it is
            self._store.set(str(number), save(bucket))

    async def receive_weights(self, global_steps: int | None = None) -> AsyncIterator[tuple[str, torch.Tensor]]:
        """Names and tensors, as they were sent."""
        assert self._store is not None, "init_process_group comes first"
        for number in itertools.count():
            for item in load(self._store.get(str(number))).items():
                yield item
            if self._store.check([_LAST]) and int(self._store.get(_LAST)) == number:
                return
