"""`Score`: what a reward returns, and which of it was earned in which turn.

Owns: the record and its checks. Refuses: computing a score, and knowing tokens (`placement.py` takes turns to them).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Score(Mapping[str, float]):
    """The numbers of one episode: as a mapping, ``score`` and the parts.

    Attributes:
        score: what the episode is worth.
        turns: for every turn, from the first, the share of `score` that was earned when the turn closed. What is
            missing to `score` belongs to the episode as a whole. Empty if nothing is bound to turns.
        parts: numbers to log beside the score.
    """

    score: float
    turns: tuple[float, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject what would poison a training step: numbers that are none."""
        if "score" in self.parts:
            raise ValueError("a part of a reward is named 'score', which is the name of the whole; rename the part")
        for name, value in (*self.items(), *((f"turn {turn}", value) for turn, value in enumerate(self.turns))):
            if not math.isfinite(value):
                raise ValueError(f"a reward must be a finite number, but {name} is {value}")

    def __getitem__(self, name: str) -> float:
        return self.score if name == "score" else self.parts[name]

    def __iter__(self) -> Iterator[str]:
        yield "score"
        yield from self.parts

    def __len__(self) -> int:
        return 1 + len(self.parts)


def as_score(returned: Any) -> Score:
    """What a reward function returned, as a `Score`; a plain mapping of ``score`` and parts is bound to no turn.

    Raises:
        ValueError: it is neither, has no ``score``, or holds what is no finite number.
    """
    if isinstance(returned, Score):
        return returned
    if not isinstance(returned, Mapping) or "score" not in returned:
        raise ValueError(f'a reward returns a Score or {{"score": number, ...}}, not {str(returned)[:100]}')
    try:
        numbers = {str(name): float(value) for name, value in returned.items()}
    except (TypeError, ValueError):
        raise ValueError(f"the parts of a reward are numbers, not {str(returned)[:100]}") from None
    return Score(score=numbers.pop("score"), parts=numbers)
