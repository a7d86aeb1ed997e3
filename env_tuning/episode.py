"""The state machine of one episode: messages in, next messages and records out.

Owns: turns, steps, limits, forced closes, the release of held-back tools. Refuses: tokens, rewards, verl. An
episode is single-use; everything it touches belongs to it alone, except the twin's turns, which it only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from env_tuning.calls import ToolCall
from env_tuning.environments.environment import CallStatus, Environment, ToolResult, unknown_tool
from env_tuning.judge import TwinTurn, judge_turn
from env_tuning.protocols.base import Answer, Malformed, PromptVersion, Protocol, ToolListing, UseTools
from env_tuning.task import Task
from env_tuning.trajectory import CallRecord, StepOutcome, StepRecord, StopReason, Trajectory, TurnVerdict

_REFUSED = (
    "(System warning: nothing needed to be called in this turn; your calls were not run. "
    "The user's next request follows.)\n"
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of an episode that are counted in messages.

    Attributes:
        steps_per_turn: assistant messages in one turn; the last one closes the turn whatever it is. The paper's
            code allows 6, the benchmark's evaluation 20.
    """

    steps_per_turn: int = 10

    def __post_init__(self) -> None:
        """Reject limits under which no turn can be solved."""
        if self.steps_per_turn < 1:
            raise ValueError(f"steps_per_turn is {self.steps_per_turn}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """What follows an assistant message: the next message, or the end ("" then)."""

    over: bool
    content: str
    step: StepRecord


class Episode:
    """One run of one task."""

    def __init__(
        self,
        task: Task,
        *,
        environment: Environment,
        twin: Sequence[TwinTurn],
        protocol: Protocol,
        limits: Limits,
        listing: ToolListing = ToolListing.JSON,
        version: PromptVersion = PromptVersion.V1,
    ) -> None:
        """Open the episode at turn 0.

        Args:
            task: what is asked.
            environment: a fresh environment of the task.
            twin: the reference, one entry per turn (`judge.replay_ground_truth`).
            protocol: how the model speaks.
            limits: counted in messages.
            listing: how tools are shown.
            version: which system prompt.
        """
        self.task = task
        self._environment = environment
        self._twin = twin
        self._protocol = protocol
        self._limits = limits
        self._listing = listing
        self._system = protocol.system_prompt(task.visible_tools(0), listing=listing, version=version)
        self._turn = 0
        self._steps_in_turn = 0
        self._called_in_turn = False
        self._responses: list[str] = []
        self._steps: list[StepRecord] = []
        self._verdicts: list[TurnVerdict] = []
        self._stop: StopReason | None = None

    @property
    def over(self) -> bool:
        """Whether no further message is accepted."""
        return self._stop is not None

    def opening(self) -> list[dict[str, str]]:
        """The messages before the first generation: system prompt and the first request."""
        return [{"role": "system", "content": self._system}, {"role": "user", "content": self._request(0)}]

    def step(self, text: str) -> Reaction:
        """Take one complete assistant message."""
        self._must_be_open()
        self._steps_in_turn += 1
        action = self._protocol.parse(text)
        if isinstance(action, Malformed):
            return self._go_on(text, StepOutcome.FORMAT_ERROR, (), self._protocol.format_feedback(action))
        if isinstance(action, Answer):
            return self._close_turn(text, StepOutcome.ANSWER, ())
        if not self.task.ground_truth[self._turn]:
            return self._refuse_calls(text, action)
        return self._run_calls(text, action)

    def cut(self, reason: StopReason, partial_text: str | None = None) -> None:
        """End the episode because a limit cut it; the open turn and all later ones get no verdict.

        Args:
            reason: which limit.
            partial_text: the assistant message that was cut, if one was.
        """
        self._must_be_open()
        if partial_text is not None:
            self._steps.append(StepRecord(turn=self._turn, text=partial_text, outcome=StepOutcome.CUT))
        self._stop = reason

    def trajectory(self) -> Trajectory:
        """The record so far; an episode that was left open counts as aborted."""
        return Trajectory(
            task_id=self.task.id,
            split=self.task.split,
            turns=self.task.turns,
            steps=tuple(self._steps),
            verdicts=tuple(self._verdicts),
            stop=self._stop or StopReason.ABORTED,
            system_prompt=self._system,
            first_request=self._request(0),
        )

    def _must_be_open(self) -> None:
        if self.over:
            raise RuntimeError(f"episode of {self.task.id} is over ({self._stop}); episodes are single-use")

    def _run_calls(self, text: str, action: UseTools) -> Reaction:
        results = [self._call(call) for call in action.calls]
        self._called_in_turn = True
        self._responses.extend(result.text for result in results)
        failed = any(result.status is CallStatus.EXCEPTION for result in results)
        outcome = StepOutcome.CALLS_FAILED if failed else StepOutcome.CALLS_OK
        records = tuple(_record(call, result) for call, result in zip(action.calls, results, strict=True))
        return self._go_on(text, outcome, records, self._protocol.observation([result.text for result in results]))

    def _call(self, call: ToolCall) -> ToolResult:
        # A tool that is held back does not exist yet, also for a model that guesses its name.
        if call.name in self.task.held_back(self._turn):
            return unknown_tool(call.name)
        return self._environment.call(call)

    def _refuse_calls(self, text: str, action: UseTools) -> Reaction:
        """The turn lacks a tool or a value: calling is wrong, and is not run so that later turns stay comparable."""
        self._called_in_turn = True
        records = tuple(_record(call, None) for call in action.calls)
        return self._close_turn(text, StepOutcome.CALLS_REFUSED, records, prefix=_REFUSED)

    def _go_on(self, text: str, outcome: StepOutcome, calls: tuple[CallRecord, ...], message: str) -> Reaction:
        """Stay in the turn, unless this was its last step."""
        if self._steps_in_turn >= self._limits.steps_per_turn:
            return self._close_turn(text, outcome, calls)
        return self._react(text, outcome, calls, message, closed_turn=False)

    def _close_turn(self, text: str, outcome: StepOutcome, calls: tuple[CallRecord, ...], prefix: str = "") -> Reaction:
        self._verdicts.append(
            judge_turn(
                self._turn,
                environment=self._environment,
                twin=self._twin[self._turn],
                responses=self._responses,
                called_tools=self._called_in_turn,
                answered=outcome is StepOutcome.ANSWER,
            )
        )
        following = self._turn + 1
        message = ""
        if following == self.task.turns:
            self._stop = StopReason.COMPLETED
        else:
            message = prefix + self._request(following)
        reaction = self._react(text, outcome, calls, message, closed_turn=True)
        self._turn, self._steps_in_turn, self._called_in_turn = following, 0, False
        return reaction

    def _react(
        self, text: str, outcome: StepOutcome, calls: tuple[CallRecord, ...], message: str, *, closed_turn: bool
    ) -> Reaction:
        step = StepRecord(
            turn=self._turn, text=text, outcome=outcome, calls=calls, observation=message, closed_turn=closed_turn
        )
        self._steps.append(step)
        return Reaction(over=self.over, content=message, step=step)

    def _request(self, turn: int) -> str:
        """The user's message of a turn, with the documents of tools released at it."""
        released = self.task.released_tools(turn)
        parts = [self._protocol.released(released, listing=self._listing)] if released else []
        if self.task.user_turns[turn]:
            parts.append(self.task.user_turns[turn])
        return "\n".join(parts)


def _record(call: ToolCall, result: ToolResult | None) -> CallRecord:
    return CallRecord(
        name=call.name,
        arguments=dict(call.arguments),
        result=result and result.text,
        status=result and result.status.value,
    )
