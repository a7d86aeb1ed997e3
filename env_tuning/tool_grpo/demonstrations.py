"""Demonstrations for the warm start of a tiny model: what an assistant says in a file, with bad habits mixed in.

Owns: the habits and when they show, and playing every demonstration through a real episode, so that openings and
results are those of training. Refuses: judging. A habit shows by chance, anew in every variant of a demonstration, and
from its first words: what reinforcement learning can unlearn in a few steps of a tiny model is a choice of words that
does not depend on the task.
"""

from __future__ import annotations

import asyncio
import enum
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from env_tuning.data.demonstrations import Message
from env_tuning.interaction.dialogue import DialogueInteraction

EVASION = "I know that without a tool."


class Habit(enum.Enum):
    """How an assistant goes wrong at the start of a turn that needs a tool."""

    EVADE = "evade"
    """It calls nothing and does not answer the question."""
    MALFORMED = "malformed"
    """It writes a call that cannot be read, or a program that nobody runs; if it is told so, it goes on rightly."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How often habits show.

    Attributes:
        evade: share of the turns with calls in which the assistant evades.
        malformed: share of those whose first call is malformed.
    """

    evade: float = 0.5
    malformed: float = 0.2

    def __post_init__(self) -> None:
        """Reject shares that are none."""
        if min(self.evade, self.malformed) < 0 or self.evade + self.malformed > 1:
            raise ValueError(f"{self}: shares are at least 0 and at most 1 together")

    def draw(self, chance: random.Random) -> Habit | None:
        """The habit of one turn, or none."""
        share = chance.random()
        if share < self.evade:
            return Habit.EVADE
        return Habit.MALFORMED if share < self.evade + self.malformed else None


def demonstrations(
    records: Sequence[Mapping[str, Any]],
    replies: Sequence[Sequence[Sequence[str]]],
    config: Mapping[str, Any],
    *,
    habits: Habits,
    variants: int,
    seed: int = 0,
) -> list[list[Message]]:
    """Every dialogue in several variants, which differ in where habits show.

    Args:
        records: as `read_conversations` gives them.
        replies: of the same file, as `read_replies` gives them.
        config: of `DialogueInteraction`, as training has it.
        habits: how often they show.
        variants: of every dialogue.
        seed: of all chance.

    Raises:
        ValueError: a dialogue has a turn without a reply.
    """
    interaction = DialogueInteraction(config)

    async def played() -> list[list[Message]]:
        shown: list[list[Message]] = []
        known: dict[str, list[Message]] = {}  # most variants of a dialogue are the same, and programs take time
        for variant in range(variants):
            for record, turns in zip(records, replies, strict=True):
                said = _with_habits(turns, habits, f"{seed}/{variant}/{record['id']}")
                key = json.dumps([record["id"], said])
                if key not in known:
                    known[key] = await _play(interaction, record, said)
                shown.append(known[key])
        return shown

    return asyncio.run(played())


async def _play(
    interaction: DialogueInteraction, record: Mapping[str, Any], turns: Sequence[Sequence[str]]
) -> list[Message]:
    """The messages of an episode in which the assistant says this, and nothing of a turn after it is closed."""
    episode = await interaction.start_interaction(dialogue=json.dumps(record), id=record["id"])
    messages: list[Message] = interaction.opening_messages(episode, [])
    try:
        for number, turn in enumerate(turns):
            for text in turn:
                messages.append({"role": "assistant", "content": text})
                over, content, _, _ = await interaction.generate_response(episode, messages)
                if over:
                    return messages
                messages.append({"role": "user", "content": content})
                if len(interaction.trajectory(episode).verdicts) > number:
                    break
            else:
                raise ValueError(f"{record['id']}: what the assistant says to request {number + 1} is no answer")
    finally:
        await interaction.finalize_interaction(episode)
    raise AssertionError("an episode with all turns closed is over")


def _with_habits(turns: Sequence[Sequence[str]], habits: Habits, seed: str) -> list[list[str]]:
    chance = random.Random(seed)
    return [_with_habit(turn, habits.draw(chance)) for turn in turns]


def _with_habit(turn: Sequence[str], habit: Habit | None) -> list[str]:
    if habit is None or len(turn) < 2:  # without a call there is nothing to get wrong
        return list(turn)
    return [EVASION] if habit is Habit.EVADE else [_malformed(turn[0]), *turn]


def _malformed(text: str) -> str:
    """The call without its quotation mark, or the program without its language."""
    return text.replace('{"name": "', "{name: ", 1) if "<tool_call>" in text else text.replace("```python", "```", 1)
