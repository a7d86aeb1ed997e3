"""Whether calls are written as the possible answers say: the benchmark's AST check, in its Python categories.

Owns: names, parameters, types and values of calls that nobody runs. Refuses: reading them out of a model's message
(`protocols`), running them (`executed`).

A possible answer is ``{"function": {"parameter": [value, ...]}}``, as the benchmark's files have it: every value that
is accepted, and among them "" if the parameter may be left out. What looks odd below is the benchmark's behaviour, and
`tests/parity/test_ast.py` holds it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from env_tuning.calls import ToolCall
from env_tuning.task import ToolDoc

PossibleAnswer = Mapping[str, Mapping[str, Sequence[Any]]]
"""One call that is right, with one function."""

LEFT_OUT = ""
"""Among the values of a parameter: it need not be given."""

_IGNORED = re.compile(r"[ ,./\-_*^]")
_TYPES: Mapping[str, type] = MappingProxyType(
    {
        "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict,
        "any": str,
        # JSON schema's own names of the same; the benchmark's Python categories have none of them.
        "number": float, "object": dict,
    }
)  # fmt: skip


class Fault(enum.Enum):
    """What is wrong with calls, in the order in which it is looked for."""

    COUNT = "count"
    """There are more or fewer calls than right ones."""
    NAME = "name"
    """Another function is called."""
    MISSING = "missing"
    """A required parameter is not given."""
    UNEXPECTED = "unexpected"
    """A parameter is given that the function does not have, or that should not be given."""
    TYPE = "type"
    """A value has another type than the parameter."""
    VALUE = "value"
    """A value is none of those that are accepted."""
    LEFT_OUT = "left_out"
    """An optional parameter is not given, and that is not accepted."""


def calls_fault(
    calls: Sequence[ToolCall], possible: Sequence[PossibleAnswer], tools: Sequence[ToolDoc]
) -> Fault | None:
    """What is wrong with the calls of a message, in whatever order they are; None if nothing is.

    Args:
        calls: as they were written.
        possible: one for every call that is right.
        tools: documents of all functions that the possible answers name.

    Raises:
        ValueError: a possible answer names a function that has no document.
    """
    if len(calls) != len(possible):
        return Fault.COUNT
    documents = {tool.name: tool for tool in tools}
    waiting = list(calls)
    for answer in possible:
        (name,) = answer
        if name not in documents:
            raise ValueError(f"the possible answer names {name!r}, which is none of the tools: {sorted(documents)}")
        fault: Fault | None = None
        for call in waiting:
            fault = call_fault(call, answer, documents[name])
            if fault is None:
                waiting.remove(call)
                break
        if fault is not None:
            return fault
    return None


def call_fault(call: ToolCall, possible: PossibleAnswer, tool: ToolDoc) -> Fault | None:
    """What is wrong with one call; None if nothing is."""
    ((name, accepted),) = possible.items()
    if call.name != name or call.positional:
        return Fault.NAME if call.name != name else Fault.UNEXPECTED
    known = tool.parameters.get("properties", {})
    if any(parameter not in call.arguments for parameter in tool.parameters.get("required", ())):
        return Fault.MISSING
    for parameter, value in call.arguments.items():
        if parameter not in known or parameter not in accepted:
            return Fault.UNEXPECTED
        if fault := _value_fault(value, known[parameter], accepted[parameter]):
            return fault
    left_out = any(name not in call.arguments and LEFT_OUT not in values for name, values in accepted.items())
    return Fault.LEFT_OUT if left_out else None


def as_possible(call: ToolCall) -> PossibleAnswer:
    """The possible answer of which only this call is right."""
    return {call.name: {name: [_accepting(value)] for name, value in call.arguments.items()}}


def plain_text(text: str) -> str:
    """Text as values are compared: without case, spaces and ``,./-_*^``, quotes all alike."""
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _accepting(value: Any) -> Any:
    """A value in the form of possible answers, in which a dictionary lists what each of its keys may be."""
    if isinstance(value, Mapping):
        return {key: [item] for key, item in value.items()}
    if isinstance(value, list):
        return [_accepting(item) if isinstance(item, Mapping) else item for item in value]
    return value


def _value_fault(value: Any, schema: Mapping[str, Any], accepted: Sequence[Any]) -> Fault | None:
    kind = str(schema.get("type", "any"))
    expected = _TYPES.get(kind, str)
    inner = _TYPES.get(str(schema.get("items", {}).get("type"))) if kind in ("array", "tuple") else None
    if kind == "tuple" and isinstance(value, tuple):
        value = list(value)
    if expected is float and type(value) is int:
        value = float(value)
    if not _has_type(value, expected, inner, accepted):
        return Fault.TYPE
    # A value of another type than the parameter's stands for the name of a variable, and is compared as it is.
    is_variable = type(value) is not expected or _type_of(accepted) not in (None, expected)
    if is_variable or expected in (int, float, bool):
        right = value in accepted
    elif expected is dict:
        right = any(_same_dictionary(value, one) for one in accepted)
    elif expected is list and inner is dict:
        right = any(_same_dictionaries(value, one) for one in accepted)
    elif expected is list:
        right = _plain_items(value) in [_plain_items(one) for one in accepted if isinstance(one, list | str)]
    else:
        right = plain_text(value) in [plain_text(one) for one in accepted if isinstance(one, str)]
    return None if right else Fault.VALUE


def _has_type(value: Any, expected: type, inner: type | None, accepted: Sequence[Any]) -> bool:
    items: Any = value
    if type(value) is not expected:
        return type(value) is _type_of(accepted)
    if inner is None:
        return True
    # An accepted value that is no list, such as "", says nothing of the items.
    return any(
        not isinstance(one, list) or all(_has_type(item, inner, None, one) for item in items) for one in accepted
    )


def _type_of(accepted: Sequence[Any]) -> type[Any] | None:
    """The type of the accepted values, by the first that is one; None if all that is accepted is to leave it out."""
    return next((type(value) for value in accepted if value != LEFT_OUT), None)


def _same_dictionary(value: Any, accepted: Any) -> bool:
    if not isinstance(accepted, Mapping) or not isinstance(value, Mapping):
        return False
    for key, item in value.items():
        if key not in accepted or _plain(item) not in [_plain(one) for one in accepted[key]]:
            return False
    return all(key in value or LEFT_OUT in items for key, items in accepted.items())


def _same_dictionaries(value: Sequence[Any], accepted: Any) -> bool:
    return len(value) == len(accepted) and all(map(_same_dictionary, value, accepted))


def _plain_items(values: Any) -> list[Any]:
    """Items of a list; of "" there are none, so that leaving out and the empty list are the same."""
    return [_plain(item) for item in values]


def _plain(value: Any) -> Any:
    return plain_text(value) if isinstance(value, str) else value
