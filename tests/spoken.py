"""A folder whose model repeats one thing by heart: a nano model, trained for seconds on a single conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def make_spoken(folder: Path, conversation: Any, *, steps: int = 400) -> Path:
    """The folder of a model that has learned one `Conversation`, with the recipe's template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from env_tuning.sft.rendering import examples_of
    from env_tuning.sft.tiny import untrained_model

    made = untrained_model(folder, [conversation], size="nano", pieces=600)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(made), AutoTokenizer.from_pretrained(made)
    (example,) = examples_of(tokenizer, conversation)
    tokens = torch.tensor([example.tokens])
    labels = torch.tensor(
        [[token if own else -100 for token, own in zip(example.tokens, example.trained, strict=True)]]
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = model(input_ids=tokens, labels=labels).loss
        if loss.item() < 0.02:
            break
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    else:
        raise AssertionError("the conversation was not learned; raise steps")
    model.save_pretrained(made)
    return made
