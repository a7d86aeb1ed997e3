"""Arithmetic of memory: what a model needs per GPU while it trains and while it generates.

Owns: `ModelShape` with its number of parameters, the formulas, the table that `env-tuning doctor --memory` prints, and
what would make a model fit.
Refuses: measuring. The formulas are those of verl 0.9.1's FSDP engine with the settings of `configs/`; they leave out
fragmentation, the CUDA context and buffers of communication, so a model that just fits here need not fit there.

- States: verl trains fp32 weights (workers/engine/fsdp/transformer_impl.py: ``torch.float32 if not forward_only``), so
  weights, gradients and Adam's two moments are 4 + 4 + 8 bytes a parameter, split over all GPUs. The reference model
  waits in the host's memory (FSDP's off-loading of modules that only go forward).
- Gathered: FSDP makes one layer whole at a time and fetches the next one meanwhile, and the embeddings of the root
  module stay whole for the step; weights and gradients in bf16, 2 + 2 bytes.
- Activations: with checkpointing, the input of every layer (2 bytes a number) and all of one layer, for the tokens of a
  micro-batch. Logits are left out where the kernels that never write them are on (``use_fused_kernels``), else they are
  10 bytes a token and word: bf16, an fp32 copy, and its gradient.
- Generation: bf16 weights split by tensor parallelism, and a cache of keys and values, 2 x layers x heads x size x 2
  bytes a token.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from env_tuning.doctor.machine import GIB
from env_tuning.text_table import aligned

STATE_BYTES = 16
"""Per trained parameter: weight, gradient and two moments in fp32."""
CHECKPOINT_BYTES = 16
"""Per parameter on disk: fp32 weights, two moments, and the Hugging Face folder in fp32 at most."""
_GATHERED_BYTES = 4
_LOGIT_BYTES = 10

_QUERY_BIAS = frozenset({"qwen2"})
_HEAD_NORMS = frozenset({"qwen3"})
KNOWN_KINDS = frozenset({"llama", "mistral", "qwen2", "qwen3"})


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a dense decoder, as its ``config.json`` names them."""

    kind: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    words: int
    tied: bool
    positions: int | None = None

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> ModelShape | None:
        """Read a ``config.json``; None for kinds of model whose parameters are not counted here."""
        if config.get("model_type") not in KNOWN_KINDS:
            return None
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        return cls(
            kind=str(config["model_type"]),
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            inner=int(config["intermediate_size"]),
            words=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            positions=config.get("max_position_embeddings"),
        )

    @property
    def layer_parameters(self) -> int:
        """Of one decoder layer."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = self.hidden * (2 * queries + 2 * keys)
        attention += queries + 2 * keys if self.kind in _QUERY_BIAS else 0
        attention += 2 * self.head_size if self.kind in _HEAD_NORMS else 0
        return attention + 3 * self.hidden * self.inner + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Of the embeddings, and of the output layer if it has its own."""
        return self.words * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return self.layers * self.layer_parameters + self.embedding_parameters + self.hidden

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token in bf16."""
        return 2 * self.layers * self.kv_heads * self.head_size * 2


def _qwen(layers: int, hidden: int, heads: int, kv_heads: int, inner: int, words: int, *, tied: bool) -> ModelShape:
    return ModelShape(
        kind="qwen2", layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, head_size=hidden // heads,
        inner=inner, words=words, tied=tied,
    )  # fmt: skip


SIZES: Mapping[str, ModelShape] = MappingProxyType(
    {
        "0.5B": _qwen(24, 896, 14, 2, 4864, 151936, tied=True),
        "1.5B": _qwen(28, 1536, 12, 2, 8960, 151936, tied=True),
        "3B": _qwen(36, 2048, 16, 2, 11008, 151936, tied=True),
        "7B": _qwen(28, 3584, 28, 4, 18944, 152064, tied=False),
        "14B": _qwen(48, 5120, 40, 8, 13824, 152064, tied=False),
        "32B": _qwen(64, 5120, 40, 8, 27648, 152064, tied=False),
    }
)
"""The models of the Qwen2.5 family, whose descriptions (config.json of the hub) these numbers are."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a configuration makes of a model.

    Attributes:
        gpus: that share the training states.
        tokens: of a micro-batch on one GPU.
        sequence: the longest episode in tokens, prompt and response.
        tensor_parallel: GPUs that share one rollout engine.
        share: of a GPU's memory that the rollout engine takes.
        offload: whether weights and moments leave the GPU while it generates.
        fused: whether logits are never written out.
    """

    gpus: int
    tokens: int
    sequence: int
    tensor_parallel: int = 1
    share: float = 0.75
    offload: bool = False
    fused: bool = True

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Load:
        """What a composed configuration says."""
        actor, rollout = config["actor_rollout_ref"]["actor"], config["actor_rollout_ref"]["rollout"]
        fsdp, model = actor["fsdp_config"], config["actor_rollout_ref"]["model"]
        return cls(
            gpus=int(config["trainer"]["n_gpus_per_node"]) * int(config["trainer"]["nnodes"]),
            tokens=int(actor["ppo_max_token_len_per_gpu"]),
            sequence=int(config["data"]["max_prompt_length"]) + int(config["data"]["max_response_length"]),
            tensor_parallel=int(rollout["tensor_model_parallel_size"]),
            share=float(rollout["gpu_memory_utilization"]),
            offload=bool(fsdp["param_offload"]) and bool(fsdp["optimizer_offload"]),
            fused=bool(model["use_fused_kernels"]),
        )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes per GPU."""

    states: int
    gathered: int
    activations: int
    logits: int
    resting: int
    """Of training, while it generates."""
    rollout_weights: int
    cache_per_sequence: int

    @property
    def training(self) -> int:
        """The most that an update takes."""
        return self.states + self.gathered + self.activations + self.logits

    def sequences(self, load: Load, memory: int) -> int:
        """How many longest episodes the rollout engine holds at once on a GPU; 0 if not even the weights fit."""
        room = min(int(load.share * memory), memory - self.resting) - self.rollout_weights
        return max(0, room // self.cache_per_sequence)

    def fits(self, load: Load, memory: int) -> bool:
        """Whether an update fits, and beside its resting states an engine with room for one longest episode."""
        return (
            self.training <= memory
            and int(load.share * memory) <= memory - self.resting
            and bool(self.sequences(load, memory))
        )


def estimate(shape: ModelShape, load: Load) -> Estimate:
    """The memory of a model under a configuration; the module's docstring has the formulas."""
    states = -(-STATE_BYTES * shape.parameters // load.gpus)
    whole = 2 * shape.layer_parameters + shape.embedding_parameters
    heads = (shape.heads + 2 * shape.kv_heads) * shape.head_size
    layer = 2 * load.tokens * (6 * shape.hidden + heads + 3 * shape.inner)
    return Estimate(
        states=states,
        # One GPU holds everything whole already, in fp32: what is added is a bf16 copy all the same.
        gathered=_GATHERED_BYTES * whole,
        activations=2 * load.tokens * shape.hidden * shape.layers + layer,
        logits=0 if load.fused else _LOGIT_BYTES * load.tokens * shape.words,
        # Gradients are gone after the update.
        resting=0 if load.offload else states * 12 // STATE_BYTES,
        rollout_weights=2 * shape.parameters // load.tensor_parallel,
        cache_per_sequence=load.sequence * -(-shape.cache_bytes // load.tensor_parallel),
    )


_SHARES, _SPLITS, _TOKENS, _NODE = (0.6, 0.5, 0.4, 0.3), (2, 4, 8), 32768, 8
"""What `remedy` tries: shares of a GPU, GPUs of an engine, tokens of a micro-batch; and the GPUs of a node."""


def remedy(shape: ModelShape, load: Load, memory: int) -> Load | None:
    """The least change of a configuration with which a model fits; itself if it does, None if nothing tried helps.

    From cheap to dear: a smaller share for the engine, an engine over several GPUs, smaller micro-batches (which hold
    the longest episode), and states that wait in the host's memory while it generates.
    """
    shares = (load.share, *(share for share in _SHARES if share < load.share))
    most = min(load.gpus, _NODE)
    splits = (
        load.tensor_parallel,
        *(s for s in _SPLITS if load.tensor_parallel < s <= most and not (load.gpus % s or shape.heads % s)),
    )
    smaller = max(_TOKENS, load.sequence)
    tokens = (load.tokens, smaller) if smaller < load.tokens else (load.tokens,)
    offloads = (False, True) if not load.offload else (True,)
    for offload, most_tokens, split, share in itertools.product(offloads, tokens, splits, shares):
        tried = replace(load, offload=offload, tokens=most_tokens, tensor_parallel=split, share=share)
        if estimate(shape, tried).fits(tried, memory):
            return tried
    return None


def _advice(shape: ModelShape, load: Load, memory: int) -> str:
    """The last column: yes, no, or what has to be changed."""
    found = remedy(shape, load, memory)
    if found is None:
        return "no"
    changes = [
        f"share {found.share:g}" if found.share != load.share else "",
        f"engine over {found.tensor_parallel}" if found.tensor_parallel != load.tensor_parallel else "",
        f"{found.tokens} tokens" if found.tokens != load.tokens else "",
        "offload" if found.offload != load.offload else "",
    ]
    return "with " + ", ".join(filter(None, changes)) if any(changes) else "yes"


def table(shapes: Mapping[str, ModelShape], loads: Sequence[Load], memory: int) -> str:
    """The estimates for models and numbers of GPUs of `memory` bytes each."""
    head = [
        *("model", "parameters", "GPUs", "states", "gathered", "activations", "logits", "update"),
        *("resting", "engine weights", "cache/episode", "episodes", "fits"),
    ]
    rows = [head]
    for name, shape in shapes.items():
        for load in loads:
            found = estimate(shape, load)
            parts = (found.states, found.gathered, found.activations, found.logits, found.training, found.resting)
            rows.append(
                [
                    name,
                    f"{shape.parameters / 1e9:.2f} G",
                    str(load.gpus),
                    *(f"{part / GIB:.1f}" for part in (*parts, found.rollout_weights)),
                    f"{found.cache_per_sequence / GIB:.2f}",
                    str(found.sequences(load, memory)),
                    _advice(shape, load, memory),
                ]
            )
    return aligned(rows)
