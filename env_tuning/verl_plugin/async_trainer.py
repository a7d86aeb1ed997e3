"""verl's trainers that generate while they train, on any hardware.

Owns: their names, and a client that goes on where new weights interrupted it. Refuses: everything else; what `trainer`
does with episodes, gates and checkpoints is of the synchronous trainer. ``trainer.v1.trainer_mode`` chooses one:
``env_tuning_colocate_async`` or ``env_tuning_separate_async``.
"""

from __future__ import annotations

import logging

from omegaconf import DictConfig
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient

from env_tuning.verl_plugin.direct_client import DirectClient
from env_tuning.verl_plugin.hardware import OnAnyHardware

PREFIX = "env_tuning_"
"""Before verl's name of a mode: ours of the same with workers for any hardware."""


class ResumingDirectClient(FullyAsyncLLMServerClient, DirectClient):
    """A message that new weights interrupt is written to its end by them, and the loop does not notice."""


@register_trainer(PREFIX + "colocate_async")
class ColocateAsyncTrainer(OnAnyHardware, PPOTrainerColocateAsync):
    """Trainer and rollout take turns."""

    mode = "colocate_async"
    direct_client = ResumingDirectClient


@register_trainer(PREFIX + "separate_async")
class SeparateAsyncTrainer(OnAnyHardware, PPOTrainerSeparateAsync):
    """The rollout never waits for an update."""

    mode = "separate_async"
    direct_client = None  # servers come and go
    detached = True

    def __init__(self, config: DictConfig) -> None:
        # verl 0.9.1 passes `flush` to a line of this logger where actor_rollout_ref.hybrid_engine is false, and dies.
        logging.getLogger(PPOTrainerSeparateAsync.__module__).setLevel(logging.WARNING)
        super().__init__(config)
