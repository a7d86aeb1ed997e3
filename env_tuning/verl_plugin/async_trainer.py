"""verl's trainer that generates while it trains, on one set of processors, on any hardware.

Owns: the choice of CPU workers and of a client that goes on where new weights interrupted it. Refuses: everything else;
what `trainer` does with episodes, gates and checkpoints is of the synchronous trainer.
``trainer.v1.trainer_mode=env_tuning_colocate_async`` chooses it.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient

from env_tuning.verl_plugin import registration  # noqa: F401  (this process starts the rollout replicas)
from env_tuning.verl_plugin.direct_client import DirectClient
from env_tuning.verl_plugin.loop_workers import LOCAL_LOOPS
from env_tuning.verl_plugin.trainer import POLL_SECONDS, use_cpu_workers

NAME = "env_tuning_colocate_async"


class ResumingDirectClient(FullyAsyncLLMServerClient, DirectClient):
    """A message that new weights interrupt is written to its end by them, and the loop does not notice."""


@register_trainer(NAME)
class ColocateAsyncTrainer(PPOTrainerColocateAsync):
    """verl's ``colocate_async``."""

    def __init__(self, config: DictConfig) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = "colocate_async"  # verl reads this mode's settings by the name
        super().__init__(config)

    def _build_replay_buffer(self) -> Any:
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = POLL_SECONDS
        return buffer

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if self.config.trainer.device == "cpu":
            use_cpu_workers(self.role_worker_mapping)

    def get_llm_client(self) -> LLMServerClient:
        """The client of the agent loops."""
        servers = self.llm_server_manager
        if self.config.actor_rollout_ref.rollout.agent.agent_loop_manager_class != LOCAL_LOOPS:
            return super().get_llm_client()
        return servers.get_client(
            client_cls=ResumingDirectClient,
            servers=dict(zip(servers.server_addresses, servers.server_handles, strict=True)),
        )
