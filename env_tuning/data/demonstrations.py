"""Demonstrations: the ground truth of a task, spoken in a protocol.

Owns: the messages of an episode for supervised fine-tuning, perfect or with bad habits that are asked for. Refuses:
inventing anything that an episode would not show. The messages come out of a real `Episode`, so system prompt, results,
released tools and the order of everything are what the agent loop will show, and the judge has agreed with every turn
of a perfect one.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass

from env_tuning.calls import ToolCall, parse_call
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.episode import Episode, Rules
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import PromptVersion, Protocol, ThinkAnswer, ToolListing
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import StopReason, Trajectory

Message = dict[str, str]


class Pacing(enum.Enum):
    """How many calls of a turn go into one assistant message."""

    TOGETHER = "together"
    """All of them."""
    SINGLE = "single"
    """One."""
    MIXED = "mixed"
    """A seeded choice after every call: go on in the same message or in the next."""


class ImperfectDemonstrationError(ValueError):
    """The episode did not end with every turn correct, so its messages must not be imitated."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """Bad habits of the speaker, for models that have something to unlearn. Chances, seeded like all choices.

    They show where few calls or none come after them: a small model that has to be right in contexts with and without a
    habit loses much of what it knows of the tasks.

    Attributes:
        hasty: that the last answer is preceded by a message that breaks the protocol `ThinkAnswer`, and by what the
            environment says to that; and this again, until the steps of the turn are used up.
        idle: that a turn is answered without its calls, and with it all turns that follow. Format and calls that run,
            and so the reward of stage 1, do not suffer from it.
        idle_from: the first turn, counted from zero, that may be answered so.
    """

    hasty: float = 0.0
    idle: float = 0.0
    idle_from: int = 1

    def __post_init__(self) -> None:
        """Reject what is no chance, and what is no turn."""
        if not (0 <= self.hasty <= 1 and 0 <= self.idle <= 1):
            raise ValueError(f"{self}: hasty and idle are probabilities")
        if self.idle_from < 0:
            raise ValueError(f"{self}: idle_from counts from zero")


PERFECT = Habits()

# Thoughts name no function: a tiny model would have to be right twice, and every token costs time in later runs. One
# wording each: every free choice of words is noise in the gradients of a later run with few rollouts. The first words
# of a bad habit tell it from a good one, so that it is one decision to unlearn.
_CALL_THOUGHT = "I call a function."
_DONE = ("The request is fulfilled.", "It is done.")
_NO_TOOL = ("No function in my list does this.", "I have no function that can do this.")
_ASK = ("A value that I need is missing.", "Please tell me the missing details.")
_HASTY = "<think>Quick, it will be fine.</think>It is done."
# Other words under either prompt: what a stage with the first unlearns is left to one with the second.
_IDLE_THOUGHTS = {PromptVersion.V1: "The rest can wait.", PromptVersion.V2: "Nobody needs more."}


def demonstration(
    task: Task,
    *,
    pacing: Pacing = Pacing.MIXED,
    listing: ToolListing = ToolListing.SIGNATURES,
    seed: int = 0,
    protocol: Protocol | None = None,
    version: PromptVersion = PromptVersion.V1,
    rules: Rules | None = None,
    long_context: LongContext | None = None,
    habits: Habits = PERFECT,
) -> list[Message]:
    """The messages of one episode, from the system prompt to the last answer.

    Args:
        task: what is played.
        pacing: how the calls of a turn are spread over messages. A turn whose calls would not fit into the steps of
            a turn is written in one message.
        listing: how the tools are shown.
        seed: chooses the spreading with `Pacing.MIXED`, and where the habits show; the task's id is part of the choice.
        protocol: how the model speaks; `ThinkAnswer` by default.
        version: which system prompt.
        rules: of the episode; the training default if not given.
        long_context: the padding data, for long-context tasks.
        habits: of the speaker; none by default.

    Raises:
        ImperfectDemonstrationError: the judge did not find every turn correct, though none was idle.
        ValueError: the ground truth does not fit the documented parameters of a tool.
    """
    protocol, rules = protocol or ThinkAnswer(), rules or Rules()
    episode = Episode(
        prepare_task(task, protocol=protocol, listing=listing, version=version, long_context=long_context), rules
    )
    rng = random.Random(f"{seed}/{task.id}")
    messages = episode.opening()
    idle = False
    for turn in range(task.turns):
        # The generator is asked only where a habit may show, so that perfect demonstrations do not depend on them.
        idle = idle or (habits.idle > 0 and turn >= habits.idle_from and rng.random() < habits.idle)
        if idle:
            texts = [protocol.write_answer(_DONE[1], _IDLE_THOUGHTS[version])]
        else:
            texts = _turn_texts(task, turn, protocol, pacing, rules, rng)
        if habits.hasty and turn == task.turns - 1:
            texts[-1:-1] = _haste(rules.steps_per_turn - len(texts), habits.hasty, rng)
        for text in texts:
            messages.append({"role": "assistant", "content": text})
            reaction = episode.step(text)
            if not reaction.over:
                messages.append({"role": "user", "content": reaction.content})
    if not idle:
        _must_be_perfect(episode.trajectory())
    return messages


def name_arguments(call: ToolCall, tool: ToolDoc) -> ToolCall:
    """The same call with its positional arguments under the names that the tool's document lists, in that order.

    Raises:
        ValueError: more positional arguments than documented parameters, or one that is also given by name.
    """
    names = list(tool.parameters.get("properties", {}))[: len(call.positional)]
    if len(names) < len(call.positional) or call.arguments.keys() & set(names):
        raise ValueError(f"{call} does not fit the documented parameters of {tool.name}")
    return ToolCall(name=call.name, arguments={**dict(zip(names, call.positional, strict=True)), **call.arguments})


def _turn_texts(
    task: Task, turn: int, protocol: Protocol, pacing: Pacing, rules: Rules, rng: random.Random
) -> list[str]:
    """The assistant's messages of one turn, the answer last."""
    documents = {tool.name: tool for tool in task.tools}
    parsed = [parse_call(text) for text in task.ground_truth[turn]]
    calls = [name_arguments(call, documents[call.name]) for call in parsed]
    batches = _batches(calls, pacing, rules.steps_per_turn - 1, rng)
    thought, answer = _closing_words(task, turn)
    return [*(protocol.write_calls(batch, _CALL_THOUGHT) for batch in batches), protocol.write_answer(answer, thought)]


def _haste(most: int, chance: float, rng: random.Random) -> list[str]:
    """Messages that break the protocol: one more with every `chance`, at most `most`."""
    count = 0
    while count < most and rng.random() < chance:
        count += 1
    return [_HASTY] * count


def _batches(calls: Sequence[ToolCall], pacing: Pacing, most: int, rng: random.Random) -> list[list[ToolCall]]:
    """Cut the calls of a turn into at most `most` messages, keeping their order."""
    batches: list[list[ToolCall]] = []
    for call in calls:
        same = pacing is Pacing.TOGETHER or (pacing is Pacing.MIXED and rng.random() < 0.5)
        if batches and same:
            batches[-1].append(call)
        else:
            batches.append([call])
    return batches if len(batches) <= most else [list(calls)]


def _closing_words(task: Task, turn: int) -> tuple[str, str]:
    """Thought and answer for the end of a turn: done, or why nothing was called."""
    if task.ground_truth[turn]:
        return _DONE
    return _NO_TOOL if task.held_back(turn) else _ASK


def _must_be_perfect(trajectory: Trajectory) -> None:
    if trajectory.stop is StopReason.COMPLETED and trajectory.correct_turns == trajectory.turns:
        return
    wrong = [f"turn {verdict.turn} ({verdict.failure})" for verdict in trajectory.verdicts if not verdict.correct]
    raise ImperfectDemonstrationError(
        f"the ground truth of {trajectory.task_id} is not imitated: it ended {trajectory.stop.value}, "
        f"and the judge found wrong: {', '.join(wrong) or 'nothing'}"
    )
