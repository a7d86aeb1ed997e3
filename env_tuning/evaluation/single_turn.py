"""The benchmark's single-turn questions asked of a model: AST, relevance and irrelevance.

Owns: one message for every question, its judgement, and the two files that say so. Refuses: playing tasks (`running`),
reading questions (`data.single_turn`), the comparison itself (`metrics`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.calls import ToolCall
from env_tuning.data.single_turn import SingleTurn
from env_tuning.endpoint.client import NoReply, TooLong, UnusableReply
from env_tuning.errors import UserError
from env_tuning.evaluation.models import Model
from env_tuning.evaluation.settings import Mode, Settings
from env_tuning.evaluation.speakers import Speaker
from env_tuning.evaluation.statistics import wilson
from env_tuning.metrics.ast_match import calls_fault
from env_tuning.metrics.measures import Decision, Kind, Share, needing, shares
from env_tuning.protocols import UseTools
from env_tuning.run_folder import claim_output
from env_tuning.task import Task, ToolDoc
from env_tuning.together import together

ANSWERS = "answers.jsonl"
MEASURES = "measures.json"
_SILENT = 10
"""Questions in a row without an answer after which the model counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a model said to one question.

    Attributes:
        id: of the question.
        category: of the question.
        kind: value of the `Kind` that it measures.
        right: whether it is.
        fault: value of the `Fault` of its calls; "" if they have none, or only calling at all is judged.
        calls: name and arguments of the calls that could be read.
        text: the message.
    """

    id: str
    category: str
    kind: str
    right: bool
    fault: str
    calls: list[dict[str, Any]]
    text: str


def judge(question: SingleTurn, calls: Sequence[ToolCall]) -> tuple[bool, str]:
    """Whether the calls of a message are right, and else what is wrong; no calls are those that cannot be read."""
    if question.kind in (Kind.RELEVANCE, Kind.IRRELEVANCE):
        return needing(question.kind is Kind.RELEVANCE, bool(calls)).right, ""
    fault = calls_fault(calls, question.possible, question.tools)
    return fault is None, "" if fault is None else fault.value


def with_native_names(question: SingleTurn) -> SingleTurn:
    """The question with names that endpoints take as names of functions: without dots."""

    def named(name: str) -> str:
        return name.replace(".", "_")

    return SingleTurn(
        id=question.id,
        category=question.category,
        messages=question.messages,
        tools=tuple(
            ToolDoc(
                name=named(tool.name),
                description=tool.description,
                parameters=tool.parameters,
                response=tool.response,
            )
            for tool in question.tools
        ),
        possible=tuple({named(name): values for name, values in answer.items()} for answer in question.possible),
    )


async def ask(
    model: Model,
    questions: Sequence[SingleTurn],
    settings: Settings,
    output: Path,
    *,
    concurrency: int,
    done: Callable[[Answered], None],
) -> dict[str, str]:
    """Ask what the folder holds no answer to, and write the measures once all are answered.

    Returns:
        Ids of questions without an answer, and why.

    Raises:
        UserError: a folder of something else, or a model that cannot be had or answers nobody.
    """
    if settings.mode is Mode.NATIVE:
        questions = [with_native_names(question) for question in questions]
    async with model:
        claim_output(output, _identity(settings, questions, model.facts), elsewhere="--output ANOTHER-FOLDER")
        known = {question.id for question in questions}
        answers = {answer.id: answer for answer in read_answers(output) if answer.id in known}
        replace_text(output / ANSWERS, "".join(_line(answer) for answer in answers.values()))
        for answer in answers.values():
            done(answer)
        missing: dict[str, str] = {}
        open_questions = [question for question in questions if question.id not in answers]
        if open_questions:
            speaker = model.speaker(settings, concurrency)
            pending = iter(open_questions)

            async def work() -> None:
                for question in pending:
                    try:
                        answer = await _ask(question, speaker, settings)
                    except (NoReply, UnusableReply) as error:
                        missing[question.id] = str(error)
                        if len(missing) >= _SILENT and len(answers) == 0:
                            raise UserError(f"the endpoint answers no request: {error}") from None
                        continue
                    answers[answer.id] = answer
                    with (output / ANSWERS).open("a", encoding="utf-8") as lines:
                        lines.write(_line(answer))
                    done(answer)

            await together([work() for _ in range(concurrency)])
        if not missing:
            ordered = [answers[question.id] for question in questions]
            replace_text(output / MEASURES, json.dumps(_measures(ordered, model.facts, settings), indent=1) + "\n")
    return missing


def read_answers(folder: Path) -> Iterator[Answered]:
    """The answers in a folder; a line that a kill has torn is none."""
    file = folder / ANSWERS
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            yield Answered(**json.loads(text))
        except (ValueError, TypeError):
            continue


def rows_of(answers: Sequence[Answered]) -> dict[str, dict[str, Share]]:
    """The measures by category, and over all categories under ``all``."""
    groups = {name: [answer for answer in answers if answer.category == name] for name in _categories(answers)}
    groups["all"] = list(answers)
    return {
        name: {
            kind.value: share
            for kind, share in shares(Decision(kind=Kind(one.kind), right=one.right) for one in group).items()
        }
        for name, group in groups.items()
    }


def _categories(answers: Sequence[Answered]) -> list[str]:
    return list(dict.fromkeys(answer.category for answer in answers))


async def _ask(question: SingleTurn, speaker: Speaker, settings: Settings) -> Answered:
    task = Task(
        id=question.id,
        split=question.category,
        user_turns=(question.messages[-1]["content"],),
        initial_config="{}",
        tool_classes=(),
        tools=question.tools,
        ground_truth=((),),
    )
    talk = speaker.open(task, _opening(question, settings), settings.seed_of(task))
    try:
        reply = await talk.reply()
        text, whole = reply.text, reply.cut is None
    except TooLong:
        text, whole = "", False
    finally:
        talk.close()
    action = settings.speech.parse(text) if whole else None
    calls = action.calls if isinstance(action, UseTools) else ()
    right, fault = judge(question, calls)
    written = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
    return Answered(
        id=question.id,
        category=question.category,
        kind=question.kind.value,
        right=right,
        fault=fault,
        calls=written,
        text=text,
    )


def _opening(question: SingleTurn, settings: Settings) -> list[dict[str, str]]:
    """The protocol's system prompt, with the question's own behind it, and the question."""
    prompt = settings.speech.system_prompt(question.tools, listing=settings.listing, version=settings.version)
    own = [message["content"] for message in question.messages if message["role"] == "system"]
    rest = [dict(message) for message in question.messages if message["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(filter(None, [prompt, *own]))}, *rest]


def _identity(settings: Settings, questions: Sequence[SingleTurn], model: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "single_turn": {
            **_asked(settings),
            "questions": [question.id for question in questions],
            "model": {key: value for key, value in model.items() if key != "folder"},
        }
    }


def _asked(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in settings.as_dict().items() if name not in ("rules", "hints")}


def _measures(answers: Sequence[Answered], model: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    return {
        "model": dict(model),
        "settings": _asked(settings),
        "categories": {
            name: {
                kind: {**share.as_dict(), "interval": list(wilson(share.right, share.all))}
                for kind, share in found.items()
            }
            for name, found in rows_of(answers).items()
        },
    }


def _line(answer: Answered) -> str:
    return json.dumps(asdict(answer), ensure_ascii=False) + "\n"
