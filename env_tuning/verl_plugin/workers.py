"""Training workers on a CPU: FSDP2 over gloo.

Owns: the engines verl lacks for the device "cpu" and worker classes that bring the process group up. Refuses: what
is trained and when (`trainer`). FSDP1 cannot work here: it broadcasts module states and refuses CPU parameters.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from verl.utils.distributed import initialize_global_process_group_ray
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead, FSDPEngineWithValueHead
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from env_tuning.verl_plugin import registration  # noqa: F401  (this process builds a rollout, too)


class _NoPinnedMemory:
    """No off-loading of the reference policy.

    verl/workers/engine/fsdp/transformer_impl.py gives every forward-only FSDP2 module a
    ``CPUOffloadPolicy(pin_memory=True)``; pinning needs an accelerator, and there is nowhere to off-load to.
    """

    engine_config: Any

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        config, forward_only = self.engine_config, self.engine_config.forward_only
        object.__setattr__(config, "forward_only", False)  # the dataclass is frozen
        try:
            return super()._build_fsdp_module(module)  # type: ignore[misc]
        finally:
            object.__setattr__(config, "forward_only", forward_only)


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")
class CpuLanguageModelEngine(_NoPinnedMemory, FSDPEngineWithLMHead):
    """Actor and reference policy."""


@EngineRegistry.register(model_type="value_model", backend=["fsdp", "fsdp2"], device="cpu")
class CpuValueModelEngine(_NoPinnedMemory, FSDPEngineWithValueHead):
    """Critic."""

    def _build_module(self) -> torch.nn.Module:
        # verl/utils/model.py:load_valuehead_model hard-codes flash_attention_2.
        from transformers import AutoModelForTokenClassification

        config = self.model_config.hf_config
        config.num_labels, config.classifier_dropout = 1, 0.0
        config.hidden_dropout, config.summary_dropout_prob = "0", 0.0
        module = AutoModelForTokenClassification.from_pretrained(
            self.model_config.local_path, dtype=torch.float32, config=config, attn_implementation="sdpa"
        )
        if self.model_config.enable_gradient_checkpointing:
            module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return module


def join_process_group() -> None:
    """Start gloo before verl does.

    verl/utils/distributed.py asks for ``cpu:gloo,<device>:<backend>``, which torch refuses when the device is the
    CPU itself; it leaves a group that exists alone.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
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
