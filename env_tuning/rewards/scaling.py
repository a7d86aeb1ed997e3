"""Reward normalisation: the running mean and deviation of the scores of episodes.

Owns: the statistic, its file and what it makes of an episode's amounts. Refuses: tensors and verl
(`verl_plugin.trainer` saves it with every checkpoint). Off unless ``env_tuning.reward_normalisation`` is true.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "reward_scale.json"
"""In the folder of a checkpoint."""

CLIP = 10.0


@dataclass(frozen=True, kw_only=True)
class RunningScale:
    """Count, mean and summed squared deviation of all scores so far."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        """Reject what no scores have."""
        numbers = (self.mean, self.squares)
        if self.count < 0 or self.squares < 0 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{self} is no statistic of scores")

    def with_scores(self, scores: Sequence[float]) -> RunningScale:
        """The statistic of these scores as well."""
        if not scores:
            return self
        mean = math.fsum(scores) / len(scores)
        squares = math.fsum((score - mean) ** 2 for score in scores)
        count, apart = self.count + len(scores), mean - self.mean
        return RunningScale(
            count=count,
            mean=self.mean + apart * len(scores) / count,
            squares=self.squares + squares + apart**2 * self.count * len(scores) / count,
        )

    @property
    def deviation(self) -> float:
        """The standard deviation; 1 as long as all scores are the same."""
        return math.sqrt(self.squares / self.count) or 1.0 if self.count else 1.0

    def normalised(self, amounts: Mapping[int, float], last: int) -> dict[int, float]:
        """The amounts of an episode over the deviation; their sum is the clipped distance of the score to the mean.

        Args:
            amounts: by position.
            last: the position that takes the mean off and the clipping.
        """
        scaled = {position: amount / self.deviation for position, amount in amounts.items()}
        score = (math.fsum(amounts.values()) - self.mean) / self.deviation
        rest = max(-CLIP, min(CLIP, score)) - math.fsum(scaled.values())
        return {**scaled, last: scaled.get(last, 0.0) + rest}

    def write(self, folder: Path) -> None:
        """Write the file of a checkpoint's folder."""
        (folder / FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunningScale:
        """The statistic of a checkpoint; a new one when it was saved without."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
