"""A checkpoint as a speaker: the project's rollout engine, many episodes in one batch.

Owns: the tokens of a conversation. Refuses: computing (the engine's thread does), native tool calls. Messages become
tokens as in training: generated tokens are never rendered again, so a checkpoint is measured on what it was trained on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from env_tuning.endpoint.client import TooLong
from env_tuning.episode import Reaction
from env_tuning.evaluation.speakers import Reply, Speaker, Talk
from env_tuning.task import Task
from env_tuning.trajectory import StopReason
from env_tuning.verl_plugin.chat_tokens import ChatTokens, chat_tokens_for
from env_tuning.verl_plugin.rollout.folder import LoadedModel, cannot_be_loaded, load_folder
from env_tuning.verl_plugin.rollout.request import Request, SamplingParams
from env_tuning.verl_plugin.rollout.request import StopReason as Ended

_LEAST_ROOM = 16
"""Tokens left for a message below which an episode ends, as `env_tuning.min_message_tokens` in training."""


@dataclass(frozen=True, kw_only=True)
class LocalSpeaker(Speaker):
    """A loaded model.

    Attributes:
        loaded: the engine and its tokenizer.
        chat: how its messages become tokens.
        temperature: 0 takes the most likely token.
        max_tokens: of one message.
    """

    loaded: LoadedModel
    chat: ChatTokens
    temperature: float
    max_tokens: int
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def open(self, task: Task, messages: Sequence[dict[str, str]], seed: int) -> Talk:
        """A conversation whose KV the engine keeps until it is closed."""
        opening = [dict(message) for message in messages]
        return LocalTalk(
            speaker=self, messages=opening, tokens=self.chat.opening(opening), seed=seed, name=f"{next(self._numbers)}"
        )


@dataclass(kw_only=True)
class LocalTalk(Talk):
    """Messages, and the tokens they stand for."""

    speaker: LocalSpeaker
    messages: list[dict[str, str]]
    tokens: list[int]
    seed: int
    name: str
    _mask: list[int] = field(default_factory=list)

    async def reply(self) -> Reply:
        """Generate up to a stop token or a limit."""
        loaded = self.speaker.loaded
        room = loaded.max_length - len(self.tokens)
        if room < _LEAST_ROOM:
            raise TooLong(f"{len(self.tokens)} tokens leave no room in a context of {loaded.max_length}")
        limit = min(room, self.speaker.max_tokens)
        params = SamplingParams(max_tokens=limit, temperature=self.speaker.temperature, seed=self.seed)
        asked = Request(request_id=self.name, prompt_ids=self.tokens, params=params)
        result = await asyncio.wrap_future(loaded.thread.submit(asked))
        prompt = len(self.tokens)
        self.tokens = [*self.tokens, *result.token_ids]
        self._mask += [1] * len(result.token_ids)
        ended = result.stop_reason is Ended.STOP_TOKEN
        # Special tokens stay in the text: a tokenizer may count <think> among them. Only the stop token goes.
        text = loaded.tokenizer.decode(result.token_ids[:-1] if ended else result.token_ids, skip_special_tokens=False)
        self.messages.append({"role": "assistant", "content": text})
        cut = None if ended else StopReason.MESSAGE_LENGTH if limit < room else StopReason.RESPONSE_LENGTH
        return Reply(text=text, cut=cut, prompt_tokens=prompt, completion_tokens=len(result.token_ids))

    def hear(self, reaction: Reaction) -> None:
        """Append the next user message."""
        self.messages.append({"role": "user", "content": reaction.content})
        self.tokens, self._mask, _ = self.speaker.chat.append(self.tokens, self._mask, None, self.messages)

    def close(self) -> None:
        """Free the KV."""
        self.speaker.loaded.thread.call(lambda engine: engine.release(self.name))


def load_speaker(
    folder: Path, *, temperature: float, max_tokens: int, slots: int, max_length: int, threads: int
) -> LocalSpeaker:
    """Load a folder; who loaded it closes ``loaded.thread``.

    Raises:
        UserError: the folder is no model that the engine can compute.
    """
    try:
        loaded = load_folder(folder, slots=slots, max_length=max_length, threads=threads)
        chat = chat_tokens_for(loaded.tokenizer, loaded.model_type)
    # Broken weights, configurations and tokenizers raise whatever their library likes.
    except Exception as error:
        raise cannot_be_loaded(folder, error) from None
    return LocalSpeaker(loaded=loaded, chat=chat, temperature=temperature, max_tokens=max_tokens)
