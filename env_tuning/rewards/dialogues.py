"""A trajectory of `DialogueInteraction`, turn by turn, as its rewards look at it.

Owns: `DialogueTurn`, which of a turn's results are used in what follows, and which requests sound as if they needed a
tool. Refuses: scores.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from env_tuning.answers.matching import close, numbers_in, pieces
from env_tuning.calls import UNKNOWN_TOOL, WRONG_ARGUMENTS
from env_tuning.task import Expected
from env_tuning.trajectory import CallRecord, StepOutcome, StepRecord, Trajectory

_OK = "ok"
_CALL_BLOCK = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)
_SOUNDS = (
    "计算", "算", "天气", "查询", "搜索", "查找", "时间", "现在几点",
    "calculate", "weather", "search", "time", "what time",
)  # fmt: skip
"""The document's key words."""
_ENOUGH = 1 / 3
_MOST_PIECES = 2_000


class DialogueTurn(NamedTuple):
    """One request and what was done about it."""

    question: str
    steps: tuple[StepRecord, ...]
    expected: Expected
    answered: bool
    right: bool
    """The judge's word on the answer."""

    @property
    def calls(self) -> list[CallRecord]:
        """All calls, in order, also those that did not run."""
        return [call for step in self.steps for call in step.calls]

    @property
    def final(self) -> str:
        """The final answer; of a turn that was not answered, the last message without its calls."""
        if self.answered:
            return self.steps[-1].answer
        return _CALL_BLOCK.sub("", self.steps[-1].text).strip() if self.steps else ""

    @property
    def needs_tools(self) -> bool:
        """What the label says; without one, what the request sounds like."""
        labelled = self.expected.needs_tools
        return sounds_like_tools(self.question) if labelled is None else labelled


def dialogue_turns(trajectory: Trajectory) -> tuple[DialogueTurn, ...]:
    """The turns of an episode that were begun, in order.

    Raises:
        ValueError: the trajectory is of another interaction.
    """
    if not trajectory.expected:
        raise ValueError(f"{trajectory.task_id} is no dialogue: this reward is for env_tuning.interaction.dialogue")
    verdicts = {verdict.turn: verdict.correct for verdict in trajectory.verdicts}
    turns, question = [], trajectory.first_request
    for number, expected in enumerate(trajectory.expected):
        steps = tuple(step for step in trajectory.steps if step.turn == number)
        if not steps:
            break
        answered = steps[-1].outcome is StepOutcome.ANSWER
        turns.append(DialogueTurn(question, steps, expected, answered, verdicts.get(number, False)))
        question = steps[-1].observation
    return tuple(turns)


def sounds_like_tools(question: str) -> bool:
    """Whether a request holds one of the document's key words."""
    return any(word in question.lower() for word in _SOUNDS)


def succeeded(call: CallRecord) -> bool:
    """Whether a call ran and its tool returned no error."""
    return call.status == _OK


def was_refused(call: CallRecord) -> bool:
    """Whether a call did not run: unknown tool, wrong arguments, one too many."""
    return call.result is None or call.result.startswith((UNKNOWN_TOOL, WRONG_ARGUMENTS))


def used_share(turn: DialogueTurn) -> float | None:
    """The share of successful results that are used in the answer or in a later call; None without such results."""
    calls = turn.calls
    given = [position for position, call in enumerate(calls) if succeeded(call)]
    if not given:
        return None
    return sum(is_used(turn, position) for position in given) / len(given)


def is_used(turn: DialogueTurn, position: int) -> bool:
    """Whether what the result of a call says, and nobody knew before, is in the answer or in a later call."""
    calls = turn.calls
    result = calls[position].result or ""
    # What was known before the call is no use of its result.
    before = f"{turn.question} {_words(calls[position])}"
    after = [turn.final, *map(_words, calls[position + 1 :])]
    known = numbers_in(before)
    news = [value for value in numbers_in(result) if not any(close(value, other) for other in known)]
    if news:
        return any(close(value, other) for text in after for other in numbers_in(text) for value in news)
    wanted = pieces(result[:_MOST_PIECES]) - pieces(before)
    if not wanted:  # a result that only repeats what was known is used by saying it again
        return bool(result.strip()) and any(result.strip() in text for text in after)
    return any(len(wanted & pieces(text)) >= _ENOUGH * len(wanted) for text in after)


def _words(call: CallRecord) -> str:
    return " ".join(str(value) for value in call.arguments.values())
