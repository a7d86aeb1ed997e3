"""What comes out of verl's replay buffer, seen before anything else happens to it.

Owns: the order of a sampled batch, reading its episodes and writing their normalised rewards. Refuses: which groups
are sampled (verl), what their numbers mean (`records`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from tensordict import TensorDict

from env_tuning.rewards.scaling import RunningScale
from env_tuning.verl_plugin.records import EpisodeRecord
from env_tuning.verl_plugin.seeds import arrival_free_order


class ObservedBuffer:
    """verl's replay buffer, whose samples are shown to the trainer before anything else happens to them."""

    def __init__(self, buffer: Any, *, failed: Callable[[int], None], sampled: Callable[[Any], None]) -> None:
        """Call `failed` with the number of failed groups, then `sampled` with the batch, after every sample."""
        self._buffer = buffer
        self._failed = failed
        self._sampled = sampled

    def sample(self, *, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """See `verl.trainer.ppo.v1.replay_buffer.ReplayBuffer.sample`."""
        try:
            batch, metrics = self._buffer.sample(
                global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
            )
        finally:  # verl itself raises when every group failed, without the reason
            self._failed(len(self._buffer.failure_keys[partition_id]))
        # Rows come in the order in which episodes happened to end, and sums depend on the order.
        batch.reorder(arrival_free_order(batch.keys))
        self._sampled(batch)
        return batch, metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)


def read_records(batch: Any) -> list[EpisodeRecord]:
    """The trajectories of a sampled batch; empty when their rewards are not known yet (a colocated reward model)."""
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    if not keys:
        return []
    fields = ["rm_scores", "data_source", "extra_fields"]
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
    if "rm_scores" not in data.keys():  # noqa: SIM118  (a TensorDict iterates over rows)
        return []
    scores = [float(row.sum()) for row in data["rm_scores"]]
    sources = list(data["data_source"])
    records = []
    for key, score, source, extra in zip(keys, scores, sources, list(data["extra_fields"]), strict=True):
        uid, _, rest = key.partition("_")
        extra = getattr(extra, "data", extra)
        text = extra.get("trajectory_json")
        records.append(
            EpisodeRecord(
                uid=uid,
                group=int(rest.partition("_")[0]),
                data_source=str(getattr(source, "data", source)),
                score=score,
                numbers=_numbers(extra.get("reward_extra_info") or {}),
                trained_tokens=int(extra.get("trained_tokens", 0)),
                response_tokens=int(extra.get("response_tokens", 0)),
                prompt_tokens=int(extra.get("prompt_tokens", 0)),
                trajectory=None if text is None else json.loads(text),
            )
        )
    return records


def normalise_rewards(batch: Any, scale: RunningScale) -> RunningScale:
    """Replace the rewards of a batch by normalised ones; returns the statistic with the batch's scores.

    The batch itself counts, so that the first one is normalised too. verl's padding rows stay as they are.
    """
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["rm_scores", "response_mask"])
    rows = list(data["rm_scores"].unbind())
    scale = scale.with_scores([float(row.double().sum()) for row in rows])
    normalised = [_normalised(row, mask, scale) for row, mask in zip(rows, data["response_mask"].unbind(), strict=True)]
    fields = TensorDict(
        {"rm_scores": torch.nested.as_nested_tensor(normalised, layout=torch.jagged)}, batch_size=len(keys)
    )
    tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=fields)
    return scale


def _normalised(rewards: torch.Tensor, mask: torch.Tensor, scale: RunningScale) -> torch.Tensor:
    trained = mask.nonzero()
    if not len(trained):  # nothing was generated, and nothing is trained
        return rewards
    amounts = {int(position): float(rewards[position]) for position in rewards.nonzero()}
    result = torch.zeros_like(rewards)
    for position, amount in scale.normalised(amounts, int(trained[-1])).items():
        result[position] = amount
    return result


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in info.items() if isinstance(value, int | float | np.number)}
