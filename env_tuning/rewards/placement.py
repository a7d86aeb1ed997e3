"""Where in an episode its score is paid: at the end, or at the end of every turn.

Owns: amounts by position, with sums that are exact. Refuses: tensors and verl (`verl_plugin/agent_loop.py` writes the
amounts into one). Positions are token indices of the response, each the last token of an assistant message: a reward
on any other token is dropped by verl's `compute_gae_advantage_return`, without a word.
"""

from __future__ import annotations

import ctypes
import enum
import math
from collections import defaultdict
from collections.abc import Mapping

from env_tuning.rewards.score import Score


class Placement(enum.Enum):
    """`env_tuning.reward_placement`."""

    LAST = "last"
    """The whole score on the last token."""
    TURNS = "turns"
    """What a turn earned on the last assistant token of that turn, the rest on the last token."""

    @classmethod
    def read(cls, value: object) -> Placement:
        """The placement of a configuration value.

        Raises:
            ValueError: there is no such placement.
        """
        try:
            return cls(value)
        except ValueError:
            known = " or ".join(member.value for member in cls)
            raise ValueError(f"env_tuning.reward_placement is {value!r}; it must be {known}") from None


def place_by_turn(score: Score, turn_ends: Mapping[int, int], last: int) -> dict[int, float]:
    """Amounts by position; what they sum to is `score.score` in single precision, in whatever order it is summed.

    Args:
        score: of the episode.
        turn_ends: turn to the position at which it was closed. What a turn earned that was never closed (a limit cut
            the episode) is paid at the end.
        last: the last position of the episode.
    """
    amounts: dict[int, float] = defaultdict(float)
    for turn, amount in enumerate(score.turns):
        if amount:
            amounts[turn_ends.get(turn, last)] += amount
    rest = score.score - math.fsum(score.turns)
    # 1/3 three times is not 1 in binary: a rest of rounding is none.
    if abs(rest) > 1e-9 * (abs(score.score) + math.fsum(map(abs, score.turns))):
        amounts[last] += rest
    return _exact({position: amounts[position] for position in sorted(amounts)}, score.score)


def _exact(amounts: dict[int, float], total: float) -> dict[int, float]:
    """The amounts rounded to multiples of one unit, so that single precision adds them to the total without error.

    GRPO divides by the spread of a group: equal scores must stay equal, however they are spread over turns. A float of
    24 bits holds every partial sum if all amounts are multiples of ``2**(e-24)``, with ``2**e`` above the sum of their
    sizes. The last amount takes what the rounding of the others left over.
    """
    if not amounts:
        return amounts
    single = ctypes.c_float(total).value
    _, exponent = math.frexp(max(abs(single), math.fsum(map(abs, amounts.values()))))
    unit = math.ldexp(1.0, max(exponent - 24, -149))  # -149: the smallest number there is
    units = {position: round(amount / unit) for position, amount in amounts.items()}
    units[max(units)] += round(single / unit) - sum(units.values())
    return {position: count * unit for position, count in units.items()}
