"""How many hints an episode showed, as numbers to log.

Owns: counting what a trajectory records. Refuses: anything else; it reads records, not rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from env_tuning.augmentation.rules import ErrorCategory
from env_tuning.trajectory import Hint, Trajectory


def shown_hints(trajectory: Trajectory) -> Iterator[Hint]:
    """The hints that the model was shown, in order."""
    for step in trajectory.steps:
        if step.hint is not None:
            yield step.hint
        for call in step.calls:
            if call.hint is not None:
                yield call.hint


def hint_numbers(trajectory: Trajectory) -> dict[str, float]:
    """Hints shown in an episode, all and by category; every key is always there, so that means are right."""
    counts = Counter(hint.category for hint in shown_hints(trajectory))
    return {
        "hints": float(counts.total()),
        **{f"hints/{category.value}": float(counts[category.value]) for category in ErrorCategory},
    }
