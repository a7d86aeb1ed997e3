"""What vLLM's worker process gets from verl, and what the CPU build needs besides, to take new weights.

Owns: the two differences of a weight update. Refuses: carrying and loading weights, which are verl's and vLLM's.

vLLM on a CPU packs the weight of every linear layer for oneDNN and drops the original; verl's loading then meets an
empty parameter. And verl's sender waits for an answer to every bucket, for ever if loading one raises.
"""

from __future__ import annotations

import gc
from typing import Any

import torch
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension
from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info
from vllm.model_executor.model_loader.reload.meta import materialize_meta_tensor
from vllm.model_executor.model_loader.reload.sanitize import restore_layer_refs


class CpuWorkerExtension(vLLMColocateWorkerExtension):
    """verl/workers/rollout/vllm_rollout/utils.py, around one method of which two things happen."""

    _failure: str | None = None

    def update_weights_from_ipc(self, *args: Any, **kwargs: Any) -> None:
        """Take a full set of weights and pack them again.

        Raises:
            RuntimeError: loading them failed, which is told after the sender got its answers. Until a full set has
                come, the engine is of no use.
        """
        self._failure = None
        for model in self._iter_all_models():
            unpack(model)
        super().update_weights_from_ipc(*args, **kwargs)
        if self._failure is not None:
            raise RuntimeError(f"the weights do not fit the rollout's model: {self._failure}")

    def _update_weights(self, *args: Any, **kwargs: Any) -> None:
        if self._failure is not None:
            return
        try:
            super()._update_weights(*args, **kwargs)
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
        if self._failure is not None:
            # Its frames hold views of the shared memory, which cannot be closed as long as there are any.
            gc.collect()


def unpack(model: torch.nn.Module) -> None:
    """Give every layer whose weight was packed away a parameter of the shape and loader it had before.

    vLLM remembers those of every layer for weights that are loaded again (model_executor/model_loader/reload).
    """
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.numel():
            continue
        parameters, _ = get_layerwise_info(layer).restore_metadata
        if "weight" not in parameters:
            continue
        empty = materialize_meta_tensor(restore_layer_refs(parameters["weight"], layer))
        # A weight that nobody sends must not pass for one.
        layer.register_parameter("weight", empty.fill_(torch.nan))
