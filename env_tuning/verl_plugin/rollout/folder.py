"""A Hugging Face folder behind an engine, outside of training.

Owns: loading, and what is said of a folder that cannot be loaded. Refuses: what is asked of the model, and by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from env_tuning.errors import UserError
from env_tuning.verl_plugin.rollout.runner import EngineThread


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that computes.

    Attributes:
        thread: the engine, with a decode function for stop strings; who loaded the model closes it.
        tokenizer: a Hugging Face tokenizer.
        eos_ids: the tokens that end a message.
        max_length: tokens of prompt and answer together.
        model_type: the architecture's name in ``config.json``.
    """

    thread: EngineThread
    tokenizer: Any
    eos_ids: frozenset[int]
    max_length: int
    model_type: str


def load_folder(folder: Path, *, slots: int = 8, max_length: int = 0, threads: int = 1) -> LoadedModel:
    """Put a folder behind an engine.

    Args:
        folder: configuration, weights and tokenizer of a model that the engine can compute (Llama, Qwen2, Qwen3).
        slots: requests at work at once.
        max_length: tokens of prompt and answer together; 0 for what the model was made for.
        threads: of torch's operators.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from env_tuning.verl_plugin.rollout.engine import EngineConfig, RolloutEngine
    from env_tuning.verl_plugin.rollout.server import eos_ids

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    length = max_length or model.config.max_position_embeddings
    ends = eos_ids(str(folder))
    engine = RolloutEngine(
        model,
        EngineConfig(max_slots=slots, max_length=length),
        eos_ids=ends,
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False),
    )
    return LoadedModel(
        thread=EngineThread(engine),
        tokenizer=tokenizer,
        eos_ids=frozenset(ends),
        max_length=length,
        model_type=model.config.model_type,
    )


def cannot_be_loaded(folder: Path, error: Exception) -> UserError:
    """One line for whatever a library raised over broken weights, configurations or tokenizers."""
    return UserError(
        f"the model in {folder} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    )
