"""The model of an evaluation: opened, asked, closed.

Owns: what an endpoint and a checkpoint have in common for a run. Refuses: conversations (`speakers`, `local`).
"""

from __future__ import annotations

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from env_tuning.endpoint.client import Chat, Endpoint
from env_tuning.evaluation.settings import Mode, Settings
from env_tuning.evaluation.sources import checkpoint_facts
from env_tuning.evaluation.speakers import EndpointSpeaker, Speaker

if TYPE_CHECKING:
    from env_tuning.evaluation.local import LocalSpeaker


class Model(abc.ABC):
    """To be used as an async context, within which it can be asked.

    Attributes:
        facts: how a card knows the model; filled when the context is entered.
    """

    facts: dict[str, Any]

    @abc.abstractmethod
    async def __aenter__(self) -> Model:
        """Find out the facts; `UserError` if there is no such model."""

    @abc.abstractmethod
    async def __aexit__(self, *_: object) -> None:
        """Close what is open."""

    @abc.abstractmethod
    def speaker(self, settings: Settings, concurrency: int) -> Speaker:
        """The model, ready to talk; `UserError` if it cannot be had."""

    @property
    def not_taken(self) -> frozenset[str]:
        """Fields of requests that the model's server does not take."""
        return frozenset()


class EndpointModel(Model):
    """A model behind an OpenAI-compatible endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._chat = Chat(endpoint)

    async def __aenter__(self) -> EndpointModel:
        await self._chat.__aenter__()
        # Without user and password, which an address may hold.
        address = httpx.URL(self._endpoint.base_url).copy_with(username=None, password=None, query=None)
        self.facts = {"kind": "endpoint", "base_url": str(address), "name": self._chat.model}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._chat.__aexit__()

    def speaker(self, settings: Settings, concurrency: int) -> Speaker:
        """In the mode of the settings."""
        return EndpointSpeaker(chat=self._chat, native=settings.mode is Mode.NATIVE, seeded=settings.temperature > 0)

    @property
    def not_taken(self) -> frozenset[str]:
        """As the connection has learned."""
        return self._chat.left_out


class CheckpointModel(Model):
    """A Hugging Face folder behind the rollout engine."""

    def __init__(self, folder: Path, *, context: int | None, threads: int) -> None:
        self._folder, self._context, self._threads = folder, context, threads
        self._speaker: LocalSpeaker | None = None

    async def __aenter__(self) -> CheckpointModel:
        self.facts = checkpoint_facts(self._folder)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._speaker is not None:
            self._speaker.loaded.thread.close()

    def speaker(self, settings: Settings, concurrency: int) -> Speaker:
        """Load it, with a slot for every episode at a time."""
        from env_tuning.evaluation.local import load_speaker

        self._speaker = load_speaker(
            self._folder,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            slots=concurrency,
            max_length=self._context or 0,
            threads=self._threads,
        )
        return self._speaker
