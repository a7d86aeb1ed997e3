"""verl's trainers that generate while they train, on any hardware.

Owns: the choice of CPU workers, and of a client that goes on where new weights interrupted it. Refuses: everything
else; what `trainer` does with episodes, gates and checkpoints is of the synchronous trainer.
``trainer.v1.trainer_mode`` chooses one: ``env_tuning_colocate_async`` or ``env_tuning_separate_async``.
"""

from __future__ import annotations

import logging
from typing import Any

import ray
from omegaconf import DictConfig, open_dict
from verl.experimental.separation.engine_workers import DetachActorWorker
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient

from env_tuning.verl_plugin import registration  # noqa: F401  (this process starts the rollout replicas)
from env_tuning.verl_plugin.direct_client import DirectClient
from env_tuning.verl_plugin.loop_workers import LOCAL_LOOPS
from env_tuning.verl_plugin.trainer import POLL_SECONDS, use_cpu_workers
from env_tuning.verl_plugin.workers import CpuActorRolloutRefWorker

PREFIX = "env_tuning_"
"""Before verl's name of a mode: ours of the same with workers for any hardware."""


class ResumingDirectClient(FullyAsyncLLMServerClient, DirectClient):
    """A message that new weights interrupt is written to its end by them, and the loop does not notice."""


class CpuDetachActorWorker(CpuActorRolloutRefWorker, DetachActorWorker):
    """One rank of the actor that trains apart from the rollout."""


class _OnAnyHardware:
    """What both modes need besides verl's own trainer."""

    mode: str
    """verl's name; it reads the mode's settings by it."""

    def __init__(self, config: DictConfig) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = self.mode
        super().__init__(config)  # type: ignore[call-arg]

    def _build_replay_buffer(self) -> Any:
        buffer = super()._build_replay_buffer()  # type: ignore[misc]
        buffer.poll_interval = POLL_SECONDS
        return buffer

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()  # type: ignore[misc]
        if self.config.trainer.device == "cpu":  # type: ignore[attr-defined]
            use_cpu_workers(self.role_worker_mapping)  # type: ignore[attr-defined]


@register_trainer(PREFIX + "colocate_async")
class ColocateAsyncTrainer(_OnAnyHardware, PPOTrainerColocateAsync):
    """Trainer and rollout take turns."""

    mode = "colocate_async"

    def get_llm_client(self) -> LLMServerClient:
        """The client of the agent loops."""
        servers = self.llm_server_manager
        if self.config.actor_rollout_ref.rollout.agent.agent_loop_manager_class != LOCAL_LOOPS:
            return super().get_llm_client()
        return servers.get_client(
            client_cls=ResumingDirectClient,
            servers=dict(zip(servers.server_addresses, servers.server_handles, strict=True)),
        )


@register_trainer(PREFIX + "separate_async")
class SeparateAsyncTrainer(_OnAnyHardware, PPOTrainerSeparateAsync):
    """The rollout never waits for an update."""

    mode = "separate_async"

    def __init__(self, config: DictConfig) -> None:
        # verl 0.9.1 passes `flush` to a line of this logger where actor_rollout_ref.hybrid_engine is false, and dies.
        logging.getLogger(PPOTrainerSeparateAsync.__module__).setLevel(logging.WARNING)
        super().__init__(config)

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if self.config.trainer.device == "cpu":
            for role in self.role_worker_mapping:
                if role != Role.Critic:
                    self.role_worker_mapping[role] = ray.remote(CpuDetachActorWorker)
