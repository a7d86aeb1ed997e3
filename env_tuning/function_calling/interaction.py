"""`FunctionCallingInteraction`: the four-method interface over `FunctionCallingEpisode`.

Owns: building episodes from rows. Refuses: the rules of an episode (`episode`), verl imports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from env_tuning.errors import refuse_unknown
from env_tuning.function_calling.episode import FunctionCallingEpisode, Rules
from env_tuning.function_calling.families import Plain, family
from env_tuning.function_calling.records import dataset, inventory
from env_tuning.function_calling.rewards import dense
from env_tuning.interaction.base import Interaction, Message
from env_tuning.trajectory import StopReason, Trajectory

NAME = "function_calling"
"""What rows carry in ``interaction_kwargs.name``."""


class FunctionCallingInteraction(Interaction):
    """Hosts episodes of the function-calling system.

    Configuration keys:
        family: how the model speaks, of `families` (default ``plain``).
        rules: the `Rules` of all episodes, as keys and values.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Check the configuration; an unknown key is a `ValueError`."""
        super().__init__(config)
        refuse_unknown("interaction", config, ("name", "family", "rules"))
        rules = config.get("rules") or {}
        refuse_unknown("rules", rules, Rules.__dataclass_fields__)
        self._family, self._rules = family(config.get("family", Plain.name)), Rules(**rules)
        self._episodes: dict[str, FunctionCallingEpisode] = {}

    async def start_interaction(
        self,
        instance_id: str | None = None,
        *,
        dialogue: str = "",
        tools: str = "",
        candidates: str = "",
        split: str = "",
        **kwargs: Any,
    ) -> str:
        """Open an episode of the row's dialogue.

        Args:
            instance_id: the episode's id, used once.
            dialogue: a record of the dataset, as JSON.
            tools: the inventory's records that it needs, as JSON.
            candidates: names for every request, as JSON.
            split: name of the split.
            kwargs: of no meaning here.

        Raises:
            ValueError: the row was not written by this version's `prepare`.
        """
        instance_id = await super().start_interaction(instance_id)
        if instance_id in self._episodes:
            raise ValueError(f"episode {instance_id} is already open; instance ids are used once")
        known = inventory(json.loads(tools), "the row's tools")
        (read,) = dataset([json.loads(dialogue)], known, "the row's dialogue")
        self._episodes[instance_id] = FunctionCallingEpisode(
            read, tools=known, candidates=json.loads(candidates), family=self._family, rules=self._rules, split=split
        )
        return instance_id

    def opening_messages(self, instance_id: str, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The first request rendered by the configured family, whatever the row's prompt column shows."""
        return self._episodes[instance_id].opening()

    async def generate_response(
        self, instance_id: str, messages: Sequence[Message], **kwargs: Any
    ) -> tuple[bool, str, float, dict[str, Any]]:
        """Take the assistant's last message; the reward is its share."""
        reaction = self._episodes[instance_id].step(messages[-1]["content"])
        return reaction.over, reaction.content, reaction.grade.share, {"stage": reaction.grade.stage.value}

    async def stop_interaction(self, instance_id: str, reason: StopReason, partial_text: str | None = None) -> None:
        """End a cut episode; what is missing counts as wrong."""
        self._episodes[instance_id].cut(reason, partial_text)

    async def calculate_score(self, instance_id: str, **kwargs: Any) -> float:
        """The dense reward."""
        return dense(self.trajectory(instance_id)).score

    def trajectory(self, instance_id: str) -> Trajectory:
        """The record of the episode so far."""
        return self._episodes[instance_id].trajectory()

    async def finalize_interaction(self, instance_id: str, **kwargs: Any) -> None:
        """Free the episode."""
        self._episodes.pop(instance_id, None)
