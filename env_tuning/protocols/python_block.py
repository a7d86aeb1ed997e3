"""Programs as fenced ``python`` blocks, other tools as JSON calls, and a plain final answer.

Owns: the prompt that asks for it, the parser that accepts it and the writer that produces it. Refuses: running anything
(a block is a call of the tool ``python``), and knowing whether there is such a tool.
"""

from __future__ import annotations

import re
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
from env_tuning.protocols.hermes import Hermes, split_thought, with_thought, write_call
from env_tuning.task import ToolDoc

PYTHON_TOOL = "python"
CODE_ARGUMENT = "code"

_ROLE = """\
You solve problems step by step and let Python do the computing.
To run a program, write
```python
print(2 ** 10)
```
What it prints follows in an ```output block. math, numpy and sympy are there to import.
"""

_OTHERS = """
Further tools are called as
<tool_call>
{"name": "tool", "arguments": {"parameter": "value"}}
</tool_call>
These are the tools:
"""

_END = """
A message without a program or call is your final answer; put the result into \\boxed{}."""

_FENCE = re.compile(r"^[ \t]*```[ \t]*(?:python|py)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_FENCE_END = re.compile(r"^[ \t]*```[ \t]*$", re.MULTILINE)
_TICKS = re.compile("`{3,}")


class PythonBlock(Protocol):
    """Fenced programs and `<tool_call>` blocks, in the order of the text; a message without them is the answer."""

    name: ClassVar[str] = "python_block"

    def system_prompt(self, tools: Sequence[ToolDoc], *, listing: ToolListing, version: PromptVersion) -> str:
        """How to run programs, further tools if there are any, and how to end; the same in both versions."""
        others = [tool for tool in tools if tool.name != PYTHON_TOOL]
        return f"{_ROLE}{_OTHERS + list_tools(others, listing) if others else ''}{_END}"

    def parse(self, text: str) -> Action:
        """Programs and calls; what stands before the first is the thought."""
        thought, text, fault = split_thought(text)
        if fault:
            return Malformed(fault)
        calls: list[ToolCall] = []
        lead, position = text, 0
        while (fence := _FENCE.search(text, position)) is not None:
            end = _FENCE_END.search(text, fence.end())
            if end is None:
                return Malformed("Format error: the ```python block is not closed; write ``` on a line of its own.")
            before = _CALLS.parse(text[position : fence.start()])
            if isinstance(before, Malformed):
                return before
            if isinstance(before, UseTools):
                calls += before.calls
            if position == 0:
                lead = text[: fence.start()]
            code = text[fence.end() : end.start()].strip("\n")
            calls.append(ToolCall(name=PYTHON_TOOL, arguments={CODE_ARGUMENT: code}))
            position = end.end()
        last = _CALLS.parse(text[position:])
        if isinstance(last, Malformed):
            return last
        if isinstance(last, UseTools):
            calls += last.calls
        if not calls:
            return Answer(text.strip(), thought)
        return UseTools(tuple(calls), "\n".join(filter(None, (thought, lead.partition("<tool_call>")[0].strip()))))

    def write_calls(self, calls: Sequence[ToolCall], thought: str = "") -> str:
        """A fenced block for every program, a ``<tool_call>`` block for every other call."""
        return with_thought("\n".join(map(_write, calls)), thought)

    def write_answer(self, text: str, thought: str = "") -> str:
        """The text as it is."""
        return with_thought(text, thought)

    def observation(self, results: Sequence[str], names: Sequence[str] = ()) -> str:
        """An ``output`` block for every call, with a fence that its text cannot close."""
        return "\n".join(f"{fence}output\n{text}\n{fence}" for text in results for fence in [_fence_around(text)])

    def format_feedback(self, malformed: Malformed) -> str:
        """The fault, in the place where output stands."""
        return self.observation([malformed.feedback])


_CALLS = Hermes()


def _write(call: ToolCall) -> str:
    code = call.arguments.get(CODE_ARGUMENT)
    fenced = call.name == PYTHON_TOOL and len(call.arguments) == 1 and not call.positional and isinstance(code, str)
    # A program that holds a fence or the end of a thought would be cut there; a block's outer empty lines do not count.
    if fenced and "</think>" not in str(code) and not _FENCE_END.search(str(code)) and str(code).strip("\n") == code:
        return f"```python\n{code}\n```"
    return write_call(call)


def _fence_around(text: str) -> str:
    return "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
