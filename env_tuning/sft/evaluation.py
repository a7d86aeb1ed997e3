"""How well a model calls tools: against the rows of a split, and on the document's edge cases.

Owns: where a conversation asks for a decision, the four measures, playing a conversation on, the table that shows two
models side by side. Refuses: how a model writes (`generation.py`), judging the words of an answer.

- **tool selection**: after a user message, the tools that are called are those of the row (none where it answers).
- **arguments**: where the row calls, the calls are the row's, names and every argument.
- **format**: the message ends, can be read, and every call fits the schema of a tool that is there; an answer has
  words.
- **flow**: the conversation is played with the model's own messages, and every message calls what the row calls. The
  row's results stand in for the tools, so the first wrong call ends it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from env_tuning.calls import ToolCall
from env_tuning.protocols.base import Answer, UseTools
from env_tuning.protocols.hermes import Hermes
from env_tuning.sft.conversations import Conversation, Message, Tool, call_message, call_problem, calls_of
from env_tuning.sft.tools import AssistantTools
from env_tuning.sft.transcript import tools_of


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a model is asked to go on from."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model wrote.

    Attributes:
        text: without the token that ended it.
        finished: whether it ended the message itself.
    """

    text: str
    finished: bool


Speaker = Callable[[Sequence[Question]], list[Reply]]
"""Answers questions, in order; `generation.Writer` is one."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One assistant message of a row.

    Attributes:
        question: everything before it.
        expected: the calls it makes, none if it answers.
        selects: whether it follows a user's message.
    """

    question: Question
    expected: tuple[ToolCall, ...]
    selects: bool


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a reply is worth at a decision."""

    selected: bool
    exact: bool
    well_formed: bool


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Shares between 0 and 1 over a set of rows, and what they are shares of."""

    selection: float
    chance: float
    """The selection of a model that chooses one of the tools or none by lot."""
    arguments: float
    format: float
    flow: float
    conversations: int
    decisions: int
    selections: int
    calls: int


@dataclass(frozen=True, kw_only=True)
class EdgeCase:
    """A request at the edge of what the tools do.

    Attributes:
        request: what the user says.
        accepted: lists of calls, each of which is right; an empty one is an answer.
        why: what is special.
    """

    request: str
    accepted: tuple[tuple[ToolCall, ...], ...]
    why: str


def _timers(*seconds: int) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(name="start_timer", arguments={"duration": duration}) for duration in seconds)


EDGE_CASES: tuple[EdgeCase, ...] = (
    EdgeCase(request="Set a timer for 0 minutes", accepted=((),), why="zero duration: say that it cannot be"),
    EdgeCase(request="Remind me tomorrow", accepted=((),), why="time and note are missing: ask"),
    EdgeCase(request="Can you help me?", accepted=((),), why="no clear tool: answer"),
    EdgeCase(request="Set 3 timers", accepted=((),), why="durations are missing: ask"),
    EdgeCase(
        request="Set 3 timers: 5 minutes, 10 minutes and 15 minutes.",
        accepted=(_timers(300, 600, 900),),
        why="parallel calls",
    ),
)
"""The document's four, the last of them with and without what the calls need."""


@dataclass(frozen=True, kw_only=True)
class EdgeAnswer:
    """What a model did at an edge case."""

    request: str
    why: str
    reply: str
    right: bool


def decisions_of(conversation: Conversation) -> list[Decision]:
    """Every assistant message of a row."""
    messages = conversation.messages
    return [
        Decision(
            question=Question(messages=messages[:number], tools=conversation.tools),
            expected=calls_of(message),
            selects=number > 0 and messages[number - 1]["role"] == "user",
        )
        for number, message in enumerate(messages)
        if message["role"] == "assistant"
    ]


def read_reply(reply: Reply) -> tuple[ToolCall, ...] | None:
    """The calls of a reply, none if it answers; None if it is neither."""
    action = Hermes().parse(reply.text)
    if isinstance(action, UseTools):
        return action.calls
    return () if isinstance(action, Answer) and action.text else None


def judge(decision: Decision, reply: Reply) -> Judgement:
    """What a reply is worth."""
    calls = read_reply(reply)
    tools = decision.question.tools
    return Judgement(
        selected=calls is not None and Counter(map(_name, calls)) == Counter(map(_name, decision.expected)),
        exact=calls is not None and same_calls(calls, decision.expected),
        well_formed=reply.finished and calls is not None and not any(call_problem(call, tools) for call in calls),
    )


def same_calls(one: Sequence[ToolCall], other: Sequence[ToolCall]) -> bool:
    """Whether two messages make the same calls; calls of one message have no order."""
    return sorted(map(_canonical, one)) == sorted(map(_canonical, other))


def evaluate(speaker: Speaker, conversations: Sequence[Conversation]) -> Scores:
    """The measures of a model over rows.

    Args:
        speaker: the model.
        conversations: at least one, with tools.

    Raises:
        ValueError: a row has no tools, so nothing can be selected.
    """
    if not conversations or not all(row.tools for row in conversations):
        raise ValueError("evaluation needs rows with tools; conversations of tasks are evaluated by env-tuning eval")
    decisions = [decision for row in conversations for decision in decisions_of(row)]
    replies = speaker([decision.question for decision in decisions])
    judged = [(decision, judge(decision, reply)) for decision, reply in zip(decisions, replies, strict=True)]
    selections = [(decision, found.selected) for decision, found in judged if decision.selects]
    calls = [found.exact for decision, found in judged if decision.expected]
    chances = [1 / (1 + len(decision.question.tools)) for decision, _ in selections]
    return Scores(
        selection=_share([right for _, right in selections]),
        chance=_share(chances),
        arguments=_share(calls),
        format=_share([found.well_formed for _, found in judged]),
        flow=_share(play_on(speaker, conversations)),
        conversations=len(conversations),
        decisions=len(judged),
        selections=len(selections),
        calls=len(calls),
    )


@dataclass
class _Game:
    """A row in play: the place in it, and the messages so far."""

    row: Conversation
    played: list[Message] = field(default_factory=list)
    place: int = 0

    def advance(self) -> bool:
        """Take the row's messages up to the next of the assistant; whether there is one."""
        messages = self.row.messages
        while self.place < len(messages) and messages[self.place]["role"] != "assistant":
            self.played.append(messages[self.place])
            self.place += 1
        return self.place < len(messages)

    def take(self, reply: Reply) -> bool:
        """Put a reply in the place of the row's message; whether it calls the same."""
        calls, expected = read_reply(reply), calls_of(self.row.messages[self.place])
        # The row's results stand in the order of its calls.
        if calls is None or not reply.finished or [*map(_canonical, calls)] != [*map(_canonical, expected)]:
            return False
        self.played.append(call_message(calls) if calls else {"role": "assistant", "content": reply.text.strip()})
        self.place += 1
        return True


def play_on(speaker: Speaker, conversations: Sequence[Conversation]) -> list[bool]:
    """Whether a model gets through each row with its own messages and the row's results."""
    games = [_Game(row) for row in conversations]
    alive = [game for game in games if game.advance()]
    lost: list[_Game] = []
    while alive:
        replies = speaker([Question(messages=tuple(game.played), tools=game.row.tools) for game in alive])
        lost += [game for game, reply in zip(alive, replies, strict=True) if not game.take(reply)]
        gone = set(map(id, lost))
        alive = [game for game in alive if id(game) not in gone and game.advance()]
    gone = set(map(id, lost))
    return [id(game) not in gone for game in games]


def answer_edge_cases(speaker: Speaker, cases: Sequence[EdgeCase] = EDGE_CASES) -> list[EdgeAnswer]:
    """What a model does at the edges of timer and reminder."""
    tools = tools_of((AssistantTools,))
    questions = [Question(messages=({"role": "user", "content": case.request},), tools=tools) for case in cases]
    return [
        EdgeAnswer(
            request=case.request,
            why=case.why,
            reply=reply.text,
            right=reply.finished
            and (calls := read_reply(reply)) is not None
            and any(same_calls(calls, accepted) for accepted in case.accepted),
        )
        for case, reply in zip(cases, speaker(questions), strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that was measured of one model."""

    model: str
    overall: Scores
    domains: dict[str, Scores]
    edge_cases: list[EdgeAnswer]

    def as_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def report_on(model: str, speaker: Speaker, conversations: Sequence[Conversation]) -> Report:
    """Measure a model, overall and by domain."""
    names = sorted({row.domain for row in conversations})
    return Report(
        model=model,
        overall=evaluate(speaker, conversations),
        domains={name: evaluate(speaker, [row for row in conversations if row.domain == name]) for name in names},
        edge_cases=answer_edge_cases(speaker),
    )


def side_by_side(reports: Sequence[Report]) -> list[list[str]]:
    """A table with one column for each model, its first row the headings."""
    rows = [["", *(report.model for report in reports)]]
    places: list[tuple[str, Callable[[Report], Scores]]] = [("all rows", lambda report: report.overall)]
    for name in reports[0].domains:
        places.append((name, lambda report, name=name: report.domains[name]))  # type: ignore[misc]
    for place, scores in places:
        for measure in ("selection", "arguments", "format", "flow"):
            shares = [getattr(scores(report), measure) for report in reports]
            rows.append([f"{place}: {measure}", *(f"{100 * share:.1f} %" for share in shares)])
        rows.append([f"{place}: selection by lot", *(f"{100 * scores(report).chance:.1f} %" for report in reports)])
    for number, case in enumerate(reports[0].edge_cases):
        shown = ["right" if report.edge_cases[number].right else "wrong" for report in reports]
        rows.append([f"edge: {case.request}", *shown])
    return rows


def _name(call: ToolCall) -> str:
    return call.name


def _canonical(call: ToolCall) -> str:
    return json.dumps([call.name, dict(call.arguments)], sort_keys=True)


def _share(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
