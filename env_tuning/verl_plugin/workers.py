"""Training workers on a CPU: processes joined by gloo.

Owns: worker classes that bring the process group up, and the import that registers the engines. Refuses: what is
computed (`cpu_engine`), what is trained and when (`trainer`).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from verl.experimental.separation.engine_workers import DetachActorWorker
from verl.utils.distributed import initialize_global_process_group_ray
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from env_tuning.verl_plugin import (
    cpu_engine,  # noqa: F401
    registration,  # noqa: F401  (this process builds a rollout, too)
)

DETERMINISTIC_VARIABLE = "ENV_TUNING_DETERMINISTIC"
"""Set to 1 by `main` for ``env_tuning.deterministic``: verl gives its workers no key of ours."""


def join_process_group() -> None:
    """Start gloo before verl does.

    verl/utils/distributed.py asks for ``cpu:gloo,<device>:<backend>``, which torch refuses when the device is the
    CPU itself; it leaves a group that exists alone.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if os.environ.get(DETERMINISTIC_VARIABLE) == "1":
        torch.use_deterministic_algorithms(True, warn_only=True)
    initialize_global_process_group_ray(backend="cpu:gloo")


class CpuTrainingWorker(TrainingWorker):
    """One rank of a model engine."""

    def __init__(self, config: Any) -> None:
        join_process_group()
        super().__init__(config)


class CpuActorRolloutRefWorker(ActorRolloutRefWorker):
    """One rank of actor, rollout and reference policy."""

    actor_worker_cls = CpuTrainingWorker
    ref_worker_cls = CpuTrainingWorker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        join_process_group()


class CpuDetachActorWorker(CpuActorRolloutRefWorker, DetachActorWorker):
    """One rank of the actor that trains apart from the rollout."""
