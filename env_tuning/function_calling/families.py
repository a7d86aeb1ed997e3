"""How the models of a family write names, questions and calls: prompt, parser and writer in one object.

Owns: the words of every stage and what may be answered to them. Refuses: knowing what is right (`episode`), repairing
what a model wrote: whatever cannot be read is a fault in one line.

All families write tool names and questions alike, ``a, b`` or ``none`` and ``ask: a, b``. Calls are written as the
family's models learned to:

    plain       [{"city": "Oslo"}]                                     arguments alone, the shortest; for small models
    qwen        <tool_call>{"name": ..., "arguments": ...}</tool_call> one block a call, after <think>...</think>
    deepseek    <｜tool▁calls▁begin｜>...<｜tool▁calls▁end｜>               blocks of JSON between special tokens
    llama       {"name": ..., "parameters": ...}; {...}                JSON objects, perhaps after <|python_tag|>
"""

from __future__ import annotations

import abc
import enum
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from env_tuning.calls import ToolCall
from env_tuning.function_calling.records import Parameter, Tool
from env_tuning.protocols.hermes import split_thought, write_call
from env_tuning.protocols.json_calls import blocks, body_of, read_calls

NONE = "none"
_ASK = "ask:"
_WHICH_CALLS = "Which calls?"
_MAX_NAMES = 64
_MAX_CALLS = 64
_MAX_BRACKETS = 400


class Names(NamedTuple):
    """Tools that are selected, or parameters that are asked for."""

    names: tuple[str, ...]


class Calls(NamedTuple):
    """Calls as they were written."""

    calls: tuple[ToolCall, ...]


class Question(NamedTuple):
    """Parameters that are asked for."""

    names: tuple[str, ...]


class Fault(NamedTuple):
    """Why a message cannot be read."""

    reason: str


class Role(enum.Enum):
    """Who a message is asked of, where the stages are roles of one model; the value opens the message."""

    SELECTOR = "You are the selector: you choose tools and nothing else."
    QUESTIONER = "You are the questioner: you find out what the user has not said."
    FILLER = "You are the filler: you write the calls of one tool."


class Family(abc.ABC):
    """One way of speaking. Stateless: one object serves all episodes."""

    name: ClassVar[str]

    @abc.abstractmethod
    def call_syntax(self) -> str:
        """The sentence of the system prompt that says how calls are written."""

    @abc.abstractmethod
    def write_calls(self, tool: str, arguments: Sequence[Mapping[str, Any]]) -> str:
        """A message that `read_calls` reads back."""

    @abc.abstractmethod
    def parse_calls(self, tool: str, text: str) -> Calls | Fault:
        """The calls of a message without its thought."""

    # What all families share ----------------------------------------------------------------------------------

    def system_prompt(self, *, questioning: bool) -> str:
        """The system message."""
        lines = [
            "You turn requests into calls of tools, step by step.",
            f"When asked for tools, write the names of those that the request needs, separated by commas, or {NONE}.",
            self.call_syntax(),
        ]
        if questioning:
            lines.append(f"If the user has not said a required parameter, write instead: {_ASK} its name")
        return "\n".join(lines)

    def select(self, query: str, tools: Sequence[Tool]) -> str:
        """The message that opens a request."""
        listed = "\n".join(f"- {tool.name}: {tool.description}" for tool in tools)
        return f"Request: {query}\nTools:\n{listed}\nWhich tools?"

    def fill(self, query: str, tool: Tool) -> str:
        """The message that asks for the calls of a tool; it repeats the request, which may be far by now."""
        return f"{_parameters(tool)}\nRequest: {query}\n{_WHICH_CALLS}"

    def check(self, query: str, tool: Tool) -> str:
        """The message that asks what is missing for a tool, of a questioner."""
        question = f"Which required ones has the user not said? Write {_ASK} their names, or {NONE}."
        return f"{_parameters(tool)}\nRequest: {query}\n{question}"

    def told(self, values: Mapping[str, Any]) -> str:
        """What the user answers to a question."""
        lines = [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
        return "\n".join(lines or ["I have said all I know."])

    def refill(self) -> str:
        """What asks for calls again, after the user's answer."""
        return _WHICH_CALLS

    def write_names(self, names: Sequence[str]) -> str:
        """A message that `read_selection` reads back."""
        return ", ".join(names) if names else NONE

    def write_question(self, names: Sequence[str]) -> str:
        """A message that `read_filling` and `read_question` read back as a question; without names it asks nothing."""
        return f"{_ASK} {', '.join(names)}" if names else NONE

    def read_selection(self, text: str) -> Names | Fault:
        """The tools that a message names."""
        said = _without_thought(text)
        if isinstance(said, Fault):
            return said
        names = _names(said)
        if isinstance(names, Fault):
            return names
        return Names(() if names == (NONE,) else names)

    def read_question(self, text: str) -> Question | Fault:
        """What a questioner asks for, perhaps nothing."""
        said = _without_thought(text)
        if isinstance(said, Fault):
            return said
        if said == NONE:
            return Question(())
        if not said.lower().startswith(_ASK):
            return Fault("neither a question nor none")
        names = _names(said[len(_ASK) :])
        return names if isinstance(names, Fault) else Question(names)

    def read_filling(self, tool: str, text: str) -> Calls | Question | Fault:
        """The calls or the question of a message."""
        said = _without_thought(text)
        if isinstance(said, Fault):
            return said
        if said.lower().startswith(_ASK):
            names = _names(said[len(_ASK) :])
            return names if isinstance(names, Fault) else Question(names)
        calls = self.parse_calls(tool, said)
        if isinstance(calls, Calls) and len(calls.calls) > _MAX_CALLS:
            return Fault(f"more than {_MAX_CALLS} calls")
        return calls


class Plain(Family):
    """A JSON list of arguments; the tool is the one that was asked for."""

    name: ClassVar[str] = "plain"

    def call_syntax(self) -> str:
        """See `Family`."""
        return 'When asked for calls, write a JSON list, for every call an object like {"parameter": "value"}.'

    def write_calls(self, tool: str, arguments: Sequence[Mapping[str, Any]]) -> str:
        """See `Family`."""
        return json.dumps([dict(one) for one in arguments], ensure_ascii=False)

    def parse_calls(self, tool: str, text: str) -> Calls | Fault:
        """See `Family`."""
        if text.count("[") + text.count("{") > _MAX_BRACKETS:
            return Fault("too many brackets")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return Fault("not JSON")
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            return Fault("not a list of objects")
        return Calls(tuple(ToolCall(name=tool, arguments=one) for one in data))


class Qwen(Family):
    """A ``<tool_call>`` block for every call."""

    name: ClassVar[str] = "qwen"

    def call_syntax(self) -> str:
        """See `Family`."""
        return (
            "When asked for calls, write for every call\n"
            '<tool_call>\n{"name": "tool", "arguments": {"parameter": "value"}}\n</tool_call>'
        )

    def write_calls(self, tool: str, arguments: Sequence[Mapping[str, Any]]) -> str:
        """See `Family`."""
        return "\n".join(write_call(ToolCall(name=tool, arguments=one)) for one in arguments)

    def parse_calls(self, tool: str, text: str) -> Calls | Fault:
        """See `Family`."""
        found = blocks(text, "tool_call")
        if text.count("<tool_call>") != len(found):
            return Fault("a <tool_call> is not closed")
        return _all_calls([body_of(text, span, "tool_call") for span in found])


_DEEPSEEK_CALL = re.compile(
    r"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?(?P<name>[^\s<]+)\s*(?:<｜tool▁sep｜>|```json)\s*"
    r"(?P<arguments>[^`<]*)(?:```)?\s*<｜tool▁call▁end｜>"
)


class DeepSeek(Family):
    """Blocks between DeepSeek's special tokens, as V3 and R1 write them and, without a fence, V3.1."""

    name: ClassVar[str] = "deepseek"

    def call_syntax(self) -> str:
        """See `Family`."""
        return f"When asked for calls, write like this:\n{self.write_calls('tool', [{'parameter': 'value'}])}"

    def write_calls(self, tool: str, arguments: Sequence[Mapping[str, Any]]) -> str:
        """See `Family`; what a string holds of ` and < is escaped, so that it cannot end a block."""
        written = "".join(
            f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{tool}\n```json\n{_fenced(one)}\n```<｜tool▁call▁end｜>"
            for one in arguments
        )
        return f"<｜tool▁calls▁begin｜>{written}<｜tool▁calls▁end｜>"

    def parse_calls(self, tool: str, text: str) -> Calls | Fault:
        """See `Family`."""
        found = list(_DEEPSEEK_CALL.finditer(text))
        if text.count("<｜tool▁call▁begin｜>") != len(found):
            return Fault("a block cannot be read")
        return _all_calls(
            [f'{{"name": {json.dumps(one["name"])}, "arguments": {one["arguments"] or "null"}}}' for one in found]
        )


class Llama(Family):
    """JSON objects with ``parameters``, separated by semicolons or line breaks."""

    name: ClassVar[str] = "llama"

    def call_syntax(self) -> str:
        """See `Family`."""
        return (
            "When asked for calls, write for every call\n"
            '{"name": "tool", "parameters": {"parameter": "value"}}\nwith a semicolon between two.'
        )

    def write_calls(self, tool: str, arguments: Sequence[Mapping[str, Any]]) -> str:
        """See `Family`."""
        return "; ".join(json.dumps({"name": tool, "parameters": dict(one)}, ensure_ascii=False) for one in arguments)

    def parse_calls(self, tool: str, text: str) -> Calls | Fault:
        """See `Family`."""
        rest = text.removeprefix("<|python_tag|>").strip()
        bodies: list[str] = []
        while rest and len(bodies) <= _MAX_CALLS:
            try:
                data, end = json.JSONDecoder().raw_decode(rest)
            except (ValueError, RecursionError):
                return Fault("not JSON")
            if not isinstance(data, dict):
                return Fault("not an object")
            if "parameters" in data:
                data = {**data, "arguments": data["parameters"]}
            bodies.append(json.dumps(data))
            rest = rest[end:].lstrip("; \n\t")
        return _all_calls(bodies)


FAMILIES: Mapping[str, type[Family]] = {family.name: family for family in (Plain, Qwen, DeepSeek, Llama)}


def family(name: str) -> Family:
    """The family of a name; `ValueError` lists the known ones."""
    if name not in FAMILIES:
        raise ValueError(f"no model family named {name!r}; known: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]()


def _parameters(tool: Tool) -> str:
    listed = "\n".join(map(_parameter_line, tool.parameters)) or "(no parameters)"
    return f"Parameters of {tool.name}:\n{listed}"


def _parameter_line(parameter: Parameter) -> str:
    kind = parameter.type.replace(", optional", "").strip() or "any"
    default = "" if parameter.default in (None, "") else f", default {parameter.default}"
    need = "required" if parameter.required else f"optional{default}"
    return f"- {parameter.name} ({kind}, {need}): {parameter.description}"


def _without_thought(text: str) -> str | Fault:
    _, said, fault = split_thought(text)
    return Fault(fault) if fault else said.strip()


def _names(text: str) -> tuple[str, ...] | Fault:
    names = tuple(dict.fromkeys(part.strip() for part in text.strip().split(",")))
    if len(names) > _MAX_NAMES:
        return Fault(f"more than {_MAX_NAMES} names")
    if not all(name and not re.search(r"\s", name) for name in names):
        return Fault("not names separated by commas")
    return names


def _all_calls(bodies: Sequence[str]) -> Calls | Fault:
    calls: list[ToolCall] = []
    for body in bodies:
        read = read_calls(body)
        if isinstance(read, str):
            return Fault(read)
        calls += read
    return Calls(tuple(calls)) if calls else Fault("no call")


def _fenced(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), ensure_ascii=False).replace("`", "\\u0060").replace("<", "\\u003c")
