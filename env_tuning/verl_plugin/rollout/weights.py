"""Putting new weights into the model: all of them, or none.

Owns: which names and shapes a model accepts. Refuses: transport (`server`), and what a change means for work in flight
(`engine`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import torch
from transformers import PreTrainedModel


def copy_weights(model: PreTrainedModel, named: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Copy a full set of weights into `model`, in its own dtype.

    A tied output layer may be left out. Nothing is copied unless every name and shape fits.

    Raises:
        ValueError: A name is unknown, a shape differs, or a weight is missing.
    """
    targets = model.state_dict()
    given = dict(named)
    _check(targets, given, tied=_tied_names(model, targets))
    with torch.no_grad():
        for name, tensor in given.items():
            targets[name].copy_(tensor)


def _tied_names(model: PreTrainedModel, targets: dict[str, torch.Tensor]) -> set[str]:
    """Names whose memory is another weight's, so that either may be absent."""
    embedding = model.get_input_embeddings().weight.data_ptr()
    return {
        name for name, tensor in targets.items() if name.endswith("lm_head.weight") and tensor.data_ptr() == embedding
    }


def _check(targets: dict[str, torch.Tensor], given: dict[str, torch.Tensor], tied: set[str]) -> None:
    for name, tensor in given.items():
        if name not in targets:
            near = difflib.get_close_matches(name, targets, n=1)
            hint = f"; the nearest known name is {near[0]!r}" if near else ""
            raise ValueError(f"the rollout model has no weight named {name!r}{hint}")
        if tensor.shape != targets[name].shape:
            shapes = f"{tuple(tensor.shape)}, the rollout model's {tuple(targets[name].shape)}"
            raise ValueError(f"weight {name!r} has shape {shapes}")
    missing = sorted(targets.keys() - given.keys() - tied)
    if missing:
        raise ValueError(f"{len(missing)} weights of the rollout model were not sent, the first is {missing[0]!r}")
