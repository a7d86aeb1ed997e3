"""When hints are shown: always, never, less and less often, or the first ones of a turn.

Owns: `HintPolicy`, its reading from a configuration, and its choice per split. Refuses: what hints say. Chance comes
from the episode's id and the number of the call alone, so that the same episode shows the same hints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class HintPolicy:
    """How likely the hint of a failed call is shown, and how many a turn shows at most.

    Attributes:
        start: probability up to the first of `steps`.
        end: probability from the last of `steps` on; in between it changes evenly.
        steps: first and last training step of the change.
        per_turn: hints shown in one turn; None for any number.
    """

    start: float = 0.0
    end: float = 0.0
    steps: tuple[int, int] = (0, 0)
    per_turn: int | None = None

    def __post_init__(self) -> None:
        """Reject what is no probability and no range."""
        for name in ("start", "end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation: {name} is {getattr(self, name)}; a probability is from 0 to 1")
        if not 0 <= self.steps[0] <= self.steps[1]:
            raise ValueError(f"augmentation: steps are {list(self.steps)}; write [first, last], both at least 0")
        if self.per_turn is not None and self.per_turn < 1:
            raise ValueError(f"augmentation: k is {self.per_turn}; it must be at least 1 (or use the mode off)")

    @property
    def is_off(self) -> bool:
        """Whether no hint is ever shown."""
        return self.start == self.end == 0

    @property
    def needs_step(self) -> bool:
        """Whether the training step matters."""
        return self.start != self.end

    def probability(self, step: int | None) -> float:
        """Of showing a hint at a training step.

        Raises:
            ValueError: the step matters and is not known.
        """
        if not self.needs_step:
            return self.end
        if step is None:
            raise ValueError("annealed hints need the training step: start_interaction(..., step=...)")
        first, last = self.steps
        if step >= last:
            return self.end
        if step <= first:
            return self.start
        return self.start + (self.end - self.start) * (step - first) / (last - first)

    def shows(self, *, episode: str, number: int, probability: float, shown_in_turn: int) -> bool:
        """Whether the hint of a call is shown.

        Args:
            episode: the episode's id.
            number: of the call in the episode, from 0.
            probability: what `probability` said for the episode's training step.
            shown_in_turn: hints shown in this turn so far.
        """
        if self.per_turn is not None and shown_in_turn >= self.per_turn:
            return False
        return probability >= 1 or (probability > 0 and _draw(episode, number) < probability)


def _draw(episode: str, number: int) -> float:
    """A number from 0 to 1, the same for the same call of the same episode."""
    digest = hashlib.blake2b(f"{episode}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


OFF = HintPolicy()
ON = HintPolicy(start=1.0, end=1.0)


def _annealed(*, start: float = 1.0, end: float = 0.0, steps: Any) -> HintPolicy:
    try:
        first, last = (int(step) for step in steps)
    except (TypeError, ValueError):
        raise ValueError(f"augmentation: steps are {steps!r}; write [first, last]") from None
    return HintPolicy(start=float(start), end=float(end), steps=(first, last))


def _first_k(*, k: int) -> HintPolicy:
    return HintPolicy(start=1.0, end=1.0, per_turn=int(k))


_MODES: Mapping[str, tuple[Callable[..., HintPolicy], tuple[str, ...]]] = MappingProxyType(
    {
        "off": (lambda: OFF, ()),
        "on": (lambda: ON, ()),
        "annealed": (_annealed, ("start", "end", "steps")),
        "first_k": (_first_k, ("k",)),
    }
)
"""Mode to what makes its policy, and the keys it takes."""


def read_policy(given: Any) -> HintPolicy:
    """The policy of a configuration: a mode's name, or ``{mode: ..., ...}`` with the mode's own keys.

    Raises:
        ValueError: an unknown mode, an unknown or missing key, a value out of range.
    """
    # YAML reads a bare on or off as a truth value.
    if isinstance(given, bool):
        return ON if given else OFF
    settings = {"mode": given} if isinstance(given, str) else given
    if not isinstance(settings, Mapping):
        raise ValueError(f"augmentation is {given!r}; write a mode ({', '.join(_MODES)}) or keys and values")
    mode = settings.get("mode")
    if isinstance(mode, bool):
        mode = "on" if mode else "off"
    if not isinstance(mode, str) or mode not in _MODES:
        raise ValueError(f"unknown augmentation mode {mode!r}; known: {', '.join(_MODES)}")
    make, keys = _MODES[mode]
    own = {key: value for key, value in settings.items() if key != "mode"}
    if unknown := sorted(set(own) - set(keys)):
        raise ValueError(f"unknown augmentation keys {unknown} for mode {mode!r}; known: {sorted(('mode', *keys))}")
    try:
        return make(**own)
    except TypeError as error:
        raise ValueError(f"augmentation mode {mode!r}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class HintPolicies:
    """A policy for every split: `splits` where it has one, else `default`."""

    default: HintPolicy = OFF
    splits: Mapping[str, HintPolicy] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, split: str) -> HintPolicy:
        """The policy of a task's split."""
        return self.splits.get(split, self.default)


def read_policies(given: Any) -> HintPolicies:
    """The policies of a configuration: `read_policy`'s form, and under ``splits`` a policy for each split.

    Raises:
        ValueError: as `read_policy`.
    """
    if given is None:
        return HintPolicies()
    if not isinstance(given, Mapping):
        return HintPolicies(default=read_policy(given))
    splits = given.get("splits") or {}
    if not isinstance(splits, Mapping):
        raise ValueError(f"augmentation: splits is {splits!r}; write the name of a split and its policy")
    own = {key: value for key, value in given.items() if key != "splits"}
    return HintPolicies(
        default=read_policy(own), splits={str(split): read_policy(policy) for split, policy in splits.items()}
    )
