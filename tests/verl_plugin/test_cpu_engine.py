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


def loss_and_gradients(
    engine_class: type, model: torch.nn.Module, batch: TensorDict
) -> tuple[float, list[torch.Tensor]]:
    """Of a policy loss with an entropy bonus over the trained tokens, as verl's engine passes a micro-batch through."""
    engine = engine_class.__new__(engine_class)
    engine.pad_to_length = False
    engine.engine_config = SimpleNamespace(entropy_checkpointing=False)
    inputs, arguments = engine.prepare_model_inputs(batch)
    hook = None
    if isinstance(engine, CpuLanguageModelEngine):
        hook = model.get_output_embeddings().register_forward_pre_hook(engine._keep_selected)
    output = engine.prepare_model_outputs(model(**inputs, use_cache=False), arguments, batch, None)
    trained = predicting_positions(batch["input_ids"], batch["response_mask"])
    loss = torch.zeros(())
    for row, advantage in enumerate((1.5, -0.5)):
        here = trained[row, : len(output["log_probs"][row])]
        loss = loss - advantage * output["log_probs"][row][here].sum() - 0.1 * output["entropy"][row][here].sum()
    model.zero_grad()
    loss.backward()
    if hook is not None:
        hook.remove()
    return float(loss.detach()), [parameter.grad.clone() for parameter in model.parameters()]


def test_loss_and_gradients_equal_those_of_verls_own_engine(batch: TensorDict) -> None:
    """Logits of trained tokens only, no attention mask, other positions for padding: none of it may be seen."""
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8, "vocab_size": 7}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    model = Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, tie_word_embeddings=True))
    ours, theirs = (loss_and_gradients(kind, model, batch) for kind in (CpuLanguageModelEngine, FSDPEngineWithLMHead))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert any(gradient.abs().max() > 1e-3 for gradient in theirs[1])
    for here, there in zip(ours[1], theirs[1], strict=True):
        assert torch.allclose(here, there, rtol=1e-4, atol=1e-6)
