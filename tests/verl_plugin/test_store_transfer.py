"""Weights that travel through a store arrive as they left, in buckets of any size, at every rollout worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

pytest.importorskip("verl")
import torch

from env_tuning.verl_plugin.store_transfer import StoreCheckpointEngine

WEIGHTS = {
    "embedding": torch.arange(12.0).reshape(3, 4),
    "bias": torch.tensor([1.5, -2.0]),
    "half": torch.ones(5, dtype=torch.bfloat16),
}


def transfer(bucket: int, *, receivers: int, senders: int = 1) -> list[dict[str, torch.Tensor]]:
    """What every receiver gets, as verl's `CheckpointEngineManager` drives the two sides."""
    actors = [StoreCheckpointEngine(bucket_size=bucket, is_master=rank == 0) for rank in range(senders)]
    rollouts = [StoreCheckpointEngine(bucket_size=bucket) for _ in range(receivers)]
    metadata = [engine.prepare() for engine in (*actors, *rollouts)]
    topologies = StoreCheckpointEngine.build_topology(senders, receivers, metadata)
    for engines, topology in zip((actors, rollouts), topologies, strict=True):
        for engine, place in zip(engines, topology["place"], strict=True):
            engine.init_process_group(place=place)

    async def send(engine: StoreCheckpointEngine) -> int:
        taken: list[str] = []
        await engine.send_weights((taken.append(name) or (name, weight)) for name, weight in WEIGHTS.items())
        return len(taken)

    async def receive(engine: StoreCheckpointEngine) -> dict[str, torch.Tensor]:
        return {name: tensor async for name, tensor in engine.receive_weights()}

    async def both() -> tuple[Sequence[int], list[dict[str, torch.Tensor]]]:
        return (
            [await send(engine) for engine in actors],
            [await receive(engine) for engine in rollouts],
        )

    taken, received = asyncio.run(both())
    assert set(taken) == {len(WEIGHTS)}, "gathering a weight is a collective: every rank takes every one"
    for engine in (*rollouts, *actors):
        engine.finalize()
    return received


@pytest.mark.parametrize("bucket", [1, 40, 1 << 20])
def test_every_receiver_gets_every_weight(bucket: int) -> None:
    for received in transfer(bucket, receivers=2, senders=2):
        assert received.keys() == WEIGHTS.keys()
        assert all(torch.equal(received[name], weight) for name, weight in WEIGHTS.items())
        assert all(received[name].dtype == weight.dtype for name, weight in WEIGHTS.items())


def test_the_next_transfer_starts_anew() -> None:
    assert [len(transfer(1 << 20, receivers=1)[0]) for _ in range(2)] == [3, 3]
