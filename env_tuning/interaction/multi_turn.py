"""`MultiTurnToolInteraction`: the four-method interface over `Episode`, for BFCL-style tasks.

Owns: building episodes from rows, sharing the twin of a task among its group. Refuses: the rules of an episode
(`episode.py`), verl imports.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from env_tuning.augmentation.book import Augmentation, HintBook
from env_tuning.augmentation.policy import read_policies
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.episode import Episode, Rules
from env_tuning.errors import refuse_unknown
from env_tuning.interaction.base import Interaction, Message
from env_tuning.prepared_task import PreparedTask, prepare_task
from env_tuning.protocols import PromptVersion, ThinkAnswer, ToolListing, protocol
from env_tuning.rewards.accuracy import progress
from env_tuning.task import Task
from env_tuning.trajectory import StopReason, Trajectory

_TASKS_KEPT = 2048
_THREADS = 64
"""Episodes that wait for something outside of the process at once; others queue, at no cost."""
_HINT_KEYS = ("augmentation", "eval_augmentation")
_RULE_KEYS = MappingProxyType({"rules": Rules(), "eval_rules": Rules(steps_per_turn=20, official=True)})


class _Known(NamedTuple):
    """What all episodes of a task share."""

    prepared: PreparedTask
    hints: HintBook


class MultiTurnToolInteraction(Interaction):
    """Hosts episodes of multi-turn tool tasks.

    Configuration keys:
        protocol: name of the protocol (default ``think_answer``).
        tool_listing: ``json`` or ``signatures``; default ``json``.
        long_context_file: the JSON file that `env-tuning prepare` wrote; needed by long-context tasks only.
        rules: the `Rules` of training episodes, as keys and values.
        eval_rules: the same for validation; by default the benchmark's (20 steps per turn, official).
        augmentation: when training episodes show hints, for all splits and per split (`augmentation.policy`); off
            by default.
        eval_augmentation: the same for validation.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Check the configuration; an unknown key is a `ValueError`."""
        super().__init__(config)
        refuse_unknown(
            "interaction", config, ("name", "protocol", "tool_listing", "long_context_file", *_RULE_KEYS, *_HINT_KEYS)
        )
        self._protocol = protocol(config.get("protocol", ThinkAnswer.name))
        self._listing = ToolListing(config.get("tool_listing", ToolListing.JSON.value))
        self._rules, self._eval_rules = (rules_of(config, validate=validate) for validate in (False, True))
        self.policies, self.eval_policies = (read_policies(config.get(key)) for key in _HINT_KEYS)
        self._tasks: dict[str, _Known] = {}
        self._episodes: dict[str, Episode] = {}

    async def start_interaction(
        self, instance_id: str | None = None, *, validate: bool = False, step: int | None = None, **kwargs: Any
    ) -> str:
        """Open an episode of the row's task.

        Args:
            instance_id: the episode's id. With annealed hints, what chance depends on.
            validate: whether this is validation, which has rules and hints of its own.
            step: the training step; annealed hints need it.
            kwargs: the row's ``interaction_kwargs``.

        Raises:
            ValueError: the row is not a task of this version.
        """
        instance_id = await super().start_interaction(instance_id)
        if instance_id in self._episodes:
            raise ValueError(f"episode {instance_id} is already open; instance ids are used once")
        known = self._known(self.read_task(kwargs), PromptVersion(kwargs.get("prompt_version", "v1")))
        policy = (self.eval_policies if validate else self.policies).of(known.prepared.task.split)
        hints = None if policy.is_off else Augmentation(known.hints, policy, episode=instance_id, step=step)
        self._episodes[instance_id] = Episode(known.prepared, self._eval_rules if validate else self._rules, hints)
        return instance_id

    def read_task(self, row: Mapping[str, Any]) -> Task:
        """The task of a row's ``interaction_kwargs``; a subclass may read rows of another form."""
        return Task.from_row(row)

    def opening_messages(self, instance_id: str, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The task rendered by the configured protocol and listing, whatever the row's prompt column shows."""
        return self._episodes[instance_id].opening()

    async def generate_response(
        self, instance_id: str, messages: Sequence[Message], **kwargs: Any
    ) -> tuple[bool, str, float, dict[str, Any]]:
        """Take the assistant's last message; the reward is 1 for a message that closed its turn right."""
        episode = self._episodes[instance_id]
        text = messages[-1]["content"]
        reaction = await self._in_thread(episode.step, text) if episode.waits else episode.step(text)
        closed_right = reaction.verdict is not None and reaction.verdict.correct
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
        episode = self._episodes.pop(instance_id, None)
        if episode is not None and episode.environment.waits:
            await self._in_thread(episode.environment.end_episode)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what may wait, without holding up other episodes."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    @functools.cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, thread_name_prefix="episodes")

    @functools.cached_property
    def _long_context(self) -> LongContext | None:
        file = self.config.get("long_context_file")
        return None if file is None else LongContext.load(Path(file))

    def _known(self, task: Task, version: PromptVersion) -> _Known:
        """The task made ready, once for all episodes of it."""
        key = f"{version.value}/{task.id}"
        known = self._tasks.get(key)
        # The same id may stand for another task after the data was rebuilt or edited.
        if known is None or known.prepared.task != task:
            if len(self._tasks) >= _TASKS_KEPT:
                self._tasks.pop(next(iter(self._tasks)))
            prepared = prepare_task(
                task,
                protocol=self._protocol,
                listing=self._listing,
                version=version,
                long_context=self._long_context if task.long_context else None,
            )
            known = self._tasks[key] = _Known(prepared, HintBook(task))
        return known


def rules_of(config: Mapping[str, Any], *, validate: bool) -> Rules:
    """The rules that a configuration of `MultiTurnToolInteraction` gives to training or to validation.

    Raises:
        ValueError: a limit has an unknown name or an impossible value.
    """
    key = "eval_rules" if validate else "rules"
    given = config.get(key) or {}
    refuse_unknown("rules", given, tuple(field.name for field in dataclasses.fields(Rules)))
    return dataclasses.replace(_RULE_KEYS[key], **given)
