"""Tiny random Qwen3 models, made in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small run several times faster without a second thread, above all on a busy machine."""
    torch.set_num_threads(1)


def tiny_qwen3(seed: int = 0) -> Qwen3ForCausalLM:
    """Two layers, hidden 64, grouped heads, tied embeddings; larger weights than the default, so that logits differ."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=384,
        intermediate_size=128,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.15,
        eos_token_id=None,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM._from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()


@pytest.fixture(scope="session")
def other_model() -> PreTrainedModel:
    """A model of the same shape with other weights, as after a training step."""
    return tiny_qwen3(seed=5)


@pytest.fixture(scope="session")
def reference() -> PreTrainedModel:
    """The model as transformers runs it. Engines get copies."""
    return tiny_qwen3()


@pytest.fixture
def model(reference: PreTrainedModel) -> PreTrainedModel:
    """A copy of `reference` for an engine to own."""
    return copy.deepcopy(reference)


@pytest.fixture(scope="session")
def full_log_probs(reference: PreTrainedModel) -> Callable[..., list[float]]:
    """Log-probabilities of an output, from one forward pass of transformers over prompt and output."""

    def compute(
        prompt: list[int], output: list[int], temperature: float = 1.0, model: PreTrainedModel = reference
    ) -> list[float]:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + output])).logits[0, len(prompt) - 1 : -1]
        table = torch.log_softmax(logits / temperature, dim=-1)
        return table.gather(1, torch.tensor(output)[:, None])[:, 0].tolist()

    return compute
