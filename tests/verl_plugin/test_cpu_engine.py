"""The CPU engine's saving changes no number that the loss reads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("verl")
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

from env_tuning.verl_plugin.cpu_engine import CpuLanguageModelEngine, predicting_positions

PROMPTS, MASKS = [3, 2], [[1, 1, 0, 0, 1], [0, 1]]


def jagged(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


@pytest.fixture
def batch() -> TensorDict:
    lengths = [prompt + len(mask) for prompt, mask in zip(PROMPTS, MASKS, strict=True)]
    data = TensorDict(
        {
            "input_ids": jagged([torch.randint(0, 7, (length,)) for length in lengths]),
            "position_ids": jagged([torch.arange(length) for length in lengths]),
            "response_mask": jagged([torch.tensor(mask) for mask in MASKS]),
        },
        batch_size=2,
    )
    tu.assign_non_tensor(data, use_remove_padding=False, temperature=0.7, calculate_entropy=True)
    return data


def test_a_position_is_chosen_when_the_token_after_it_is_trained(batch: TensorDict) -> None:
    chosen = predicting_positions(batch["input_ids"], batch["response_mask"])
    assert chosen.shape == (2, 8)
    assert [row.nonzero().flatten().tolist() for row in chosen] == [[2, 3, 6], [2]]


def test_log_probs_and_entropy_equal_the_base_class_on_trained_tokens(batch: TensorDict) -> None:
    engine = CpuLanguageModelEngine.__new__(CpuLanguageModelEngine)
    engine.pad_to_length = False
    engine.engine_config = SimpleNamespace(entropy_checkpointing=False)
    _, arguments = engine.prepare_model_inputs(batch)
    logits = torch.randn(2, 8, 7)
    (kept,) = engine._keep_selected(torch.nn.Identity(), (logits,))
    assert kept.shape == (1, 4, 7)
    ours = engine.prepare_model_outputs(SimpleNamespace(logits=kept), arguments, batch, None)
    chosen, engine._selected = engine._selected, None
    assert chosen is not None
    theirs = engine.prepare_model_outputs(SimpleNamespace(logits=logits.clone()), arguments, batch, None)
    for name in ("log_probs", "entropy"):
        for row in range(2):
            here, there = ours[name][row], theirs[name][row]
            positions = chosen[row, : len(here)]
            assert torch.allclose(here[positions], there[positions], atol=1e-6)
            assert not here[~positions].any()
