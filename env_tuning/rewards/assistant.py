"""What a dialogue with an assistant's tools is worth, in five parts: the document's rules, and sound ones.

Owns: `assistant`, the default, and `assistant_original`, the numbers of the document's system. Both log ``correctness``
(of calls), ``necessity``, ``usage`` (of results), ``quality`` (of the answer) and ``coherence``, each from 0 to 1, and
pay every turn its share. A turn that was never begun earns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from env_tuning.answers.matching import pieces
from env_tuning.rewards.dialogues import (
    DialogueTurn,
    dialogue_turns,
    sounds_like_tools,
    succeeded,
    used_share,
    was_refused,
)
from env_tuning.rewards.score import Score
from env_tuning.trajectory import CallRecord, StepOutcome, Trajectory

Parts = Mapping[str, float]

WEIGHTS: Parts = MappingProxyType(
    {"correctness": 0.15, "necessity": 0.15, "usage": 0.2, "quality": 0.4, "coherence": 0.1}
)
ORIGINAL_WEIGHTS: Parts = MappingProxyType(
    {"correctness": 0.3, "necessity": 0.2, "usage": 0.2, "quality": 0.2, "coherence": 0.1}
)


def assistant(trajectory: Trajectory) -> Score:
    """From 0 to 1, over all turns of the task.

    correctness: of every call half for a known tool with right arguments, half for success; a message whose calls
    cannot be read counts as a call without either. necessity: whether a tool succeeded exactly where one is needed (the
    label; without one, the document's key words). usage: the share of results that the answer or a later call uses;
    none for a wrong answer. quality: whether the answer is right; without a known answer, how far it agrees with the
    results (without results, with the question). coherence: the share of messages that say something, are well-formed
    and no repetition; none without an answer.
    """
    return _score(trajectory, _parts, WEIGHTS)


def assistant_original(trajectory: Trajectory) -> Score:
    """The document's rules with its weights 30/20/20/20/10: for comparison, not for training.

    They look at key words and lengths, so that they are easily gamed, and words are split at blanks, which Chinese does
    not have.
    """
    return _score(trajectory, _original, ORIGINAL_WEIGHTS)


def _score(trajectory: Trajectory, parts_of: Callable[[DialogueTurn], Parts], weights: Parts) -> Score:
    parts = [parts_of(turn) for turn in dialogue_turns(trajectory)]
    closed = {verdict.turn for verdict in trajectory.verdicts}
    earned = [sum(weights[name] * value for name, value in turn.items()) / trajectory.turns for turn in parts]
    return Score(
        score=sum(earned),
        turns=tuple(amount if number in closed else 0.0 for number, amount in enumerate(earned)),
        parts={name: sum(turn[name] for turn in parts) / trajectory.turns for name in weights},
    )


def _parts(turn: DialogueTurn) -> Parts:
    calls = turn.calls
    needed, used = turn.needs_tools, used_share(turn)
    broken = sum(step.outcome is StepOutcome.FORMAT_ERROR for step in turn.steps)
    worth = [*map(_worth, calls), *[0.0] * broken]
    tried = bool(worth)
    right = turn.right if turn.expected.answer is not None else None
    return {
        "correctness": sum(worth) / len(worth) if tried else float(not needed),
        "necessity": float(any(map(succeeded, calls)) if needed else not tried),
        "usage": (float(not needed) if used is None else used) if right is not False else 0.0,
        "quality": _agreement(turn) if right is None else float(right),
        "coherence": _coherence(turn),
    }


def _worth(call: CallRecord) -> float:
    return 1.0 if succeeded(call) else 0.0 if was_refused(call) else 0.5


def _agreement(turn: DialogueTurn) -> float:
    """F1 of the pieces of the answer and of the successful results, else of the question: length earns nothing."""
    results = " ".join(call.result or "" for call in turn.calls if succeeded(call))
    wanted, said = pieces(results or turn.question), pieces(turn.final)
    common = len(wanted & said)
    return 2 * common / (len(wanted) + len(said)) if turn.answered and common else 0.0


def _coherence(turn: DialogueTurn) -> float:
    if not turn.answered:
        return 0.0
    seen: set[str] = set()
    good = 0
    for step in turn.steps:
        text = step.text.strip()
        good += bool(text) and text not in seen and step.outcome is not StepOutcome.FORMAT_ERROR
        seen.add(text)
    return good / len(turn.steps)


class Outcome(NamedTuple):
    """The result of one call, as the document's rules look at it."""

    text: str
    success: bool


def document_parts(
    question: str, answer: str, *, calls: int, results: Sequence[Outcome], messages: Sequence[str]
) -> dict[str, float]:
    """The document's five numbers for one request.

    Args:
        question: the request.
        answer: the final answer.
        calls: how many calls the messages hold.
        results: of calls that ran. The document's own training passed none, whatever was called.
        messages: the assistant's, in order.
    """
    return {
        "correctness": _original_correctness(calls, results),
        "necessity": _original_necessity(question, answer, calls),
        "usage": _original_usage(answer, results),
        "quality": _original_quality(question, answer, results),
        "coherence": _original_coherence(messages),
    }


def _original(turn: DialogueTurn) -> Parts:
    return document_parts(
        turn.question,
        turn.final,
        calls=len(turn.calls),
        results=[Outcome(call.result, succeeded(call)) for call in turn.calls if call.result is not None],
        messages=[step.text for step in turn.steps],
    )


# The document's words for wrong arguments and unknown tools, and this project's.
_ARGUMENTS = re.compile("参数|缺少|wrong arguments")
_UNKNOWN = re.compile("未知工具|unknown tool")


def _original_correctness(calls: int, results: Sequence[Outcome]) -> float:
    if not calls:
        return 0.5
    return sum(_original_worth(result) for result in results) / calls


def _original_worth(result: Outcome) -> float:
    if result.success:
        return 1.0
    return 0.3 if _ARGUMENTS.search(result.text) else 0.1 if _UNKNOWN.search(result.text) else 0.0


def _original_necessity(question: str, answer: str, calls: int) -> float:
    if sounds_like_tools(question):
        return 1.0 if calls else 0.3
    return 1.0 if not calls else 0.7 if len(answer) > 20 else 0.4


def _original_usage(answer: str, results: Sequence[Outcome]) -> float:
    if not results:
        return 0.5
    return sum(_original_use(answer, result) for result in results) / len(results)


def _original_use(answer: str, result: Outcome) -> float:
    if not result.success:
        return 0.5 if result.text in answer else 0.0
    if _mentions(answer, result, words=3, longer_than=2):
        return 1.0
    return 0.7 if len(answer) > 50 else 0.3


def _original_quality(question: str, answer: str, results: Sequence[Outcome]) -> float:
    if len(answer) < 5:
        return 0.1
    asked, said = set(question.lower().split()), set(answer.lower().split())
    length = 0.2 if 20 <= len(answer) <= 500 else -0.2 if len(answer) < 20 else 0.0
    overlap = min(0.3, 0.3 * len(asked & said) / len(asked)) if asked else 0.0
    mentioned = sum(_mentions(answer, result, words=5, longer_than=3) for result in results if result.success)
    return min(1.0, max(0.0, 0.5 + length + overlap + 0.1 * mentioned))


def _original_coherence(messages: Sequence[str]) -> float:
    if len(messages) < 2:
        return 0.8
    filled = [bool(message.strip()) for message in messages]
    followed = sum("<tool_call>" in one and after for one, after in zip(messages, filled[1:], strict=False))
    return min(1.0, 0.5 + 0.3 * sum(filled) / len(filled) + 0.1 * followed)


def _mentions(answer: str, result: Outcome, *, words: int, longer_than: int) -> bool:
    firsts = result.text.lower().split()[:words]
    return any(len(word) > longer_than and word in answer.lower() for word in firsts)
