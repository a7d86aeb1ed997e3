"""The paper's protocol: ``<think>`` and then ``<tool_call>`` or ``<answer>``.

Owns: the prompt that asks for it, the parser that accepts it and the writer that produces it. Refuses: repairing
what a model wrote: a malformed call is a format error with feedback, never a call without its arguments and never
a silent end of the turn. Format: arXiv 2510.10197, appendix F; the sentences are this project's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from env_tuning.calls import ToolCall
from env_tuning.protocols.base import (
    Action,
    Answer,
    Malformed,
    PromptVersion,
    Protocol,
    ToolListing,
    UseTools,
    list_tools,
)
from env_tuning.protocols.json_calls import Span, blocks, body_of, call_record, read_calls
from env_tuning.task import ToolDoc

_ROLE = """\
You solve requests by composing function calls. The functions you can use are listed below.
If none of them applies, say so. If a request lacks a value that a function needs, say which one.
"""

_FORMATS = """
Every message you write has exactly one of two forms.
Form 1, to call functions:
<think>your reasoning</think><tool_call>[{"name": "function", "arguments": {"parameter": "value"}}]</tool_call>
Form 2, to finish or to ask:
<think>your reasoning</think><answer>your words to the user</answer>
"""

_NOTES = (
    "Use form 1 while there is something to do, and form 2 once the request is fulfilled or you have to ask or refuse.",
    "Put several calls into the one JSON array of a single tool_call block.",
    "Answer only when the request is fulfilled or you need something from the user.",
)

_NOTES_V2 = (
    "Be resourceful: before you ask the user, look for another function that can find out what is missing.",
    "Be clear rather than sure: if a function or a value is missing and cannot be found out, "
    "never invent a call; use form 2 and ask for it.",
)


class ThinkAnswer(Protocol):
    """`<think>` + `<tool_call>` JSON, or `<think>` + `<answer>`; tool results come back as user messages."""

    name: ClassVar[str] = "think_answer"

    def system_prompt(self, tools: Sequence[ToolDoc], *, listing: ToolListing, version: PromptVersion) -> str:
        """Role, tools, the two forms, and the notes of the prompt version."""
        notes = _NOTES + (_NOTES_V2 if version is PromptVersion.V2 else ())
        bullets = "\n".join(f"- {note}" for note in notes)
        return f"{_ROLE}\n{list_tools(tools, listing)}\n{_FORMATS}\n{bullets}"

    def parse(self, text: str) -> Action:
        """Check the tags in the paper's order, then the JSON of the calls."""
        if (usual := _usual_form(text)) is not None:
            thought, kind, body = usual
            return _answer(body, thought) if kind == "answer" else _use_tools(body, thought)
        thoughts, calls, answers = (blocks(text, tag) for tag in ("think", "tool_call", "answer"))
        fault = _count_fault(len(thoughts), len(calls), len(answers)) or _outside(text, thoughts + calls + answers)
        if fault:
            return Malformed(fault)
        thought = body_of(text, thoughts[0], "think")
        if answers:
            return _answer(body_of(text, answers[0], "answer"), thought)
        return _use_tools(body_of(text, calls[0], "tool_call"), thought)

    def write_calls(self, calls: Sequence[ToolCall], thought: str = "") -> str:
        """One tool_call block with a JSON array; positional arguments cannot be written."""
        body = json.dumps([call_record(call) for call in calls], ensure_ascii=False)
        return f"<think>{thought}</think><tool_call>{body}</tool_call>"

    def write_answer(self, text: str, thought: str = "") -> str:
        """One answer block."""
        return f"<think>{thought}</think><answer>{text}</answer>"

    def observation(self, results: Sequence[str], names: Sequence[str] = ()) -> str:
        """The results as a JSON array of strings, and how to go on; in the order of the calls, without names."""
        body = ", ".join(map(_quoted, results))
        return f"Results of your calls: [{body}]\nIf the request is fulfilled, think and answer. Otherwise call again."

    def format_feedback(self, malformed: Malformed) -> str:
        """The one-line fault."""
        return malformed.feedback


def _quoted(text: str) -> str:
    """What `json.dumps(text, ensure_ascii=False)` gives, without its set-up."""
    # It looks at every character, which shows in results of 20,000. Without controls, two replacements are the same.
    if len(text) < 1000 or any(map(text.__contains__, _CONTROLS)):
        return json.encoder.encode_basestring(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_CONTROLS = tuple(map(chr, range(32)))

_ANSWER = ("answer", "<answer>", "</answer>", "<tool_call>")
_CALLS = ("tool_call", "<tool_call>", "</tool_call>", "<answer>")


def _usual_form(text: str) -> tuple[str, str, str] | None:
    """Thought, kind and body of a message in which the tags stand once and in order; None for any other.

    What it accepts the full check below accepts alike; it only saves time, since most messages have this form.
    """
    thought, _, rest = text.strip().partition("</think>")
    rest = rest.lstrip()
    kind, opening, closing, other = _ANSWER if rest.startswith("<answer>") else _CALLS
    if (
        thought.startswith("<think>")
        and rest.startswith(opening)
        and rest.endswith(closing)
        and rest.count(closing) == 1
        and opening not in thought
        and other not in text
        and "<think>" not in rest
    ):
        return thought[len("<think>") :], kind, rest[len(opening) : -len(closing)]
    return None


def _answer(body: str, thought: str) -> Answer:
    return Answer(body.strip(), thought.strip())


def _use_tools(body: str, thought: str) -> UseTools | Malformed:
    parsed = read_calls(body)
    return Malformed(parsed) if isinstance(parsed, str) else UseTools(parsed, thought.strip())


def _count_fault(thoughts: int, calls: int, answers: int) -> str | None:
    if thoughts == 0:
        return "Format error: the <think>...</think> block is missing; begin every message with one."
    if thoughts > 1:
        return "Format error: more than one <think> block; write exactly one."
    if calls > 1:
        return "Format error: more than one <tool_call> block; put all calls into one JSON array in a single block."
    if answers > 1:
        return "Format error: more than one <answer> block; write exactly one."
    if calls and answers:
        return "Format error: both <tool_call> and <answer>; call functions or answer, not both."
    if not calls and not answers:
        return "Format error: neither <tool_call>...</tool_call> nor <answer>...</answer> follows the thinking."
    return None


def _outside(text: str, spans: Sequence[Span]) -> str | None:
    """The fault of text outside the blocks; overlapping blocks (tags inside tags) are one stretch."""
    position = 0
    for start, end in sorted(spans):
        if text[position:start].strip():
            break
        position = max(position, end)
    else:
        if not text[position:].strip():
            return None
    return "Format error: there is text outside the tags; everything you write belongs inside them."
