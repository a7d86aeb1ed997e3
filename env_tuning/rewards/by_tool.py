"""A reward for data whose rows choose their tools: every tool says itself what a call of it is worth.

Owns: `ByTool` and the default rules. Refuses: knowing which tools a row has; a call's name is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from env_tuning.rewards.dialogues import DialogueTurn, dialogue_turns, is_used, succeeded
from env_tuning.rewards.score import Score
from env_tuning.trajectory import StepOutcome, Trajectory

ToolRule = Callable[[DialogueTurn, int], float]
"""What the call at a position of a turn's `calls` is worth, from 0 to 1. Pure."""

ANSWER, TOOLS = 0.6, 0.4
_OTHERS = "other"


def used(turn: DialogueTurn, position: int) -> float:
    """1 for a call that succeeded and whose result the answer or a later call uses, half for success alone."""
    if not succeeded(turn.calls[position]):
        return 0.0
    return 1.0 if is_used(turn, position) else 0.5


def printed_and_used(turn: DialogueTurn, position: int) -> float:
    """As `used`, and nothing for a program that prints nothing: it computed for nobody."""
    return used(turn, position) if (turn.calls[position].result or "").strip() else 0.0


RULES: Mapping[str, ToolRule] = MappingProxyType(
    {
        "calculator": used,
        "weather_query": used,
        "search": used,
        "get_current_time": used,
        "python": printed_and_used,
    }
)


@dataclass(frozen=True)
class ByTool:
    """A reward from rules of tools; put an object of your own into a module and name it ``package.module:name``.

    Attributes:
        rules: tool to its rule; a tool without one has `otherwise`.
        otherwise: the rule of all other tools.
    """

    rules: Mapping[str, ToolRule] = field(default_factory=lambda: RULES)
    otherwise: ToolRule = used

    def __call__(self, trajectory: Trajectory) -> Score:
        """`ANSWER` for the right answer and `TOOLS` for good calls, from 0 to 1, over all turns of the task.

        Calls are worth the mean of what their tools' rules say; a message that cannot be read counts as a call worth
        nothing, and a wrong answer halves them. Without a call they are worth 1 where no tool is needed and nothing
        where one is. Parts: ``correct``, ``tools``, and for every tool with a rule ``called/TOOL`` (calls of it) and
        ``worth/TOOL`` (what they are worth together).
        """
        turns = dialogue_turns(trajectory)
        worths = [self._worths(turn) for turn in turns]
        tools = [_share(turn, worth) for turn, worth in zip(turns, worths, strict=True)]
        right = [float(turn.right) for turn in turns]
        earned = [
            (ANSWER * correct + TOOLS * share * (1.0 if correct else 0.5)) / trajectory.turns
            for correct, share in zip(right, tools, strict=True)
        ]
        closed = {verdict.turn for verdict in trajectory.verdicts}
        parts = {"correct": sum(right) / trajectory.turns, "tools": sum(tools) / trajectory.turns}
        for name in (*self.rules, _OTHERS):
            of_tool = [worth for pairs in worths for tool, worth in pairs if tool == name]
            parts |= {f"called/{name}": float(len(of_tool)), f"worth/{name}": sum(of_tool)}
        return Score(
            score=sum(earned),
            turns=tuple(amount if number in closed else 0.0 for number, amount in enumerate(earned)),
            parts=parts,
        )

    def _worths(self, turn: DialogueTurn) -> list[tuple[str, float]]:
        return [
            (call.name if call.name in self.rules else _OTHERS, self.rules.get(call.name, self.otherwise)(turn, at))
            for at, call in enumerate(turn.calls)
        ]


def _share(turn: DialogueTurn, worths: list[tuple[str, float]]) -> float:
    broken = sum(step.outcome is StepOutcome.FORMAT_ERROR for step in turn.steps)
    tried = len(worths) + broken
    return sum(worth for _, worth in worths) / tried if tried else float(not turn.needs_tools)


by_tool = ByTool()
