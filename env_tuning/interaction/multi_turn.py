"""`MultiTurnToolInteraction`: the four-method interface over `Episode`, for BFCL-style tasks.

Owns: building episodes from rows, sharing the twin of a task among its group. Refuses: the rules of an episode
(`episode.py`), verl imports.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.registry import make_environment
from env_tuning.episode import Episode, Limits
from env_tuning.interaction.base import Interaction, Message
from env_tuning.judge import TwinTurn, replay_ground_truth
from env_tuning.protocols import PromptVersion, ToolListing, protocol
from env_tuning.rewards.accuracy import progress
from env_tuning.task import Task
from env_tuning.trajectory import StopReason, Trajectory

_TWINS_KEPT = 2048


class MultiTurnToolInteraction(Interaction):
    """Hosts episodes of multi-turn tool tasks.

    Configuration keys:
        protocol: name of the protocol (default ``think_answer``).
        tool_listing: ``json`` or ``signatures``; default ``json``.
        steps_per_turn: assistant messages per turn in training (default 10).
        eval_steps_per_turn: the same in validation (default 20, the benchmark's).
        long_context_file: the JSON file that `env-tuning prepare` wrote; needed by long-context tasks only.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Check the configuration; an unknown key is a `ValueError`."""
        super().__init__(config)
        known = {"name", "protocol", "tool_listing", "steps_per_turn", "eval_steps_per_turn", "long_context_file"}
        if unknown := set(config) - known:
            raise ValueError(f"unknown interaction keys {sorted(unknown)}; known: {sorted(known)}")
        self._protocol = protocol(config.get("protocol", "think_answer"))
        self._listing = ToolListing(config.get("tool_listing", "json"))
        self._limits = Limits(steps_per_turn=config.get("steps_per_turn", 10))
        self._eval_limits = Limits(steps_per_turn=config.get("eval_steps_per_turn", 20))
        self._twins: dict[str, tuple[Task, tuple[TwinTurn, ...]]] = {}
        self._episodes: dict[str, Episode] = {}

    async def start_interaction(self, instance_id: str | None = None, *, validate: bool = False, **kwargs: Any) -> str:
        """Open an episode of the row's task.

        Raises:
            ValueError: the row is not a task of this version.
        """
        instance_id = await super().start_interaction(instance_id)
        if instance_id in self._episodes:
            raise ValueError(f"episode {instance_id} is already open; instance ids are used once")
        task = Task.from_row(kwargs)
        self._episodes[instance_id] = Episode(
            task,
            environment=self._environment(task),
            twin=self._twin(task),
            protocol=self._protocol,
            limits=self._eval_limits if validate else self._limits,
            listing=self._listing,
            version=PromptVersion(kwargs.get("prompt_version", PromptVersion.V1.value)),
        )
        return instance_id

    def opening_messages(self, instance_id: str, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The task rendered by the configured protocol and listing, whatever the row's prompt column shows."""
        return self._episodes[instance_id].opening()

    async def generate_response(
        self, instance_id: str, messages: Sequence[Message], **kwargs: Any
    ) -> tuple[bool, str, float, dict[str, Any]]:
        """Take the assistant's last message; the reward is 1 for a message that closed its turn right."""
        episode = self._episodes[instance_id]
        reaction = episode.step(messages[-1]["content"])
        closed_right = reaction.step.closed_turn and episode.trajectory().verdicts[-1].correct
        return reaction.over, reaction.content, float(closed_right), {"outcome": reaction.step.outcome.value}

    async def stop_interaction(self, instance_id: str, reason: StopReason, partial_text: str | None = None) -> None:
        """End a cut episode without judging what is missing."""
        self._episodes[instance_id].cut(reason, partial_text)

    async def calculate_score(self, instance_id: str, **kwargs: Any) -> float:
        """The share of all turns that were judged correct."""
        return progress(self.trajectory(instance_id))["score"]

    def trajectory(self, instance_id: str) -> Trajectory:
        """The record of the episode so far."""
        return self._episodes[instance_id].trajectory()

    async def finalize_interaction(self, instance_id: str, **kwargs: Any) -> None:
        """Free the episode; the twin stays for the rest of the group."""
        self._episodes.pop(instance_id, None)

    def _environment(self, task: Task) -> Any:
        return make_environment(
            task.tool_classes, task.initial_config, self._long_context if task.long_context else None
        )

    @functools.cached_property
    def _long_context(self) -> LongContext:
        file = self.config.get("long_context_file")
        if file is None:
            raise ValueError("a long-context task needs the interaction key long_context_file; see docs/data.md")
        return LongContext.load(Path(file))

    def _twin(self, task: Task) -> tuple[TwinTurn, ...]:
        known = self._twins.get(task.id)
        # The same id may stand for another task after the data was rebuilt or edited.
        if known is None or known[0] != task:
            if len(self._twins) >= _TWINS_KEPT:
                self._twins.pop(next(iter(self._twins)))
            known = self._twins[task.id] = (task, replay_ground_truth(task, self._environment(task)))
        return known[1]
