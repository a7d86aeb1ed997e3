"""Tasks as conversations: the warm-up for reinforcement learning on the same tasks.

Owns: turning the ground truth of tasks (BFCL's training split, scenarios of any tool class) into rows. Refuses: other
words than the agent loop shows: the messages are those of a played episode (`data/demonstrations.py`), in the protocol
of the reinforcement learning, with the tools listed in its system prompt; so the rows carry no function schemas.
"""

from __future__ import annotations

from collections.abc import Sequence

from env_tuning.data.demonstrations import Pacing, demonstration
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.protocols import Protocol, ToolListing
from env_tuning.sft.conversations import Conversation
from env_tuning.task import Task


def conversations_of(
    tasks: Sequence[Task],
    *,
    variants: int = 1,
    listing: ToolListing = ToolListing.JSON,
    protocol: Protocol | None = None,
    pacing: Pacing = Pacing.MIXED,
    long_context: LongContext | None = None,
    seed: int = 1,
) -> list[Conversation]:
    """Rows of the perfect episodes of tasks.

    Args:
        tasks: of the training split only, when a benchmark's tasks are to be measured later.
        variants: rows per task, each with other wording and other spreading of calls over messages.
        listing: how the system prompt shows the tools; as in the reinforcement learning that follows.
        protocol: how the model speaks; the paper's by default.
        pacing: how the calls of a turn are spread over messages.
        long_context: the padding data, for long-context tasks.
        seed: of wording and spreading.

    Raises:
        ValueError: a task's ground truth cannot be played; the message names it.
    """
    return [
        Conversation(
            messages=tuple(
                dict(message)
                for message in demonstration(
                    task,
                    pacing=pacing,
                    listing=listing,
                    seed=seed * variants + variant,
                    protocol=protocol,
                    long_context=long_context,
                )
            ),
            domain=task.split,
            flow="demonstration",
        )
        for variant in range(variants)
        for task in tasks
    ]
