"""Calls as ``<tool_call>`` JSON, several in a message, and a plain final answer: what Qwen models were trained on.

Owns: the prompt that asks for it, the parser that accepts it and the writer that produces it. Refuses: repairing what a
model wrote, and running half of it: if one block of a message cannot be read, no call of it runs and the model is told
which block and why. Results come back as ``<tool_result>`` blocks, whose two labels are Chinese in every language.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
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
from env_tuning.protocols.json_calls import blocks, body_of, call_record, read_calls
from env_tuning.task import ToolDoc

_ROLE = """\
You answer requests, with the help of tools where you need them. These are the tools:
"""

_FORMAT = """
To use a tool, write
<tool_call>
{"name": "tool", "arguments": {"parameter": "value"}}
</tool_call>
One message may hold several such blocks. Their results follow in <tool_result> blocks.
A message without a <tool_call> block is your final answer to the request."""

_V2 = "\nBefore you ask for something, look for a tool that finds it out. Never invent a value that is missing."


class Hermes(Protocol):
    """Any number of `<tool_call>` blocks of one JSON object each; a message without one is the answer."""

    name: ClassVar[str] = "hermes"

    def system_prompt(self, tools: Sequence[ToolDoc], *, listing: ToolListing, version: PromptVersion) -> str:
        """Role, tools and the format; the second version adds a sentence on missing values."""
        return f"{_ROLE}{list_tools(tools, listing)}\n{_FORMAT}{_V2 if version is PromptVersion.V2 else ''}"

    def parse(self, text: str) -> Action:
        """The calls of all blocks, in order; what stands around them is the thought."""
        thought, text, fault = split_thought(text)
        found = blocks(text, "tool_call")
        if fault or (fault := _stray_tag(text, len(found))):
            return Malformed(fault)
        if not found:
            return Answer(text.strip(), thought)
        calls: list[ToolCall] = []
        for number, span in enumerate(found, start=1):
            read = read_calls(body_of(text, span, "tool_call"))
            if isinstance(read, str):
                return Malformed(f"{read} (block {number} of {len(found)}; no call was run)")
            calls += read
        return UseTools(tuple(calls), "\n".join(filter(None, (thought, text[: found[0][0]].strip()))))

    def write_calls(self, calls: Sequence[ToolCall], thought: str = "") -> str:
        """A block for every call; positional arguments cannot be written (`ValueError`)."""
        return with_thought("\n".join(map(write_call, calls)), thought)

    def write_answer(self, text: str, thought: str = "") -> str:
        """The text as it is."""
        return with_thought(text, thought)

    def observation(self, results: Sequence[str], names: Sequence[str] = ()) -> str:
        """A ``<tool_result>`` block for every call."""
        return "\n\n".join(
            f"<tool_result>\n工具: {name}\n结果: {result}\n</tool_result>"
            for name, result in zip_longest(names, results, fillvalue="")
        )

    def format_feedback(self, malformed: Malformed) -> str:
        """The fault, in the place where results stand."""
        return f"<tool_result>\n错误: {malformed.feedback}\n</tool_result>"


def write_call(call: ToolCall) -> str:
    """One ``<tool_call>`` block, which no text inside an argument can open or close."""
    body = json.dumps(call_record(call), ensure_ascii=False)
    body = body.replace("</", "<\\/").replace("<tool_call>", "\\u003ctool_call>")
    return f"<tool_call>\n{body}\n</tool_call>"


def split_thought(text: str) -> tuple[str, str, str | None]:
    """The thought before ``</think>``, the rest, and the fault if a thought is not closed.

    The opening tag may be missing: some chat templates write it themselves.
    """
    before, closing, rest = text.rpartition("</think>")
    if closing:
        return before.strip().removeprefix("<think>").strip(), rest, None
    fault = "Format error: <think> is not closed; write </think>." if text.lstrip().startswith("<think>") else None
    return "", text, fault


def with_thought(text: str, thought: str) -> str:
    """A message that `split_thought` takes apart again."""
    return f"<think>{thought}</think>\n{text}" if thought else text


def _stray_tag(text: str, pairs: int) -> str | None:
    """The fault of a call that would vanish: an opening tag without an end, or the other way round."""
    opened, closed = text.count("<tool_call>"), text.count("</tool_call>")
    if opened > pairs:
        return "Format error: a <tool_call> is not closed before the next one or the end; write </tool_call>."
    return "Format error: </tool_call> stands alone; open the block with <tool_call>." if closed > pairs else None
