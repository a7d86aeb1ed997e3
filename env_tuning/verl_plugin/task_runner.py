"""verl's task runner, which knows our trainer; and one for a single machine.

Owns: the moment at which the process that trains imports `trainer` and so registers it. Refuses: everything else. On
GPU nodes verl makes `TaskRunner` a Ray actor; on a CPU `LocalTaskRunner` lives in the launched process itself.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from verl.trainer.main_ppo import TaskRunnerV1
from verl.utils.logging_utils import configure_verl_logging

from env_tuning.verl_plugin import registration  # noqa: F401
from env_tuning.verl_plugin.loop_workers import LocalLoops


class TaskRunner(TaskRunnerV1.__ray_metadata__.modified_class):  # type: ignore[misc, name-defined]
    """Runs one training job."""

    def run(self, config: DictConfig) -> None:
        """Train to the end."""
        from env_tuning.verl_plugin import async_trainer, trainer  # noqa: F401

        super().run(config)


class LocalTaskRunner(TaskRunner):
    """Runs it in this process, beside what `head_start` began.

    Args:
        begun: done when TransferQueue can be used.
    """

    def __init__(self, begun: Future[Any]) -> None:
        super().__init__()
        self._begun = begun

    def run(self, config: DictConfig) -> None:
        """Train to the end; the configuration goes to ``config.yaml`` of the output folder, not to the log."""
        configure_verl_logging()
        from verl.trainer.ppo.v1 import get_trainer_cls

        from env_tuning.verl_plugin import async_trainer, trainer  # noqa: F401

        folder = Path(config.env_tuning.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "config.yaml")
        self.config = config
        succeeded = False
        try:
            self.trainer = get_trainer_cls(config.trainer.v1.trainer_mode)(config=config)
            self.trainer.init()
            self._begun.result()
            self.init_agent_loop_manager()
            self.trainer.fit(self.agent_loop_manager)
            succeeded = True
        finally:
            if isinstance(self.agent_loop_manager, LocalLoops):
                self.agent_loop_manager.stop()
            tracking = getattr(self.trainer, "logger", None)
            if tracking is not None:
                tracking.finish(exit_code=0 if succeeded else 1)
