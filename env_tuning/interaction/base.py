"""The four-method interaction interface, kept from verl 0.7 (verl 0.8 removed it).

Owns: what the agent loop may ask of an interaction. Refuses: verl imports, tokens. Users subclass
`Interaction` for their own multi-turn environments and name the class in the configuration.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from env_tuning.trajectory import StopReason, Trajectory

Message = Mapping[str, str]


class Interaction:
    """One object serves many episodes at once; each episode is known by its instance id.

    The agent loop calls, per episode: `start_interaction`, `opening_messages`, then `generate_response` after
    every assistant message until it says the episode is over, or `stop_interaction` when a length limit cut the
    episode; then `calculate_score` and `trajectory`; and always `finalize_interaction`, whatever happened.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Keep the configuration (plain data, the ``config`` of the interaction's entry)."""
        self.config = dict(config)

    async def start_interaction(self, instance_id: str | None = None, **kwargs: Any) -> str:
        """Open an episode and return its id. `kwargs` are the row's ``interaction_kwargs``."""
        return instance_id or uuid4().hex

    def opening_messages(self, instance_id: str, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The messages before the first generation; by default the row's own prompt."""
        return [dict(message) for message in messages]

    async def generate_response(
        self, instance_id: str, messages: Sequence[Message], **kwargs: Any
    ) -> tuple[bool, str, float, dict[str, Any]]:
        """React to the last message, which is the assistant's.

        Returns:
            (over, content, reward, metrics): whether the episode is over, the next user message (not sent when it
            is over), the reward of this step, and numbers to log.
        """
        raise NotImplementedError

    async def stop_interaction(self, instance_id: str, reason: StopReason, partial_text: str | None = None) -> None:
        """A limit cut the episode. `partial_text` is the unfinished assistant message, if one was cut."""

    async def calculate_score(self, instance_id: str, **kwargs: Any) -> float:
        """The score of the whole episode, used when no reward function is configured."""
        return 0.0

    def trajectory(self, instance_id: str) -> Trajectory | None:
        """The record of the episode, for rewards and dumps; None when the interaction keeps none."""
        return None

    async def finalize_interaction(self, instance_id: str, **kwargs: Any) -> None:
        """Forget the episode."""


def make_interaction(name: str, class_name: str, config: Mapping[str, Any]) -> Interaction:
    """The interaction of ``env_tuning.interactions.NAME``.

    Raises:
        ValueError: the class cannot be imported, or refuses its configuration.
    """
    module_name, _, attribute = class_name.replace(":", ".").rpartition(".")
    try:
        interaction_class = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"env_tuning.interactions.{name}.class_name={class_name}: {error}") from error
    return interaction_class(dict(config))  # type: ignore[no-any-return]
