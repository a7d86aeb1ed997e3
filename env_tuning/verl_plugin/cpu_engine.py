"""verl's FSDP2 engines on a CPU.

Owns: the engines verl lacks for the device "cpu", and the saving that matters there: logits only where the loss looks.
Refuses: process groups and workers (`workers`). FSDP1 cannot work here: it broadcasts module states and refuses CPU
parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils import torch_functional as verl_functional
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead, FSDPEngineWithValueHead


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
    """Actor and reference policy, with logits for trained tokens only.

    In a multi-turn episode most tokens are prompts and tool results, whose log-probabilities the response mask throws
    away. For a small model the vocabulary is most of the work: without them a step's update costs half (measured for
    600 thousand parameters, 4,096 pieces and a quarter of the tokens trained). The other positions report 0, which
    nothing reads.
    """

    _selected: torch.Tensor | None = None
    """(rows, longest) bool: the positions whose logits are wanted; None for all."""

    def _build_module(self) -> torch.nn.Module:
        module = super()._build_module()
        module.get_output_embeddings().register_forward_pre_hook(self._keep_selected)
        return module

    def _keep_selected(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if self._selected is None:
            return inputs
        return (inputs[0][self._selected].unsqueeze(0), *inputs[1:])

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        """See the base class; also notes which positions predict a trained token."""
        inputs, arguments = super().prepare_model_inputs(micro_batch)
        self._selected = None
        mask = inputs["attention_mask"]
        if mask is not None and inputs["position_ids"].dim() == 2:
            # Rows are padded on the right, where a causal model never looks from a real token: without the mask
            # attention takes its causal kernel, which halves the work (1.8 times faster forward and backward at
            # 1,600 tokens). Padded positions count on, because a position of 0 would mean a packed second sequence.
            inputs["position_ids"] = torch.arange(mask.size(1)).expand(mask.shape)
            inputs["attention_mask"] = None
        plain = ("use_fused_kernels", "calculate_sum_pi_squared", "distillation_use_topk", "distillation_only")
        if (
            "response_mask" in micro_batch.keys()  # noqa: SIM118  (a TensorDict iterates over rows)
            and not tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True)
            and not any(tu.get_non_tensor_data(data=micro_batch, key=key, default=False) for key in plain)
        ):
            self._selected = predicting_positions(micro_batch["input_ids"], micro_batch["response_mask"])
        return inputs, arguments

    def prepare_model_outputs(
        self, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, torch.Tensor]:
        """See the base class."""
        selected = self._selected
        if selected is None:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        offsets = micro_batch["input_ids"].offsets()
        lengths = offsets.diff()
        present = torch.arange(selected.size(1)) < lengths.unsqueeze(1)
        flat = selected[present]
        logits = output.logits.squeeze(0)
        if not output_args.get("temperature_is_one", False):
            logits = logits / output_args["temperature"].repeat_interleave(lengths)[flat].unsqueeze(-1)
        labels = output_args["input_ids_rmpad_rolled"][flat]

        def spread(values: torch.Tensor) -> torch.Tensor:
            everywhere = values.new_zeros(flat.numel()).masked_scatter(flat, values)
            return torch.nested.nested_tensor_from_jagged(everywhere, offsets)

        entropy = tu.get_non_tensor_data(data=micro_batch, key="calculate_entropy", default=False)
        # An in-place backward would overwrite the logits that the entropy's backward still needs.
        log_probs = verl_functional.logprobs_from_logits(logits, labels, inplace_backward=not entropy)
        result = {"log_probs": spread(log_probs)}
        if entropy:
            result["entropy"] = spread(verl_functional.entropy_from_logits(logits))
        return result


def predicting_positions(input_ids: torch.Tensor, response_mask: torch.Tensor) -> torch.Tensor:
    """Which positions predict a trained token.

    Args:
        input_ids: jagged, prompts and responses.
        response_mask: jagged, responses only; 1 on trained tokens.

    Returns:
        (rows, longest) bool. Position p predicts token p + 1, so the last position never counts.
    """
    lengths = input_ids.offsets().diff().tolist()
    selected = torch.zeros(len(lengths), max(lengths), dtype=torch.bool)
    for row, (length, mask) in enumerate(zip(lengths, response_mask.unbind(), strict=True)):
        start = length - mask.numel()
        selected[row, start - 1 : length - 1] = mask.bool()
    return selected


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
