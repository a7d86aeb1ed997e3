"""Demonstrations: the ground truth of a task, spoken in a protocol.

Owns: the messages of a perfect episode, for supervised fine-tuning. Refuses: inventing anything that an episode would
not show. The messages come out of a real `Episode`, so system prompt, results, released tools and the order of
everything are what the agent loop will show, and the judge has agreed with every turn.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence

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


# Thoughts name no function: a tiny model would have to be right twice, and every token costs time in all later runs.
_CALL_THOUGHTS = ("I call a function.", "This needs a function.", "There is something to do.")
_DONE_THOUGHTS = ("The request is fulfilled.", "All of it is done.", "Nothing is left to do.")
_DONE_ANSWERS = ("It is done.", "Done, as you asked.", "Your request is fulfilled.")
_NO_TOOL_THOUGHTS = ("No function in my list does this.", "I have no function for this.")
_NO_TOOL_ANSWERS = ("I have no function that can do this.", "None of my functions can do that.")
_ASK_THOUGHTS = ("A value that I need is missing.", "I cannot call anything without more details.")
_ASK_ANSWERS = ("Which value should I use? Please give me the missing details.", "Please tell me the missing details.")


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
) -> list[Message]:
    """The messages of one perfect episode, from the system prompt to the last answer.

    Args:
        task: what is played.
        pacing: how the calls of a turn are spread over messages. A turn whose calls would not fit into the steps of
            a turn is written in one message.
        listing: how the tools are shown.
        seed: chooses the wording and, with `Pacing.MIXED`, the spreading; the task's id is part of the choice.
        protocol: how the model speaks; `ThinkAnswer` by default.
        version: which system prompt.
        rules: of the episode; the training default if not given.
        long_context: the padding data, for long-context tasks.

    Raises:
        ImperfectDemonstrationError: the judge did not find every turn correct.
        ValueError: the ground truth does not fit the documented parameters of a tool.
    """
    protocol, rules = protocol or ThinkAnswer(), rules or Rules()
    episode = Episode(
        prepare_task(task, protocol=protocol, listing=listing, version=version, long_context=long_context), rules
    )
    rng = random.Random(f"{seed}/{task.id}")
    messages = episode.opening()
    for turn in range(task.turns):
        for text in _turn_texts(task, turn, protocol, pacing, rules, rng):
            messages.append({"role": "assistant", "content": text})
            reaction = episode.step(text)
            if not reaction.over:
                messages.append({"role": "user", "content": reaction.content})
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
    texts = []
    for batch in _batches(calls, pacing, rules.steps_per_turn - 1, rng):
        texts.append(protocol.write_calls(batch, rng.choice(_CALL_THOUGHTS)))
    thoughts, answers = _closing_words(task, turn)
    texts.append(protocol.write_answer(rng.choice(answers), rng.choice(thoughts)))
    return texts


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


def _closing_words(task: Task, turn: int) -> tuple[Sequence[str], Sequence[str]]:
    """Thoughts and answers for the end of a turn: done, or why nothing was called."""
    if task.ground_truth[turn]:
        return _DONE_THOUGHTS, _DONE_ANSWERS
    if task.held_back(turn):
        return _NO_TOOL_THOUGHTS, _NO_TOOL_ANSWERS
    return _ASK_THOUGHTS, _ASK_ANSWERS


def _must_be_perfect(trajectory: Trajectory) -> None:
    if trajectory.stop is StopReason.COMPLETED and trajectory.correct_turns == trajectory.turns:
        return
    wrong = [f"turn {verdict.turn} ({verdict.failure})" for verdict in trajectory.verdicts if not verdict.correct]
    raise ImperfectDemonstrationError(
        f"the ground truth of {trajectory.task_id} is not imitated: it ended {trajectory.stop.value}, "
        f"and the judge found wrong: {', '.join(wrong) or 'nothing'}"
    )
