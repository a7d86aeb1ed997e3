"""verl's side of the transformers rollout: a replica that starts servers, and an adapter that sends them weights.

Owns: everything of the rollout that imports verl, and the name `transformers` in verl's registries. Refuses: how a
server is made (`launch`); generation (`server`, `engine`).

A replica is one server actor, named after its rank so that the trainer's workers find it. verl gives every replica
`tensor_model_parallel_size * data_parallel_size * pipeline_model_parallel_size` workers; the first of them, the leader,
talks to the server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from typing import Any

import numpy as np
import ray
import torch
from ray.actor import ActorHandle
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry
from verl.workers.rollout.utils import ensure_async_iterator

from env_tuning.verl_plugin.rollout.launch import ROLLOUT_NAME, actor_name, start_server, workers_of_replica


def register() -> None:
    """Make `actor_rollout_ref.rollout.name=transformers` known to verl. May be called again."""
    # A private dict, but verl 0.9.1 has no other way in (workers/rollout/base.py).
    _ROLLOUT_REGISTRY[(ROLLOUT_NAME, "async")] = f"{__name__}.ServerAdapter"
    RolloutReplicaRegistry.register(ROLLOUT_NAME, lambda: TransformersReplica)


class TransformersReplica(RolloutReplica):
    """One server actor."""

    async def launch_servers(self) -> None:
        """Start the server and wait until its model is built."""
        role = "_reward" if self.is_reward_model else "_teacher" if self.is_teacher_model else ""
        suffix = f"{role}{self.name_suffix}"
        server = start_server(self.config, self.model_config, self.replica_rank, suffix)
        process = await server.ready.remote()
        self.servers = [server]
        self._server_handle = server
        # There is no HTTP endpoint; verl uses the address as the key of its load balancer, so it must be unique.
        self._server_address = f"{ray.util.get_node_ip_address()}:{process}/{self.replica_rank}"

    def rollout_worker_use_gpu(self) -> bool:
        """False: nothing of this rollout touches an accelerator."""
        return False


class ServerAdapter(BaseRollout):
    """Lives in a trainer worker and passes weights, sleep and waking to the replica's server."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1, **_: Any) -> None:
        super().__init__(config, model_config, device_mesh)
        workers = workers_of_replica(self.config)
        rank = int(os.environ["RANK"])
        self._replica_rank = rank // workers if replica_rank == -1 else replica_rank
        self._is_leader = rank % workers == 0
        self._handle: ActorHandle | None = None
        # verl's worker reads and sets this (engine_workers.py); 1 means that weights outlive a sleep.
        self.sleep_level = 1

    @property
    def _server(self) -> ActorHandle:
        # Found late: verl builds the workers before the servers.
        if self._handle is None:
            self._handle = ray.get_actor(actor_name(self._replica_rank))
        return self._handle

    async def resume(self, tags: list[str]) -> None:
        """Wake the server for `weights` or `kv_cache`."""
        if self._is_leader:
            await self._server.wake_up.remote(tags)

    async def release(self) -> None:
        """Put the server to sleep."""
        if self._is_leader:
            await self._server.sleep.remote()

    async def update_weights(
        self,
        weights: Any,
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        peft_config: Any = None,
        **_: Any,
    ) -> None:
        """Send a full set of weights, in buckets of `checkpoint_engine.update_weights_bucket_megabytes`.

        Raises:
            ValueError: verl offers deltas, or a LoRA adapter instead of merged weights.
            ray.exceptions.RayTaskError: The server's model does not accept the set, and kept its old weights.
        """
        if wire_format != "named_tensors":
            raise ValueError(f"rollout.name=transformers takes full weights, not {wire_format!r}")
        if peft_config is not None:
            raise ValueError("rollout.name=transformers takes merged weights; set model.lora.merge=True")
        limit = self.config.checkpoint_engine.update_weights_bucket_megabytes << 20
        bucket: list[tuple[str, np.ndarray]] = []
        size = 0
        if self._is_leader:
            await self._server.drop_staged_weights.remote()
        # Every rank takes every item, because gathering a sharded tensor is a collective; only the leader sends.
        async for name, array in _arrays(weights, keep=self._is_leader):
            bucket.append((name, array))
            size += array.nbytes
            if size >= limit:
                await self._server.load_weights.remote(bucket, global_steps, final=False)
                bucket, size = [], 0
        if self._is_leader:
            await self._server.load_weights.remote(bucket, global_steps, final=True)


async def _arrays(weights: Iterable[Any], *, keep: bool) -> AsyncIterator[tuple[str, np.ndarray]]:
    """Names and fp32 arrays on the CPU; nothing, but every item taken, if not `keep`."""
    async for name, tensor in ensure_async_iterator(weights):
        if keep:
            yield name, tensor.detach().to("cpu", torch.float32).numpy()
