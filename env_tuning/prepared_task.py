"""`PreparedTask`: what all episodes of one task share.

Owns: the rendered prompt and requests, the held-back names of every turn and the ground-truth twin, each computed once
per task and way of speaking. Refuses: anything that changes during an episode. A GRPO group of 16 episodes would
otherwise render a prompt of 30,000 characters and replay the ground truth 16 times.
"""

from __future__ import annotations

from dataclasses import dataclass

from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import Environment
from env_tuning.environments.registry import make_environment
from env_tuning.judge import TwinTurn, replay_ground_truth
from env_tuning.protocols.base import PromptVersion, Protocol, ToolListing
from env_tuning.task import Task


@dataclass(frozen=True, kw_only=True)
class PreparedTask:
    """A task, ready to be played. Made by `prepare_task`; shared, so nothing in it may be changed.

    Attributes:
        task: the task.
        protocol: how the model speaks.
        system: the system prompt.
        requests: the user's message of every turn, documents of released tools included.
        held_back: per turn, the names of the tools that are not released yet.
        twin: per turn, states and responses of the reference solution.
        long_context: the benchmark's padding data if the task's world is padded, else None.
    """

    task: Task
    protocol: Protocol
    system: str
    requests: tuple[str, ...]
    held_back: tuple[frozenset[str], ...]
    twin: tuple[TwinTurn, ...]
    long_context: LongContext | None

    def environment(self) -> Environment:
        """A fresh environment of the task, for one episode."""
        checked = self.task.tools if self.task.expected else ()
        return make_environment(self.task.tool_classes, self.task.initial_config, self.long_context, checked)


def prepare_task(
    task: Task,
    *,
    protocol: Protocol,
    listing: ToolListing = ToolListing.JSON,
    version: PromptVersion = PromptVersion.V1,
    long_context: LongContext | None = None,
) -> PreparedTask:
    """Render the task and replay its ground truth.

    Args:
        task: what is asked.
        protocol: how the model speaks.
        listing: how tools are shown.
        version: which system prompt.
        long_context: the benchmark's padding data; used if the task is a long-context one, and needed then.

    Raises:
        ValueError: a long-context task without the padding data.
    """
    if task.long_context and long_context is None:
        raise ValueError(f"{task.id} is a long-context task: give long_context_file (docs/data.md)")
    padding = long_context if task.long_context else None
    return PreparedTask(
        task=task,
        protocol=protocol,
        system=protocol.system_prompt(task.visible_tools(0), listing=listing, version=version),
        requests=tuple(protocol.request(task, turn, listing=listing) for turn in range(task.turns)),
        held_back=tuple(task.held_back(turn) for turn in range(task.turns)),
        twin=replay_ground_truth(task.ground_truth, make_environment(task.tool_classes, task.initial_config, padding)),
        long_context=padding,
    )
