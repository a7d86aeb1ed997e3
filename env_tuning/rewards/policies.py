"""Policies without a model: what a reward audit lets play.

Owns: scripted policies (the ground truth, and what a policy without competence could learn to do instead), and their
episodes. Refuses: scores. A policy sees a `Situation` and nothing else; the two that solve turns know the solution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.demonstrations import name_arguments
from env_tuning.environments.environment import CallStatus
from env_tuning.episode import Episode, Rules
from env_tuning.prepared_task import PreparedTask
from env_tuning.protocols import Protocol
from env_tuning.task import Task
from env_tuning.trajectory import StopReason, Trajectory

GROUND_TRUTH = "ground_truth"


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a policy looks at: where it is in which episode, and the message it has to react to."""

    task: Task
    protocol: Protocol
    harmless: ToolCall | None
    """A call that always runs and changes nothing; None if the task has none."""
    turn: int
    step: int
    """Messages of this turn so far."""
    shown: str


Policy = Callable[[Situation], str | None]
"""The next message; None to run into the limit of the response length, which ends the episode."""


def _null(here: Situation) -> str:
    """Writes nothing."""
    return ""


def _echo(here: Situation) -> str:
    """Repeats what it is shown."""
    return here.shown


def _refuse(here: Situation) -> str:
    """Answers every request at once, well-formed, without a call."""
    return here.protocol.write_answer("I cannot do this.", "No function applies.")


def _spam_and_answer(here: Situation) -> str:
    """One harmless call per turn, then an answer."""
    return _spam(here) if here.step == 0 else _refuse(here)


def _spam(here: Situation) -> str:
    """The same harmless call until the steps of the turn run out."""
    return _refuse(here) if here.harmless is None else here.protocol.write_calls([here.harmless])


def _ground_truth(here: Situation) -> str:
    """The reference solution: the calls of a turn in one message, then an answer."""
    calls = _solution(here.task, here.turn)
    return here.protocol.write_calls(calls) if calls and here.step == 0 else here.protocol.write_answer("Done.")


def _never_answers(here: Situation) -> str:
    """The reference solution, and then harmless calls instead of an answer."""
    calls = _solution(here.task, here.turn)
    return here.protocol.write_calls(calls) if calls and here.step == 0 else _spam(here)


def _first_turn_then_refuse(here: Situation) -> str:
    """Solves the first turn and refuses all later ones."""
    return _ground_truth(here) if here.turn == 0 else _refuse(here)


def _first_turn_then_limit(here: Situation) -> str | None:
    """Solves the first turn, at such length that no second one fits."""
    return _ground_truth(here) if here.turn == 0 else None


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        GROUND_TRUTH: _ground_truth,
        "never_answers": _never_answers,
        "first_turn_then_limit": _first_turn_then_limit,
        "first_turn_then_refuse": _first_turn_then_refuse,
        "spam_and_answer": _spam_and_answer,
        "spam": _spam,
        "refuse": _refuse,
        "echo": _echo,
        "null": _null,
    }
)


def _solution(task: Task, turn: int) -> list[ToolCall]:
    documents = {tool.name: tool for tool in task.tools}
    parsed = (parse_call(text) for text in task.ground_truth[turn])
    return [name_arguments(call, documents[call.name]) for call in parsed]


def harmless_call(prepared: PreparedTask) -> ToolCall | None:
    """A call without arguments that runs, and changes nothing, whatever part of the reference solution was run before.

    None if the task shows no such tool from its first turn on.
    """
    for tool in prepared.task.visible_tools(0):
        call = ToolCall(name=tool.name, arguments={})
        if not tool.parameters.get("required") and _is_harmless(call, prepared):
            return call
    return None


def _is_harmless(call: ToolCall, prepared: PreparedTask) -> bool:
    environment = prepared.environment()
    for turn in ((), *prepared.task.ground_truth):
        for text in turn:
            environment.call(parse_call(text))
        before = environment.snapshot()
        if environment.call(call).status is not CallStatus.OK or environment.mismatches(before):
            return False
    return True


def play(prepared: PreparedTask, policies: Mapping[str, Policy], rules: Rules) -> dict[str, Trajectory]:
    """One episode of every policy."""
    harmless = harmless_call(prepared)
    return {name: _play(prepared, policy, rules, harmless) for name, policy in policies.items()}


def _play(prepared: PreparedTask, policy: Policy, rules: Rules, harmless: ToolCall | None) -> Trajectory:
    episode = Episode(prepared, rules)
    turn, step, shown = 0, 0, episode.opening()[-1]["content"]
    while not episode.over:
        text = policy(
            Situation(
                task=prepared.task,
                protocol=prepared.protocol,
                harmless=harmless,
                turn=turn,
                step=step,
                shown=shown,
            )
        )
        if text is None:
            episode.cut(StopReason.RESPONSE_LENGTH)
            break
        reaction = episode.step(text)
        shown = reaction.content
        turn, step = (turn + 1, 0) if reaction.step.closed_turn else (turn, step + 1)
    return episode.trajectory()
