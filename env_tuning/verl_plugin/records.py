"""Episodes as numbers: what is counted of each, and what is said of many.

Owns: `EpisodeRecord`, its line in a dump, and means over episodes, overall and per split (a row's ``data_source``).
Refuses: verl, and where the numbers come from (`trainer`) or go to (`progress`).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPREAD = frozenset({"score", "steps", "response_tokens", "trained_tokens"})
"""What is logged with its smallest and largest value, beside the mean."""
SPLIT_NUMBERS = ("score", "correct_turns", "all_correct", "coverage")
"""What events say of every split; the logger gets everything."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One trajectory as it is counted and dumped."""

    uid: str
    group: int
    """Position among the trajectories of the same prompt."""
    data_source: str
    score: float
    numbers: Mapping[str, float]
    trained_tokens: int
    response_tokens: int
    trajectory: Mapping[str, Any] | None
    prompt_tokens: int = 0
    """Of the opening; 0 if that is not known."""

    def line(self, step: int) -> str:
        """One line of a dump."""
        return json.dumps(
            {
                "step": step,
                "uid": self.uid,
                "group": self.group,
                "data_source": self.data_source,
                "score": self.score,
                "reward": self.numbers,
                "trained_tokens": self.trained_tokens,
                "response_tokens": self.response_tokens,
                "prompt_tokens": self.prompt_tokens,
                "trajectory": self.trajectory,
            },
            ensure_ascii=False,
        )


def columns(records: Iterable[EpisodeRecord]) -> dict[str, list[float]]:
    """Values by name: the reward's parts, the episode's numbers, tokens."""
    values: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for name, value in {**record.numbers, "score": record.score}.items():
            values[name].append(value)
        values["trained_tokens"].append(record.trained_tokens)
        values["response_tokens"].append(record.response_tokens)
        values["prompt_tokens"].append(record.prompt_tokens)
    return dict(values)


def mean(values: Sequence[float]) -> float:
    """The mean, whatever the order of the values: episodes end in any."""
    return math.fsum(values) / len(values)


def means(records: Iterable[EpisodeRecord]) -> dict[str, float]:
    """The mean of every column."""
    return {name: mean(values) for name, values in columns(records).items()}


def by_split(records: Iterable[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    """Records by data source, in the order of the names."""
    splits: dict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        splits[record.data_source].append(record)
    return dict(sorted(splits.items()))


def split_summary(records: Iterable[EpisodeRecord]) -> dict[str, dict[str, float]]:
    """`SPLIT_NUMBERS` of every split, as far as its episodes have them, and how many episodes it has."""
    summary = {}
    for split, members in by_split(records).items():
        known = means(members)
        summary[split] = {
            "episodes": len(members),
            **{name: known[name] for name in SPLIT_NUMBERS if name in known},
        }
    return summary


def training_metrics(records: Sequence[EpisodeRecord]) -> dict[str, float]:
    """What the logger gets of a step: ``env/<name>/mean``, some with their spread, and ``env/<split>/<name>/mean``."""
    metrics = {}
    for name, values in columns(records).items():
        metrics[f"env/{name}/mean"] = mean(values)
        if name in SPREAD:
            metrics[f"env/{name}/min"], metrics[f"env/{name}/max"] = min(values), max(values)
    for split, members in by_split(records).items():
        metrics |= {f"env/{split}/{name}/mean": value for name, value in means(members).items()}
    metrics["env/groups_without_signal"] = share_without_signal(records)
    return metrics


def validation_metrics(records: Sequence[EpisodeRecord]) -> dict[str, float]:
    """What the logger gets of a validation: ``val/<name>`` and ``val/<split>/<name>``."""
    metrics = {f"val/{name}": value for name, value in means(records).items()}
    for split, members in by_split(records).items():
        metrics |= {f"val/{split}/{name}": value for name, value in means(members).items()}
    return metrics


def share_without_signal(records: Iterable[EpisodeRecord]) -> float:
    """The share of groups whose members all have the same score: GRPO learns nothing from them."""
    groups: dict[str, list[float]] = defaultdict(list)
    for record in records:
        groups[record.uid].append(record.score)
    flat = [float(max(scores) - min(scores) < 1e-8) for scores in groups.values()]
    return mean(flat) if flat else 0.0
