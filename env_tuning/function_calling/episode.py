"""One episode: for every request select tools, then fill or ask for the parameters of each.

Owns: the order of stages, what the model is shown next, the scripted user and the grade of every message. Refuses:
tokens, rewards (`rewards`), executing a tool. Single-use.

A message is one step and closes one turn of the trajectory, so that rewards by turn stand on its last token. The turns
of the trajectory are those of a perfect episode; a stage that is never reached counts as wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from env_tuning.function_calling.families import Calls, Family, Fault, Names, Question, Role
from env_tuning.function_calling.grades import Grade, Stage
from env_tuning.function_calling.matching import f1, match_calls
from env_tuning.function_calling.records import Dialogue, Request, Tool
from env_tuning.trajectory import CallRecord, StepOutcome, StepRecord, StopReason, Trajectory, TurnFailure, TurnVerdict


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How episodes are played.

    Attributes:
        questioning: whether withheld parameters must be asked for; otherwise the query says them.
        stop_at_error: whether the first wrong message ends the episode, as in the system's origin.
        roles: whether every message says whose turn it is, the selector's, the questioner's or the filler's. A
            questioner is asked about every tool, whether or not something is missing, so that being asked tells
            nothing.
    """

    questioning: bool = True
    stop_at_error: bool = False
    roles: bool = False


class Reaction(NamedTuple):
    """What follows a message."""

    over: bool
    content: str
    grade: Grade


class FunctionCallingEpisode:
    """The state of one episode."""

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        tools: Mapping[str, Tool],
        candidates: Sequence[Sequence[str]],
        family: Family,
        rules: Rules,
        split: str = "",
    ) -> None:
        """Start before the first message.

        Args:
            dialogue: what is asked, and what is right.
            tools: the candidates and the needed tools, by name.
            candidates: names for every request, in the order in which they are shown.
            family: how the model speaks.
            rules: of the episode.
            split: name of the split, for the trajectory.

        Raises:
            ValueError: candidates and requests, or candidates and tools, do not correspond.
        """
        if len(candidates) != len(dialogue.requests):
            raise ValueError(f"{dialogue.id}: {len(dialogue.requests)} requests, candidates for {len(candidates)}")
        shown = {name for names in candidates for name in names}
        if unknown := sorted((shown | {*dialogue.tools}) - tools.keys()):
            raise ValueError(f"{dialogue.id}: no such tools: {unknown}")
        self._dialogue, self._tools, self._candidates = dialogue, tools, candidates
        self._family, self._rules, self._split = family, rules, split
        self._steps: list[StepRecord] = []
        self._verdicts: list[TurnVerdict] = []
        self._stop = StopReason.COMPLETED
        self._over = False
        self._request = 0
        self._waiting: list[str] = []
        """Selected tools whose parameters are still to be filled; empty while tools are selected."""
        self._asked = False
        self._system = family.system_prompt(questioning=rules.questioning and not rules.roles)
        self._first = self._select()

    def opening(self) -> list[dict[str, str]]:
        """The messages before the first generation."""
        return [{"role": "system", "content": self._system}, {"role": "user", "content": self._first}]

    def step(self, text: str) -> Reaction:
        """Take a message of the model."""
        assert not self._over, "the episode is over"
        said = self._read(text)
        grade = self._grade(said)
        verdict = self._verdict(grade)
        following = None if self._rules.stop_at_error and not grade.right else self._following(said, grade)
        self._over = following is None
        record = CallRecord(
            name=grade.stage.value, arguments=_as_data(said), result=json.dumps(grade.to_dict()), status=None
        )
        self._steps.append(
            StepRecord(
                turn=verdict.turn,
                text=text,
                outcome=StepOutcome.FORMAT_ERROR if isinstance(said, Fault) else StepOutcome.CALLS_OK,
                calls=(record,),
                observation=following or "",
                closed_turn=True,
            )
        )
        self._verdicts.append(verdict)
        return Reaction(self._over, following or "", grade)

    def right_message(self) -> str:
        """What a perfect model says now."""
        assert not self._over, "the episode is over"
        if not self._waiting:
            return self._family.write_names(self._current.tools)
        if self._asks:
            return self._family.write_question(self._missing())
        tool = self._waiting[0]
        return self._family.write_calls(tool, [call.arguments for call in self._current.calls_of(tool)])

    @property
    def over(self) -> bool:
        """Whether nothing more can be said."""
        return self._over

    def cut(self, reason: StopReason, partial_text: str | None = None) -> None:
        """A limit ended the episode, perhaps within a message."""
        self._over, self._stop = True, reason
        if partial_text is not None:
            self._steps.append(StepRecord(turn=len(self._verdicts), text=partial_text, outcome=StepOutcome.CUT))

    def trajectory(self) -> Trajectory:
        """The record of the episode so far."""
        return Trajectory(
            task_id=self._dialogue.id,
            split=self._split,
            turns=planned_turns(self._dialogue, self._rules),
            steps=tuple(self._steps),
            verdicts=tuple(self._verdicts),
            stop=self._stop,
            system_prompt=self._system,
            first_request=self._first,
        )

    # What is asked --------------------------------------------------------------------------------------------

    @property
    def _current(self) -> Request:
        return self._dialogue.requests[self._request]

    @property
    def _said(self) -> str:
        return said_query(self._current, self._rules)

    def _select(self) -> str:
        shown = [self._tools[name] for name in self._candidates[self._request]]
        return self._of(Role.SELECTOR, self._family.select(self._said, shown))

    def _of(self, role: Role, text: str) -> str:
        return f"{role.value}\n{text}" if self._rules.roles else text

    def _read(self, text: str) -> Names | Calls | Question | Fault:
        if not self._waiting:
            return self._family.read_selection(text)
        if self._rules.roles and self._asks:
            return self._family.read_question(text)
        return self._family.read_filling(self._waiting[0], text)

    @property
    def _asks(self) -> bool:
        """Whether the message that is waited for should be a question, or say that none is needed."""
        if not self._waiting or not self._rules.questioning or self._asked:
            return False
        return self._rules.roles or bool(self._missing())

    def _missing(self) -> tuple[str, ...]:
        """The parameters that the user has not said."""
        return self._current.withheld.get(self._waiting[0], ())

    def _following(self, said: Names | Calls | Question | Fault, grade: Grade) -> str | None:
        """The next message to the model; None when the episode is over."""
        if grade.stage is Stage.SELECT:
            self._waiting = [name for name in self._current.tools if isinstance(said, Names) and name in said.names]
        elif self._asks:
            return self._answer(said)
        else:
            self._waiting.pop(0)
        self._asked = False
        if self._waiting:
            tool = self._tools[self._waiting[0]]
            if self._rules.roles and self._rules.questioning:
                return self._of(Role.QUESTIONER, self._family.check(self._said, tool))
            return self._of(Role.FILLER, self._family.fill(self._said, tool))
        self._request += 1
        return self._select() if self._request < len(self._dialogue.requests) else None

    def _answer(self, said: Names | Calls | Question | Fault) -> str:
        """What follows a message that should ask; each tool is asked about once."""
        self._asked = True
        tool, missing = self._waiting[0], self._missing()
        # Asked for or not, the user tells what is missing, or what was asked for.
        wanted = said.names if isinstance(said, Question) and (said.names or not missing) else missing
        values: dict[str, Any] = {}
        if missing:
            (call,) = self._current.calls_of(tool)
            values = {name: call.arguments[name] for name in wanted if name in call.arguments}
        answer = self._family.told(values)
        if not self._rules.roles:
            return f"{answer}\n{self._family.refill()}"
        filling = self._of(Role.FILLER, self._family.fill(self._said, self._tools[tool]))
        return f"{answer}\n{filling}" if wanted else filling

    # What it was worth ----------------------------------------------------------------------------------------

    def _grade(self, said: Names | Calls | Question | Fault) -> Grade:
        if not self._waiting:
            needed, names = self._current.tools, said.names if isinstance(said, Names) else ()
            readable = isinstance(said, Names)
            right = readable and {*names} == {*needed}
            return Grade(
                stage=Stage.SELECT,
                share=f1(names, needed) if readable else 0.0,
                right=right,
                partial=bool(names) and {*names} < {*needed},
                invented=sum(name not in self._candidates[self._request] for name in names),
                needed=tuple(call.name for call in self._current.calls),
                candidates=len(self._candidates[self._request]),
            )
        if self._asks:
            missing, names = self._missing(), said.names if isinstance(said, Question) else ()
            share = f1(names, missing) if isinstance(said, Question) else 0.0
            right = isinstance(said, Question) and {*names} == {*missing}
            return Grade(stage=Stage.ASK, share=share, right=right, partial=bool(names) and {*names} < {*missing})
        tool = self._waiting[0]
        calls = said.calls if isinstance(said, Calls) else ()
        if not calls or any(call.name != tool for call in calls):
            return Grade(stage=Stage.FILL, share=0.0, right=False)
        match = match_calls(
            [call.arguments for call in calls], [call.arguments for call in self._current.calls_of(tool)]
        )
        return Grade(stage=Stage.FILL, share=match.share, right=match.right, partial=match.wrong == 0 < match.missing)

    def _verdict(self, grade: Grade) -> TurnVerdict:
        needed = bool(self._current.calls)
        failure = TurnFailure.RESPONSE if needed else TurnFailure.CALLED_WITHOUT_NEED
        return TurnVerdict(
            turn=len(self._verdicts),
            correct=grade.right,
            failure=None if grade.right else failure,
            expects_calls=needed,
        )


def planned_turns(dialogue: Dialogue, rules: Rules) -> int:
    """How many messages a perfect episode has."""

    def questions(request: Request) -> int:
        return len(request.tools) if rules.roles else len(request.withheld)

    return sum(
        1 + len(request.tools) + (questions(request) if rules.questioning else 0) for request in dialogue.requests
    )


def said_query(request: Request, rules: Rules) -> str:
    """What the user says: with withheld values behind it when nobody would ask for them."""
    if rules.questioning or not request.withheld:
        return request.query
    values = [
        f"{name}: {json.dumps(request.calls_of(tool)[0].arguments[name], ensure_ascii=False)}"
        for tool, names in request.withheld.items()
        for name in names
    ]
    return f"{request.query} ({', '.join(values)})"


def _as_data(said: Names | Calls | Question | Fault) -> dict[str, Any]:
    """What a message said, as the arguments of the step's record."""
    if isinstance(said, Calls):
        return {"calls": [{"name": call.name, "arguments": dict(call.arguments)} for call in said.calls]}
    return {"fault": said.reason} if isinstance(said, Fault) else {"names": list(said.names)}
