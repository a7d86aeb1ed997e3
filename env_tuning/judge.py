"""The judge: is a closed turn right?

Owns: the ground-truth twin (its public states and results after every turn, computed once per task and shared by
all episodes of it), the state check and the response check. Refuses: stopping at the first wrong turn. The twin has
been through all turns whatever the model did, so a skipped turn can neither help nor harm a later one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from env_tuning.calls import parse_call
from env_tuning.environments.environment import Environment
from env_tuning.task import Task
from env_tuning.trajectory import TurnFailure, TurnVerdict


@dataclass(frozen=True, kw_only=True)
class TwinTurn:
    """What the reference solution left behind at the end of one turn.

    Attributes:
        responses: the raw result of every call of the turn.
        states: per tool class, a snapshot of its public state. Shared: compare, never change.
    """

    responses: tuple[str, ...]
    states: Mapping[str, Any]


def replay_ground_truth(task: Task, environment: Environment) -> tuple[TwinTurn, ...]:
    """Run the reference solution through a fresh environment of the task, one `TwinTurn` per turn."""
    turns = []
    for calls in task.ground_truth:
        responses = tuple(environment.call(parse_call(call)).text for call in calls)
        turns.append(TwinTurn(responses=responses, states=environment.snapshot()))
    return tuple(turns)


def judge_turn(
    turn: int,
    *,
    environment: Environment,
    twin: TwinTurn,
    responses: Iterable[str],
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
    mismatched = environment.mismatches(twin.states)
    missing = tuple((Counter(twin.responses) - Counter(responses)).elements())
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
