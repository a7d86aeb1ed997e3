"""The warm start's gradients are those of a plain padded batch."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen3Config, Qwen3ForCausalLM

from env_tuning.model.warm_start import NO_LOSS, loss_and_gradients

LENGTHS = (40, 25, 7)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        intermediate_size=48, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    shape = (len(LENGTHS), max(LENGTHS))
    mask = (torch.arange(shape[1])[None] < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(1, 50, shape, generator=generator) * mask
    written = (torch.rand(shape, generator=generator) < 0.4) & mask.bool()
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(written, ids, NO_LOSS)}


@pytest.mark.parametrize("threads", [1, 2])
def test_loss_and_gradients_are_those_of_the_padded_batch(model, batch, threads):
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    plain = cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=NO_LOSS)
    expected = torch.autograd.grad(plain, list(model.parameters()))
    loss, gradients = loss_and_gradients(model, batch, threads=threads)
    torch.testing.assert_close(loss, plain.detach())
    torch.testing.assert_close(gradients, list(expected))


def test_threads_change_no_number(model, batch):
    one, several = (loss_and_gradients(model, batch, threads=threads) for threads in (1, 3))
    assert torch.equal(one[0], several[0])
    assert all(torch.equal(a, b) for a, b in zip(one[1], several[1], strict=True))
