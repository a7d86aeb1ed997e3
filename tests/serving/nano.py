"""A model of a hundred thousand random weights, as a folder: it answers nonsense, at once."""

from __future__ import annotations

from pathlib import Path


def make_nano(folder: Path, texts: list[str]) -> Path:
    """The folder, with a tokenizer trained on texts."""
    import torch
    from transformers import Qwen3ForCausalLM

    from env_tuning.model.tiny import SIZES, tiny_config
    from env_tuning.model.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, pieces=600)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(tiny_config(SIZES["nano"], tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
