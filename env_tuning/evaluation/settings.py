"""What an evaluation depends on: tasks, model, way of speaking, rules.

Owns: these as data, and the identity under which a folder is one evaluation's. Refuses: what does not change a number
(how many requests at a time, prices, names of folders).
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from env_tuning.environments import limits
from env_tuning.episode import Rules
from env_tuning.evaluation.native import NativeCalls
from env_tuning.protocols import PromptVersion, Protocol, ToolListing, protocol
from env_tuning.task import Task

BENCHMARK_RULES = Rules(
    steps_per_turn=20, calls_per_step=10_000, result_characters=limits.RESULT.characters, official=True
)
"""As the benchmark plays: 20 steps, every call runs, every result is shown whole."""


class Mode(enum.Enum):
    """How calls are written."""

    PROMPT = "prompt"
    """In the words of a protocol, which its system prompt explains."""
    NATIVE = "native"
    """As ``tool_calls``; the server knows the tools."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How tasks are played.

    Attributes:
        mode: how calls are written.
        protocol: name of the protocol; ``native`` in native mode.
        listing: how the prompt shows tools.
        version: which system prompt.
        rules: of every episode.
        temperature: 0 is greedy.
        seed: what the draws of an episode depend on, with its task's id.
        max_tokens: of one message.
    """

    mode: Mode = Mode.PROMPT
    protocol: str = "think_answer"
    listing: ToolListing = ToolListing.JSON
    version: PromptVersion = PromptVersion.V1
    rules: Rules = BENCHMARK_RULES
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        """Reject a protocol that there is none of (`ValueError`)."""
        _ = self.speech

    @property
    def speech(self) -> Protocol:
        """The protocol.

        Raises:
            ValueError: there is none of this name.
        """
        return NativeCalls() if self.mode is Mode.NATIVE else protocol(self.protocol)

    def seed_of(self, task: Task) -> int:
        """A seed for one task, from 0 to 2**31 - 1."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{task.id}".encode()).digest()[:4], "big") >> 1

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data. In native mode there is no prompt, and so neither listing nor version."""
        native = self.mode is Mode.NATIVE
        return {
            "mode": self.mode.value,
            "protocol": NativeCalls.name if native else self.protocol,
            "tool_listing": None if native else self.listing.value,
            "prompt_version": None if native else self.version.value,
            "rules": asdict(self.rules),
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "hints": "off",
        }


def tasks_sha256(tasks: Sequence[Task]) -> str:
    """SHA-256 over everything in the tasks, in their order: files that differ in form alone have the same.

    What a task leaves empty does not count, so that a field which a later version adds changes no hash.
    """
    digest = hashlib.sha256()
    for task in tasks:
        values = {part.name: getattr(task, part.name) for part in fields(task)}
        values["tools"] = [tool.as_dict() for tool in task.tools]
        values["releases"] = sorted(task.releases.items())
        filled = {name: value for name, value in values.items() if value}
        digest.update(json.dumps(filled, sort_keys=True, default=_value).encode())
    return digest.hexdigest()


def _value(member: enum.Enum) -> Any:
    return member.value


def identity(settings: Settings, tasks: Sequence[Task], model: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two evaluations the same one, as ``run.json`` of the folder keeps it."""
    return {
        "evaluation": {
            **settings.as_dict(),
            "tasks_sha256": tasks_sha256(tasks),
            "model": {key: value for key, value in model.items() if key != "folder"},
        }
    }
