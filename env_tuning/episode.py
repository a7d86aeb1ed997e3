"""The state machine of one episode: messages in, next messages and records out.

Owns: turns, steps, the rules of an episode, forced closes. Refuses: tokens, rewards, verl. An episode is single-use;
everything it touches belongs to it alone, except the `PreparedTask`, which it only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from env_tuning.augmentation.book import Augmentation
from env_tuning.calls import ToolCall
from env_tuning.environments.environment import CallStatus, Environment, ToolResult, unknown_tool
from env_tuning.judge import judge_answer, judge_turn
from env_tuning.prepared_task import PreparedTask
from env_tuning.protocols.base import Answer, Malformed, UseTools
from env_tuning.task import AnswerKind
from env_tuning.trajectory import (
    CallRecord,
    Hint,
    LimitHit,
    StepOutcome,
    StepRecord,
    StopReason,
    Trajectory,
    TurnVerdict,
)

_REFUSED = (
    "(System warning: nothing needed to be called in this turn; your calls were not run. "
    "The user's next request follows.)\n"
)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What an episode allows. Every limit that is hit is recorded in the trajectory.

    Attributes:
        steps_per_turn: assistant messages in one turn; the last one closes the turn whatever it is. The authors'
            code allows 6.
        calls_per_step: calls that run in one message; the model is told that the rest did not.
        result_characters: characters of one result that the model sees; the judge compares whole results.
        official: as the benchmark evaluates. Held-back tools are callable before their release, calls in a turn
            without ground truth run and such turns are not checked, and a turn that runs out of steps ends the episode.
    """

    steps_per_turn: int = 10
    calls_per_step: int = 64
    result_characters: int = 20_000
    official: bool = False

    def __post_init__(self) -> None:
        """Reject limits under which nothing can be solved."""
        for name in ("steps_per_turn", "calls_per_step", "result_characters"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


class Reaction(NamedTuple):
    """What follows an assistant message: the next message, or the end ("" then)."""

    over: bool
    content: str
    step: StepRecord
    verdict: TurnVerdict | None
    """The judge's word, if the message closed its turn."""


class Episode:
    """One run of one task."""

    def __init__(
        self, prepared: PreparedTask, rules: Rules | None = None, augmentation: Augmentation | None = None
    ) -> None:
        """Open the episode at turn 0, in a fresh environment; without an augmentation no hint is ever shown."""
        self.task = prepared.task
        self.environment: Environment = prepared.environment()
        self._prepared = prepared
        self._protocol = prepared.protocol
        self._rules = rules or Rules()
        self._augmentation = augmentation
        self._turn = 0
        self._steps_in_turn = 0
        self._called_in_turn = False
        self._responses: list[str] = []
        self._steps: list[StepRecord] = []
        self._verdicts: list[TurnVerdict] = []
        self._stop: StopReason | None = None

    @property
    def waits(self) -> bool:
        """Whether a step may wait for something outside of this process: a tool, or math-verify."""
        return self.environment.waits or any(known.kind is AnswerKind.MATHS for known in self.task.expected)

    @property
    def over(self) -> bool:
        """Whether no further message is accepted."""
        return self._stop is not None

    def opening(self) -> list[dict[str, str]]:
        """The messages before the first generation: system prompt and the first request."""
        return [
            {"role": "system", "content": self._prepared.system},
            {"role": "user", "content": self._prepared.requests[0]},
        ]

    def step(self, text: str) -> Reaction:
        """Take one complete assistant message."""
        self._must_be_open()
        self._steps_in_turn += 1
        action = self._protocol.parse(text)
        if isinstance(action, Malformed):
            return self._reject(text, action)
        if isinstance(action, Answer):
            return self._close_turn(text, StepOutcome.ANSWER, (), answer=action.text)
        if not (self.task.ground_truth[self._turn] or self.task.expected or self._rules.official):
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
            system_prompt=self._prepared.system,
            first_request=self._prepared.requests[0],
            expected=self.task.expected,
        )

    def _must_be_open(self) -> None:
        if self.over:
            raise RuntimeError(f"episode of {self.task.id} is over ({self._stop}); episodes are single-use")

    def _run_calls(self, text: str, action: UseTools) -> Reaction:
        limit = self._rules.calls_per_step
        runnable, excess = action.calls[:limit], action.calls[limit:]
        results = [self._call(call) for call in runnable]
        hints = self._hints(runnable, results)
        self._called_in_turn = True
        outcome = StepOutcome.CALLS_OK
        records: list[CallRecord] = []
        shown: list[str] = []
        hits: list[LimitHit] = []
        for call, result, hint in zip(runnable, results, hints, strict=True):
            self._responses.append(result.text)
            records.append(_record(call, result, hint))
            if result.status is CallStatus.EXCEPTION:
                outcome = StepOutcome.CALLS_FAILED
            seen = self._shown(result.text)
            if seen is not result.text:
                hits.append(LimitHit.RESULT_CHARACTERS)
            # After the cut of a long result, so that a hint is always whole.
            shown.append(seen if hint is None else _with_hint(seen, hint))
        records += [_record(call, None) for call in excess]
        if excess:
            shown += [f"Not run: at most {limit} calls run in one message."] * len(excess)
            hits.append(LimitHit.CALLS_PER_STEP)
        message = self._protocol.observation(shown, [call.name for call in action.calls])
        return self._go_on(text, outcome, tuple(records), message, tuple(hits))

    def _call(self, call: ToolCall) -> ToolResult:
        # A tool that is held back does not exist yet, also for a model that guesses its name.
        if call.name in self._prepared.held_back[self._turn] and not self._rules.official:
            return unknown_tool(call.name)
        return self.environment.call(call)

    def _hints(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> Sequence[Hint | None]:
        """The hint to show after each result. What closes a turn is followed by the next request alone."""
        if self._augmentation is None or self._last_step:
            return [None] * len(results)
        return self._augmentation.after_calls(self._turn, len(self._responses), calls, results)

    def _reject(self, text: str, action: Malformed) -> Reaction:
        """Tell the model how its message broke the protocol."""
        feedback = self._protocol.format_feedback(action)
        hint = None
        if self._augmentation is not None and not self._last_step:
            hint = self._augmentation.after_malformed(self._turn, len(self._steps), text, feedback)
        return self._go_on(text, StepOutcome.FORMAT_ERROR, (), _with_hint(feedback, hint), hint=hint)

    @property
    def _last_step(self) -> bool:
        """Whether the message at hand is the last of its turn."""
        return self._steps_in_turn >= self._rules.steps_per_turn

    def _shown(self, result: str) -> str:
        limit = self._rules.result_characters
        if len(result) <= limit:
            return result
        return f"{result[:limit]} [... {len(result) - limit} more characters are not shown]"

    def _refuse_calls(self, text: str, action: UseTools) -> Reaction:
        """The turn lacks a tool or a value: calling is wrong, and is not run so that later turns stay comparable."""
        self._called_in_turn = True
        records = tuple(_record(call, None) for call in action.calls)
        return self._close_turn(text, StepOutcome.CALLS_REFUSED, records, prefix=_REFUSED)

    def _go_on(
        self,
        text: str,
        outcome: StepOutcome,
        calls: tuple[CallRecord, ...],
        message: str,
        limits: tuple[LimitHit, ...] = (),
        hint: Hint | None = None,
    ) -> Reaction:
        """Stay in the turn, unless this was its last step."""
        if self._last_step:
            return self._close_turn(text, outcome, calls, limits=(*limits, LimitHit.STEPS_PER_TURN))
        step = StepRecord(
            turn=self._turn,
            text=text,
            outcome=outcome,
            calls=calls,
            observation=message,
            limits=limits,
            hint=hint,
        )
        return self._react(step)

    def _close_turn(
        self,
        text: str,
        outcome: StepOutcome,
        calls: tuple[CallRecord, ...],
        prefix: str = "",
        limits: tuple[LimitHit, ...] = (),
        answer: str = "",
    ) -> Reaction:
        turn = self._turn
        verdict = self._judge(outcome is StepOutcome.ANSWER, answer)
        self._verdicts.append(verdict)
        message = ""
        if turn + 1 == self.task.turns:
            self._stop = StopReason.COMPLETED
        elif self._rules.official and LimitHit.STEPS_PER_TURN in limits:
            self._stop = StopReason.STEPS_PER_TURN
        else:
            message = prefix + self._prepared.requests[turn + 1]
        self._turn, self._steps_in_turn, self._called_in_turn = turn + 1, 0, False
        step = StepRecord(
            turn=turn,
            text=text,
            outcome=outcome,
            calls=calls,
            observation=message,
            closed_turn=True,
            limits=limits,
            answer=answer if self.task.expected else "",
        )
        return self._react(step, verdict)

    def _judge(self, answered: bool, answer: str) -> TurnVerdict:
        """The word on the turn at hand, by its answer or by calls and states."""
        turn = self._turn
        if self.task.expected:
            return judge_answer(
                turn,
                expected=self.task.expected[turn],
                answer=answer,
                question=self._prepared.requests[turn],
                called_tools=self._called_in_turn,
                answered=answered,
            )
        return judge_turn(
            turn,
            environment=self.environment,
            twin=self._prepared.twin[turn],
            responses=self._responses,
            called_tools=self._called_in_turn,
            answered=answered,
            official=self._rules.official,
        )

    def _react(self, step: StepRecord, verdict: TurnVerdict | None = None) -> Reaction:
        self._steps.append(step)
        return Reaction(over=self.over, content=step.observation, step=step, verdict=verdict)


def _with_hint(text: str, hint: Hint | None) -> str:
    return text if hint is None else f"{text} Hint: {hint.text}"


def _record(call: ToolCall, result: ToolResult | None, hint: Hint | None = None) -> CallRecord:
    return CallRecord(
        name=call.name,
        arguments=dict(call.arguments),
        result=result.text if result else None,
        status=result.status.value if result else None,
        hint=hint,
    )
