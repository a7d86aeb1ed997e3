"""verl's task runner, which knows our trainer.

Owns: the moment at which the process that trains imports `trainer` and so registers it. Refuses: everything else.
On a CPU the object lives in the launched process itself, on GPU nodes verl makes it a Ray actor.
"""

from __future__ import annotations

from omegaconf import DictConfig
from verl.trainer.main_ppo import TaskRunnerV1

from env_tuning.verl_plugin import registration  # noqa: F401


class TaskRunner(TaskRunnerV1.__ray_metadata__.modified_class):  # type: ignore[misc, name-defined]
    """Runs one training job."""

    def run(self, config: DictConfig) -> None:
        """Train to the end."""
        from env_tuning.verl_plugin import trainer  # noqa: F401

        super().run(config)
