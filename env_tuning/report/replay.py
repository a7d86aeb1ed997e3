"""Recorded episodes played again beside the reference: what the verdict on a wrong turn rests on.

Owns: the replay of an episode's recorded calls in a fresh environment, and of every wrong turn the values that differ,
the reference's calls and the call to look at first. Records hold none of these: written down at training time they
would cost time and many times the space. Refuses: models and their texts, and deciding anything. A replay that does not
give every recorded result and verdict again shows nothing but the reason.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from env_tuning.calls import ToolCall, parse_call
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import Environment, unknown_tool
from env_tuning.environments.registry import make_environment, tool_class
from env_tuning.judge import TwinTurn, judge_turn, replay_ground_truth
from env_tuning.report.differences import Difference, differences
from env_tuning.report.reading import Dumped
from env_tuning.report.tasks import NotReplayedError, RunTasks
from env_tuning.task import Task
from env_tuning.trajectory import CallRecord, StepOutcome, StepRecord, Trajectory, TurnVerdict

SHOWN = 12
"""Differences of one turn that are shown."""
_COUNTED = 200


@dataclass(frozen=True, kw_only=True)
class StateDifference(Difference):
    """A difference at the end of a turn, and the turn since whose end it has been there (counted from 0)."""

    since: int


@dataclass(frozen=True, kw_only=True)
class ReferenceCall:
    """A call of the reference in a wrong turn.

    Attributes:
        text: as the ground truth writes it.
        made: whether the episode made an equal call in the turn.
        missing: whether its result is one that the episode never got.
    """

    text: str
    made: bool
    missing: bool


@dataclass(frozen=True, kw_only=True)
class WrongTurn:
    """What is behind a wrong verdict.

    Attributes:
        differences: at most `SHOWN` of the places where state differs from the reference's.
        more: how many more there are, up to a bound.
        reference: the reference's calls of the turn.
        strange: step of the turn, and position in it, of the first call that changed a class that is wrong since this
            turn, and that the reference does not make in this turn; None if there is none.
    """

    differences: tuple[StateDifference, ...]
    more: int
    reference: tuple[ReferenceCall, ...]
    strange: tuple[int, int] | None


@dataclass
class Replay:
    """Plays the episodes of one stage again; the reference of a task is played once."""

    tasks: RunTasks
    _worlds: dict[tuple[str, str], _World] = field(default_factory=dict)

    def wrong_turns(self, episode: Dumped) -> Mapping[int, WrongTurn]:
        """What is behind every wrong verdict of an episode, by turn.

        Raises:
            NotReplayedError: the task is not there, or the replay disagrees with the record.
        """
        if all(verdict["correct"] for verdict in episode.line["trajectory"]["verdicts"]):
            return {}
        try:
            trajectory = Trajectory.from_dict(episode.line["trajectory"])
        except (KeyError, TypeError, ValueError):
            raise NotReplayedError("its record is of another version") from None
        task = self.tasks.task(episode.phase, trajectory.task_id)
        padding, official = self.tasks.padding(task), self.tasks.official(episode.phase)
        try:
            key = (episode.phase, task.id)
            world = self._worlds.get(key) or self._worlds.setdefault(key, _world(task, padding))
            return dict(_wrong_turns(world, trajectory, official=official))
        except NotReplayedError:
            raise
        # An author's tool class may raise anything, and first of all when it cannot be imported here.
        except Exception as error:
            raise NotReplayedError(f"its environment fails here ({type(error).__name__})") from error


@dataclass(frozen=True, kw_only=True)
class _World:
    """A task with its reference, shared by its episodes.

    Attributes:
        described: what every tool class says of its state after the reference's calls, per turn.
        functions: those behind the tools, by the tools' names.
    """

    task: Task
    padding: LongContext | None
    twin: tuple[TwinTurn, ...]
    described: tuple[Mapping[str, Any], ...]
    functions: Mapping[str, Callable[..., Any]]


def _world(task: Task, padding: LongContext | None) -> _World:
    environment = make_environment(task.tool_classes, task.initial_config, padding)
    twin: list[TwinTurn] = []
    described = []
    for calls in task.ground_truth:  # turn by turn, because descriptions are of live state
        twin += replay_ground_truth([calls], environment)
        described.append({name: copy.deepcopy(it.describe()) for name, it in environment.tool_classes.items()})
    functions = {name: tool for owner in task.tool_classes for name, tool in tool_class(owner).tools.items()}
    return _World(task=task, padding=padding, twin=tuple(twin), described=tuple(described), functions=functions)


def _wrong_turns(world: _World, trajectory: Trajectory, *, official: bool) -> Iterator[tuple[int, WrongTurn]]:
    """Play the closed turns, check that all is as recorded, and look at the wrong ones."""
    environment = make_environment(world.task.tool_classes, world.task.initial_config, world.padding)
    suspects = tuple(dict.fromkeys(name for verdict in trajectory.verdicts for name in verdict.mismatched_classes))
    responses: list[str] = []
    since: dict[tuple[str, str], int] = {}
    for verdict in trajectory.verdicts:
        turn = verdict.turn
        steps = [step for step in trajectory.steps if step.turn == turn]
        changes = _play(environment, steps, responses, watched=verdict.mismatched_classes)
        played = judge_turn(
            turn,
            environment=environment,
            twin=world.twin[turn],
            responses=responses,
            called_tools=any(s.outcome.called_tools or s.outcome is StepOutcome.CALLS_REFUSED for s in steps),
            answered=bool(steps) and steps[-1].outcome is StepOutcome.ANSWER,
            official=official,
        )
        if played != verdict:
            raise NotReplayedError("played again, it gets another verdict")
        found = _differing(world.described[turn], environment, suspects)
        since = {key: since.get(key, turn) for key in found}
        if not verdict.correct:
            mine = [
                StateDifference(**vars(difference), since=since[name, where])
                for (name, where), difference in found.items()
                if name in verdict.mismatched_classes
            ]
            yield turn, _behind(world, verdict, steps, changes, mine)


def _play(
    environment: Environment, steps: Sequence[StepRecord], responses: list[str], watched: Sequence[str]
) -> list[tuple[int, int]]:
    """Run the calls of a turn and add their results; returns the places of those that changed a watched class."""
    changes = []
    for number, position, record in _calls(steps):
        if record.result is None:
            continue
        responses.append(record.result)
        if _was_held_back(record, environment):
            continue
        instances = [environment.tool_classes[name] for name in watched]
        owner = next((instance for instance in instances if record.name in instance.tools), None)
        before = None if owner is None else owner.snapshot()
        result = environment.call(ToolCall(name=record.name, arguments=record.arguments))
        if (result.text, result.status.value) != (record.result, record.status):
            raise NotReplayedError("played again, a call gives another result")
        if owner is not None and not owner.matches(before):
            changes.append((number, position))
    return changes


def _calls(steps: Sequence[StepRecord]) -> Iterator[tuple[int, int, CallRecord]]:
    """The calls of a turn with their places: step, and position in it."""
    for number, step in enumerate(steps):
        for position, record in enumerate(step.calls):
            yield number, position, record


def _was_held_back(record: CallRecord, environment: Environment) -> bool:
    """Whether the episode refused the call because its tool was not released yet."""
    return record.name in environment.tool_names and record.result == unknown_tool(record.name).text


def _differing(
    described: Mapping[str, Any], environment: Environment, names: Sequence[str]
) -> dict[tuple[str, str], Difference]:
    """Differences by tool class and place."""
    each = (
        ((name, difference.where), difference)
        for name in names
        for difference in differences(name, described[name], environment.tool_classes[name].describe())
    )
    return dict(itertools.islice(each, _COUNTED))


def _behind(
    world: _World,
    verdict: TurnVerdict,
    steps: Sequence[StepRecord],
    changes: Sequence[tuple[int, int]],
    found: Sequence[StateDifference],
) -> WrongTurn:
    texts = world.task.ground_truth[verdict.turn]
    wanted = [_normal(world, parse_call(text)) for text in texts]
    made = [False] * len(wanted)
    strange = None
    for number, position, record in _calls(steps):
        call = _normal(world, ToolCall(name=record.name, arguments=record.arguments))
        equal = [place for place, other in enumerate(wanted) if other == call and not made[place]]
        if equal and record.result is not None:
            made[equal[0]] = True
        elif not equal and strange is None and (number, position) in changes:
            strange = number, position
    return WrongTurn(
        differences=tuple(found[:SHOWN]),
        more=max(0, len(found) - SHOWN),
        reference=tuple(
            ReferenceCall(text=text, made=was_made, missing=result in verdict.missing_responses)
            for text, was_made, result in zip(texts, made, world.twin[verdict.turn].responses, strict=True)
        ),
        strange=strange if any(difference.since == verdict.turn for difference in found) else None,
    )


def _normal(world: _World, call: ToolCall) -> tuple[str, Any]:
    """A call in the one form in which equal calls are equal: every argument by name, those left out as well."""
    function = world.functions.get(call.name)
    if function is None:
        return call.name, dict(call.arguments)
    try:
        bound = inspect.signature(function).bind(None, *call.positional, **call.arguments)
    except TypeError:  # arguments that do not fit: the call failed
        return call.name, (call.positional, dict(call.arguments))
    bound.apply_defaults()
    return call.name, dict(bound.arguments)
