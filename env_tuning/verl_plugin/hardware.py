"""What verl's trainers need to run on any hardware, whatever their mode.

Owns: verl's name of the mode, CPU workers in the place of verl's, a quick poll, the client of the agent loops. Refuses:
what a trainer does with what it trains on (`trainer`, `async_trainer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ray
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.utils import Role
from verl.workers.rollout.llm_server import LLMServerClient

from env_tuning.verl_plugin import registration  # noqa: F401  (this process starts the rollout replicas)
from env_tuning.verl_plugin.direct_client import DirectClient
from env_tuning.verl_plugin.loop_workers import LOCAL_LOOPS

if TYPE_CHECKING:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer as _Base
else:
    _Base = object

POLL_SECONDS = 0.05
"""Between two looks for finished episodes; verl's default is 2 s, which a small step would mostly wait for."""


class OnAnyHardware(_Base):
    """Stands before one of verl's trainers."""

    mode: ClassVar[str]
    """verl's name of the trainer's mode."""

    direct_client: ClassVar[type[DirectClient] | None] = DirectClient
    """What agent loops in the trainer's own process speak to the servers with; None: as verl's trainer chooses."""

    detached: ClassVar[bool] = False
    """Whether the actor trains apart from the rollout."""

    def __init__(self, config: DictConfig) -> None:
        with open_dict(config):
            # verl/trainer/ppo/v1 tests `trainer_mode != "sync"` in many places and takes every other name for an
            # asynchronous mode (another buffer, another checkpoint format), whose settings it reads by that name.
            config.trainer.v1.trainer_mode = self.mode
        super().__init__(config)

    def _build_replay_buffer(self) -> Any:
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = POLL_SECONDS
        return buffer

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if self.config.trainer.device == "cpu":
            use_cpu_workers(self.role_worker_mapping, detached=self.detached)

    def get_llm_client(self) -> LLMServerClient:
        """The client of the agent loops."""
        agent = self.config.actor_rollout_ref.rollout.agent
        if self.direct_client is None or agent.agent_loop_manager_class != LOCAL_LOOPS:
            return super().get_llm_client()
        servers = self.llm_server_manager
        return servers.get_client(
            client_cls=self.direct_client,
            servers=dict(zip(servers.server_addresses, servers.server_handles, strict=True)),
        )


def use_cpu_workers(mapping: dict[Role, Any], *, detached: bool) -> None:
    """Put workers for machines without a GPU in the place of verl's."""
    # Here, for a trainer on GPUs has no use for the engines that this import registers.
    from env_tuning.verl_plugin import workers

    actor = workers.CpuDetachActorWorker if detached else workers.CpuActorRolloutRefWorker
    for role in mapping:
        mapping[role] = ray.remote(workers.CpuTrainingWorker if role == Role.Critic else actor)
