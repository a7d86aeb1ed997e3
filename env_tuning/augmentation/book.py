"""The hints of one task and of one episode: from a raw result to what is shown after it.

Owns: `HintBook` (what all episodes of a task share: rules and visible documents) and `Augmentation` (one episode's
policy and counts). Refuses: changing results or state; the episode shows the hint and records it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from env_tuning.augmentation import generic, wording
from env_tuning.augmentation.policy import HintPolicy
from env_tuning.augmentation.registry import rule_table
from env_tuning.augmentation.rules import ERROR_CHARACTERS, Failure, HintRule, find_hint
from env_tuning.calls import ToolCall
from env_tuning.environments.environment import CallStatus, ToolResult
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import Hint

_MESSAGE_CHARACTERS = 20_000
# These say the same of the same error, whatever the arguments; they come first, and their texts take longest to write.
_BY_ERROR = frozenset(rule.name for rule in (*generic.NAMES, *generic.UNKNOWN))
_REPEATED_KEPT = 256
_REPEATED_CHARACTERS = 300
_NOTHING_VISIBLE: Mapping[str, ToolDoc] = MappingProxyType({})


class HintBook:
    """The hints that a task's failed calls can get. Shared by all its episodes; pure but for a cache."""

    def __init__(self, task: Task) -> None:
        """Take the rules of the task's tool classes; a rule that does not fit its class is a `ValueError`.

        `quiet` are the tools whose results can be failures that look like successes; others need no look then.
        """
        self._task = task
        self._table = rule_table(task.tool_classes)
        self.quiet = self._table.quiet.keys()
        self._visible: dict[int, Mapping[str, ToolDoc]] = {}
        self._repeated: dict[tuple[int, str, str], Hint] = {}

    def hint(self, turn: int, call: ToolCall, result: ToolResult) -> Hint | None:
        """The hint of a call at a turn; None for a call that needs none, or that no rule answers."""
        name, table = call.name, self._table
        rules: Sequence[HintRule] | None
        if result.status is CallStatus.OK:
            # Most calls end here.
            rules = table.quiet.get(name)
            if rules is None:
                return None
            visible = self.visible(turn)
        else:
            visible = self.visible(turn)
            if name not in visible:
                rules = table.unknown
            else:
                rules = (table.returned if result.status is CallStatus.ERROR else table.raised).get(name, ())
        error = result.text
        if len(error) > ERROR_CHARACTERS:
            error = error[: ERROR_CHARACTERS // 2] + error[-ERROR_CHARACTERS // 2 :]
        # The episodes of a group misspell names alike.
        repeated = self._repeated.get((turn, name, error))
        if repeated is not None:
            return repeated
        hint = find_hint(Failure(name, call.arguments, error, visible), rules)
        if hint is not None and hint.rule in _BY_ERROR and len(error) + len(name) < _REPEATED_CHARACTERS:
            if len(self._repeated) >= _REPEATED_KEPT:
                self._repeated.clear()
            self._repeated[turn, name, error] = hint
        return hint

    def visible(self, turn: int) -> Mapping[str, ToolDoc]:
        """The documents of the tools that the model may know at a turn, by name."""
        found = self._visible.get(turn)
        if found is None:
            found = self._visible[turn] = {tool.name: tool for tool in self._task.visible_tools(turn)}
        return found


def format_hint(message: str, feedback: str) -> Hint | None:
    """The hint of a message that broke the protocol; None where the feedback says enough."""
    return find_hint(
        Failure(tool="", arguments={}, error=feedback, visible=_NOTHING_VISIBLE, message=message[:_MESSAGE_CHARACTERS]),
        wording.RULES,
    )


class Augmentation:
    """Which hints one episode shows. Single-use, like the episode."""

    def __init__(self, book: HintBook, policy: HintPolicy, *, episode: str, step: int | None = None) -> None:
        """Fix the chance of a hint for the whole episode.

        Args:
            book: of the episode's task.
            policy: when hints are shown.
            episode: the episode's id; chance comes from it.
            step: the training step, for a policy that changes over training.

        Raises:
            ValueError: the policy needs the step and there is none.
        """
        self._book = book
        self._policy = policy
        self._probability = policy.probability(step)
        self._always = self._probability >= 1 and policy.per_turn is None
        self._episode = episode
        self._turn = 0
        self._shown_in_turn = 0

    def after_calls(
        self, turn: int, number: int, calls: Sequence[ToolCall], results: Sequence[ToolResult]
    ) -> list[Hint | None]:
        """The hint to show after each call of a message, None after most.

        Args:
            turn: the turn they are made in.
            number: of the first one, counted over the episode.
            calls: the calls.
            results: their raw results.
        """
        hints: list[Hint | None] = []
        find, quiet = self._book.hint, self._book.quiet
        for call, result in zip(calls, results, strict=True):
            hint = None
            if result.status is not CallStatus.OK or call.name in quiet:
                hint = find(turn, call, result)
                if hint is not None and not self._always:
                    hint = self._admit(turn, number + len(hints), hint)
            hints.append(hint)
        return hints

    def after_malformed(self, turn: int, number: int, message: str, feedback: str) -> Hint | None:
        """The hint to show after the protocol's feedback; `number` counts the messages of the episode."""
        hint = format_hint(message, feedback)
        # A sequence of its own: a message and a call of the same number are different draws.
        return hint if hint is None or self._always else self._admit(turn, -1 - number, hint)

    def _admit(self, turn: int, number: int, hint: Hint) -> Hint | None:
        if turn != self._turn:
            self._turn, self._shown_in_turn = turn, 0
        shows = self._policy.shows(
            episode=self._episode, number=number, probability=self._probability, shown_in_turn=self._shown_in_turn
        )
        if not shows:
            return None
        self._shown_in_turn += 1
        return hint
