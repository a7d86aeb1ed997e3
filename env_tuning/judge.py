"""The judge: is a closed turn right?

Owns: the ground-truth twin (its public states and results after every turn, computed once per task and shared by
all episodes of it), the state check and the response check, and the benchmark's own verdict made of them. Refuses:
stopping at the first wrong turn, except in that verdict. The twin has been through all turns whatever the model did,
so a skipped turn can neither help nor harm a later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from env_tuning.answers.matching import is_right
from env_tuning.calls import ToolCall, parse_call
from env_tuning.environments.environment import Environment
from env_tuning.task import Expected
from env_tuning.trajectory import TurnFailure, TurnVerdict


@dataclass(frozen=True, kw_only=True)
class TwinTurn:
    """What the reference solution left behind at the end of one turn.

    Attributes:
        responses: the raw result of every call of the turn.
        states: per tool class, a snapshot of its public state. Shared: compare, never change.
        changed: the classes whose state differs from the end of the turn before (from the initial state, at first).
    """

    responses: tuple[str, ...]
    states: Mapping[str, Any]
    changed: frozenset[str]


def replay_ground_truth(ground_truth: Sequence[Sequence[str]], environment: Environment) -> tuple[TwinTurn, ...]:
    """Run the reference solution through a fresh environment of the task, one `TwinTurn` per turn."""
    turns = []
    states = environment.snapshot()
    changed: frozenset[str] | None = None
    for calls in ground_truth:
        responses = tuple([environment.call(parse_call(call)).text for call in calls])
        changed = frozenset(environment.mismatches(states, changed))
        states = {**states, **{name: environment.tool_classes[name].snapshot() for name in changed}}
        turns.append(TwinTurn(responses=responses, states=states, changed=changed))
    return tuple(turns)


def judge_turn(
    turn: int,
    *,
    environment: Environment,
    twin: TwinTurn,
    responses: Sequence[str],
    called_tools: bool,
    answered: bool,
    official: bool = False,
) -> TurnVerdict:
    """Judge the turn that was just closed.

    Args:
        turn: its index.
        environment: the episode's environment, in the state at the end of the turn.
        twin: the reference at the end of the same turn.
        responses: raw results of all calls of the episode so far, this turn's included: a result that was already
            known from an earlier turn counts (as in the benchmark).
        called_tools: whether a call ran in this turn.
        answered: whether the turn was closed by an answer.
        official: as the benchmark judges: a turn without ground truth is not checked at all.
    """
    expects_calls = bool(twin.responses)
    if not expects_calls:
        correct = answered or official
        failure = None if correct else TurnFailure.CALLED_WITHOUT_NEED if called_tools else TurnFailure.NO_ANSWER
        return TurnVerdict(turn=turn, correct=correct, failure=failure, forced=not answered, expects_calls=False)
    mismatched = environment.mismatches(twin.states, twin.changed)
    missing = _missing(twin.responses, responses)
    if not called_tools:
        failure = TurnFailure.NO_CALLS
    elif mismatched:
        failure = TurnFailure.STATE
    else:
        failure = TurnFailure.RESPONSE if missing else None
    return TurnVerdict(
        turn=turn,
        correct=failure is None,
        failure=failure,
        forced=not answered,
        mismatched_classes=mismatched,
        missing_responses=missing,
    )


def judge_answer(
    turn: int, *, expected: Expected, answer: str, question: str, called_tools: bool, answered: bool
) -> TurnVerdict:
    """Judge a turn by its final answer alone, whatever was called on the way.

    Args:
        turn: its index.
        expected: what is known of the right answer; if nobody says what it is, any answer that says something is right.
        answer: the final answer.
        question: the request of the turn.
        called_tools: whether a call ran in this turn.
        answered: whether the turn was closed by an answer.
    """
    right = answered and bool(answer.strip()) and is_right(expected, answer, question) is not False
    failure = None if right else TurnFailure.WRONG_ANSWER if answered else TurnFailure.NO_ANSWER
    needed = bool(expected.needs_tools) if expected.needs_tools is not None else called_tools
    return TurnVerdict(turn=turn, correct=right, failure=failure, forced=not answered, expects_calls=needed)


def _missing(expected: Sequence[str], seen: Sequence[str]) -> tuple[str, ...]:
    """The expected texts that were not seen, each as often as it is missing."""
    missing: list[str] = []
    for text in dict.fromkeys(expected):
        missing += [text] * (expected.count(text) - seen.count(text))
    return tuple(missing)


OFFICIAL_ERROR_TYPES: Mapping[TurnFailure, str] = MappingProxyType(
    {
        TurnFailure.NO_CALLS: "multi_turn:empty_turn_model_response",
        TurnFailure.STATE: "multi_turn:instance_state_mismatch",
        TurnFailure.RESPONSE: "multi_turn:execution_response_mismatch",
    }
)
"""The benchmark's names of the three ways in which its checks fail."""


@dataclass(frozen=True, kw_only=True)
class OfficialVerdict:
    """The benchmark's word on an episode: one bit, and where its checks stopped.

    Attributes:
        valid: every turn passed.
        failed_turn: index of the first turn that did not, None if valid.
        failure: the check that failed; None if valid, or if the episode has no such turn because it was cut before.
    """

    valid: bool
    failed_turn: int | None = None
    failure: TurnFailure | None = None

    @property
    def error_type(self) -> str | None:
        """The benchmark's name of what went wrong, None if valid."""
        if self.failure is None:
            return None if self.valid else "multi_turn:force_terminated"
        return OFFICIAL_ERROR_TYPES[self.failure]


def official_verdict(
    environment: Environment, twin: Sequence[TwinTurn], turns: Sequence[Sequence[Sequence[ToolCall]]]
) -> OfficialVerdict:
    """Judge an episode as the benchmark's `multi_turn_checker` does: up to the first wrong turn, all or nothing.

    A turn without ground truth is not checked, but what was called in it stays done.

    Args:
        environment: a fresh environment of the task; the calls run in it, up to the end of the first wrong turn.
        twin: the reference, one entry per turn.
        turns: the calls of every step of every turn. Fewer turns than the twin's are an episode that was cut short,
            which is wrong and, as in the benchmark, not run at all.

    Raises:
        ValueError: there are more turns than the reference has.
    """
    if len(turns) > len(twin):
        raise ValueError(f"{len(turns)} turns to judge, but the reference has {len(twin)}")
    if len(turns) < len(twin):
        return OfficialVerdict(valid=False, failed_turn=len(turns))
    responses: list[str] = []
    for turn, (reference, steps) in enumerate(zip(twin, turns, strict=True)):
        responses += [environment.call(call).text for step in steps for call in step]
        verdict = judge_turn(
            turn,
            environment=environment,
            twin=reference,
            responses=responses,
            # The benchmark's reading: one step without calls is nothing, two of them are something.
            called_tools=len(steps) > 1 or any(steps),
            answered=True,
            official=True,
        )
        if not verdict.correct:
            return OfficialVerdict(valid=False, failed_turn=turn, failure=verdict.failure)
    return OfficialVerdict(valid=True)
