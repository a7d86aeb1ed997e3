"""Tags and the JSON of calls, as several protocols read and write them.

Owns: where tagged blocks are in a message, and what the JSON inside a ``tool_call`` block means. Refuses: what a
message as a whole means (each protocol says that), repairing broken JSON, evaluating anything.
"""

from __future__ import annotations

import json
from typing import Any

from env_tuning.calls import ToolCall

MAX_DEPTH = 40
"""Levels of JSON in a tool_call block: a little more than the environment takes as arguments (`limits.ARGUMENTS`).
Records of what a model wrote must survive being copied and written as JSON again.
"""

Span = tuple[int, int]


def blocks(text: str, tag: str) -> list[Span]:
    """Spans of the closed pairs of a tag, left to right, in one linear pass (a regex here could be quadratic)."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    spans: list[Span] = []
    start = text.find(opening)
    while start != -1:
        end = text.find(closing, start)
        if end == -1:
            break
        end += len(closing)
        spans.append((start, end))
        start = text.find(opening, end)
    return spans


def body_of(text: str, span: Span, tag: str) -> str:
    """What stands between the tags of a span that `blocks` found."""
    return text[span[0] + len(tag) + 2 : span[1] - len(tag) - 3]


def call_record(call: ToolCall) -> dict[str, Any]:
    """A call as `read_calls` reads it; positional arguments cannot be written (`ValueError`)."""
    if call.positional:
        raise ValueError(f"{call} has positional arguments; name them before writing")
    return {"name": call.name, "arguments": dict(call.arguments)}


def read_calls(body: str) -> tuple[ToolCall, ...] | str:
    """The calls of a tool_call block, or the fault."""
    try:
        data = _from_json(body)
    # Deep nesting exhausts the decoder's stack; huge integers are a ValueError like broken JSON.
    except (ValueError, RecursionError) as error:
        return f"Format error: the <tool_call> block is not JSON ({_one_line(error)})."
    # Brackets inside strings only make this look deeper than it is, and the exact check settles it.
    if body.count("[") + body.count("{") > MAX_DEPTH and _deeper_than(MAX_DEPTH, data):
        return f"Format error: the <tool_call> block is nested deeper than {MAX_DEPTH} levels."
    records = data if isinstance(data, list) else [data]
    if not records:
        return "Format error: the <tool_call> block holds no call; to call nothing, answer instead."
    calls: list[ToolCall] = []
    for number, record in enumerate(records, start=1):
        call = _read_call(record)
        if isinstance(call, str):
            return f"Format error: call {number} {call}."
        calls.append(call)
    return tuple(calls)


def _from_json(text: str) -> Any:
    # Without the set-up of json.loads, which reads or refuses whatever is more than one value from end to end.
    try:
        value, end = _DECODER.raw_decode(text)
    except ValueError:
        end = -1
    return value if end == len(text) else json.loads(text)


_DECODER = json.JSONDecoder()


def _read_call(record: Any) -> ToolCall | str:
    if not isinstance(record, dict):
        return 'is not an object like {"name": "...", "arguments": {...}}'
    name, arguments = record.get("name"), record.get("arguments")
    if not isinstance(name, str) or not name.strip():
        return 'has no "name"'
    # OpenAI-style clients write the arguments as a string of JSON.
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
        if _deeper_than(MAX_DEPTH, arguments):
            arguments = None
    if isinstance(arguments, dict):
        return ToolCall(name=name.strip(), arguments=arguments)
    if "arguments" not in record:
        return 'has no "arguments" object; write {} when there are none'
    return 'has "arguments" that are not a JSON object'


def _deeper_than(levels: int, data: Any) -> bool:
    """Whether containers are nested in more levels; level by level, since the data may be as deep as the stack."""
    level = [data]
    for _ in range(levels + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
