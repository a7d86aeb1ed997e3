"""One episode between a model and a task, without training.

Owns: the alternation of the two, and what an episode cost. Refuses: tokens, protocols of the wire (`speakers`), rules
(`episode`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from env_tuning.endpoint.client import TooLong
from env_tuning.episode import Episode, Rules
from env_tuning.evaluation.speakers import Speaker
from env_tuning.prepared_task import PreparedTask
from env_tuning.trajectory import StopReason, Trajectory


@dataclass(frozen=True, kw_only=True)
class Played:
    """A finished episode.

    Attributes:
        trajectory: its record.
        prompt_tokens: over all messages, each counted with its whole conversation, as servers charge them.
        completion_tokens: over all messages.
        seconds: from the first request to the last answer.
    """

    trajectory: Trajectory
    prompt_tokens: int
    completion_tokens: int
    seconds: float


async def play(prepared: PreparedTask, rules: Rules, speaker: Speaker, *, seed: int) -> Played:
    """Play a task to its end, or to a limit of the model.

    Raises:
        NoReply: the model stopped answering; nothing can be said of the episode.
        UnusableReply: an answer without a message, to the same effect.
    """
    episode = Episode(prepared, rules)
    talk = speaker.open(prepared.task, episode.opening(), seed)
    prompt = completion = 0
    started = time.monotonic()
    try:
        while not episode.over:
            try:
                reply = await talk.reply()
            except TooLong:
                episode.cut(StopReason.RESPONSE_LENGTH)
                break
            prompt += reply.prompt_tokens
            completion += reply.completion_tokens
            if reply.cut is not None:
                episode.cut(reply.cut, reply.text)
                break
            waits = episode.environment.waits
            reaction = await asyncio.to_thread(episode.step, reply.text) if waits else episode.step(reply.text)
            if not reaction.over:
                talk.hear(reaction)
    finally:
        talk.close()
        if episode.environment.waits:
            await asyncio.to_thread(episode.environment.end_episode)
    return Played(
        trajectory=episode.trajectory(),
        prompt_tokens=prompt,
        completion_tokens=completion,
        seconds=time.monotonic() - started,
    )
