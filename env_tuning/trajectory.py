"""What happened in one episode, as data: steps, verdicts of turns, why it stopped.

Owns: the records and their JSON form. Refuses: logic. Rewards, reports and evaluation read these records and nothing
else. Those of which an episode makes many are named tuples, a quarter of a frozen dataclass to make. A *step* is one
assistant message, a *turn* one user request, an *episode* all turns of one task.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from env_tuning.task import AnswerKind, Expected


class StepOutcome(enum.Enum):
    """What one assistant message turned out to be."""

    FORMAT_ERROR = "format_error"
    """The message broke the protocol; nothing ran."""
    CALLS_OK = "calls_ok"
    """Every call ran; a tool may still have returned an error as its result."""
    CALLS_FAILED = "calls_failed"
    """At least one call raised: unknown tool, wrong arguments, an exception in the tool."""
    CALLS_REFUSED = "calls_refused"
    """The turn has no right call to make (a tool or a parameter is missing): the calls were not run."""
    ANSWER = "answer"
    """A final answer, which closes the turn."""
    CUT = "cut"
    """The generation hit a length limit before the message ended; the episode stops."""

    @property
    def called_tools(self) -> bool:
        """Whether calls were executed."""
        return self in (StepOutcome.CALLS_OK, StepOutcome.CALLS_FAILED)


class StopReason(enum.Enum):
    """Why an episode ended."""

    COMPLETED = "completed"
    """Every turn was closed."""
    RESPONSE_LENGTH = "response_length"
    """The next message no longer fits into the response or context length."""
    MESSAGE_LENGTH = "message_length"
    """One assistant message hit the limit of tokens per message before it ended."""
    STEPS_PER_TURN = "steps_per_turn"
    """Official mode: the steps of a turn ran out, and the benchmark gives up the task."""
    ABORTED = "aborted"
    """The rollout was stopped from outside."""

    @property
    def is_truncated(self) -> bool:
        """Whether turns may be missing because a limit cut the episode."""
        return self is not StopReason.COMPLETED


class TurnFailure(enum.Enum):
    """Why a closed turn counts as wrong."""

    NO_CALLS = "no_calls"
    """The turn needs calls and none ran."""
    STATE = "state"
    """The public state of a tool class differs from the ground truth's."""
    RESPONSE = "response"
    """A result of the ground truth is not among the results the model saw so far."""
    CALLED_WITHOUT_NEED = "called_without_need"
    """The right act was to call nothing."""
    NO_ANSWER = "no_answer"
    """The right act was to answer, and the steps of the turn ran out without an answer."""
    WRONG_ANSWER = "wrong_answer"
    """The turn is judged by its answer, which is not the right one, or empty."""


class LimitHit(enum.Enum):
    """A limit that changed something without ending the episode."""

    STEPS_PER_TURN = "steps_per_turn"
    """The turn was closed because its steps ran out."""
    CALLS_PER_STEP = "calls_per_step"
    """The message held more calls than allowed; the rest was not run."""
    RESULT_CHARACTERS = "result_characters"
    """A result was shown to the model in part."""


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What the model was shown after a raw result or after feedback: its words, and which rule said them."""

    rule: str
    category: str
    """Value of `augmentation.rules.ErrorCategory`."""
    kind: str
    """Value of `augmentation.rules.HintKind`."""
    text: str


class CallRecord(NamedTuple):
    """One executed or refused call and its raw result (None when it was not run)."""

    name: str
    arguments: dict[str, Any]
    result: str | None
    status: str | None
    """Value of `environments.environment.CallStatus`, None when it was not run."""
    hint: Hint | None = None
    """What was shown after the result; `result` itself stays raw."""


class StepRecord(NamedTuple):
    """One assistant message, what it did, and what the model saw next."""

    turn: int
    text: str
    outcome: StepOutcome
    calls: tuple[CallRecord, ...] = ()
    observation: str = ""
    """The next message to the model; the next user request when this step closed the turn, "" at the end."""
    closed_turn: bool = False
    """Whether the turn was closed by this step, by an answer or because its steps ran out."""
    limits: tuple[LimitHit, ...] = ()
    """The limits that this step hit."""
    hint: Hint | None = None
    """What was shown after the feedback on a message that broke the protocol."""
    answer: str = ""
    """The final answer, where turns are judged by it."""


class TurnVerdict(NamedTuple):
    """The judge's word on one closed turn."""

    turn: int
    correct: bool
    failure: TurnFailure | None = None
    forced: bool = False
    """Closed because the steps of the turn ran out, not by an answer."""
    expects_calls: bool = True
    """Whether the ground truth of the turn has calls."""
    mismatched_classes: tuple[str, ...] = ()
    missing_responses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One finished episode. Turns that were never closed have no verdict and count as wrong everywhere."""

    task_id: str
    split: str
    turns: int
    steps: tuple[StepRecord, ...]
    verdicts: tuple[TurnVerdict, ...]
    stop: StopReason
    system_prompt: str = ""
    first_request: str = ""
    expected: tuple[Expected, ...] = ()
    """For every turn what is known of the right answer; empty where calls are judged."""

    @property
    def correct_turns(self) -> int:
        """Number of turns judged correct."""
        return sum(verdict.correct for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; enums become their values."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trajectory:
        """Inverse of `to_dict`."""
        return cls(
            **{
                **data,
                "steps": tuple(_step(step) for step in data["steps"]),
                "verdicts": tuple(_verdict(verdict) for verdict in data["verdicts"]),
                "stop": StopReason(data["stop"]),
                "expected": tuple(
                    Expected(**{**expected, "kind": AnswerKind(expected["kind"])})
                    for expected in data.get("expected", ())
                ),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Trajectory:
        """Inverse of `to_json`."""
        return cls.from_dict(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Hint):
        return asdict(value)
    if isinstance(value, CallRecord | StepRecord | TurnVerdict | Expected):
        return {name: _plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _step(data: Mapping[str, Any]) -> StepRecord:
    calls = tuple(CallRecord(**{**call, "hint": _hint(call)}) for call in data["calls"])
    limits = tuple(LimitHit(value) for value in data["limits"])
    outcome = StepOutcome(data["outcome"])
    return StepRecord(**{**data, "outcome": outcome, "calls": calls, "limits": limits, "hint": _hint(data)})


def _hint(data: Mapping[str, Any]) -> Hint | None:
    """Of a step or of a call; records from before there were hints have no such key."""
    hint = data.get("hint")
    return None if hint is None else Hint(**hint)


def _verdict(data: Mapping[str, Any]) -> TurnVerdict:
    failure = data["failure"]
    return TurnVerdict(
        **{
            **data,
            "failure": None if failure is None else TurnFailure(failure),
            "mismatched_classes": tuple(data["mismatched_classes"]),
            "missing_responses": tuple(data["missing_responses"]),
        }
    )
