"""Wrong calls, made systematically of right ones; the same ones every time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from env_tuning.calls import ToolCall
from env_tuning.task import ToolDoc

_GUESSES = ("login", "search", "open_file", "list_files", "get_weather", "send_email", "buy", "exit", "")


def perturbations(call: ToolCall, doc: ToolDoc, names: Sequence[str]) -> Iterator[ToolCall]:
    """Wrong versions of a call, and the call itself, which fails where the world is another.

    Args:
        call: of the solution, with named arguments.
        doc: of its tool.
        names: of all tools of the task, held-back ones included.
    """
    name, arguments = call.name, dict(call.arguments)
    yield call
    yield ToolCall(name=name)
    yield ToolCall(name=name, arguments={**arguments, "force": True})
    for key, value in arguments.items():
        others = {other: given for other, given in arguments.items() if other != key}
        yield ToolCall(name=name, arguments=others)
        yield ToolCall(name=name, arguments={**others, _misspelt(key): value})
        for wrong in _wrong_values(key, value):
            yield ToolCall(name=name, arguments={**others, key: wrong})
    if len(arguments) > 1:
        values = list(arguments.values())
        yield ToolCall(name=name, arguments=dict(zip(arguments, values[1:] + values[:1], strict=True)))
    optional = [key for key in doc.parameters.get("properties", {}) if key not in arguments]
    for key in optional:
        yield ToolCall(name=name, arguments={**arguments, key: "nosuch"})
        yield ToolCall(name=name, arguments={**arguments, key: -3})
    for unknown in (name[:-1], name + "s", name.upper(), name.replace("_", ""), "_".join(reversed(name.split("_")))):
        yield ToolCall(name=unknown, arguments=arguments)
    number = zlib.crc32(str(call).encode())
    yield ToolCall(name=_GUESSES[number % len(_GUESSES)], arguments=arguments)
    # Another tool with these arguments: what a model does that confuses two of them.
    yield ToolCall(name=names[number % len(names)], arguments=arguments)


def _misspelt(key: str) -> str:
    return key.replace("_", "") if "_" in key else f"{key}_value"


def _wrong_values(key: str, value: Any) -> Iterator[Any]:
    yield None
    yield {}
    yield f"${key}"
    if isinstance(value, str):
        yield from ("", "nosuch", f"folder/{value}", f"/{value}", f"../{value}", f"{value}*", value.upper())
        yield from (value.title() + "x", [value], 7)
    elif isinstance(value, bool):
        yield from ("true", not value)
    elif isinstance(value, int | float):
        yield from (-value - 1, 0, value + 0.5, value * 1000 + 999, str(value), f"{value} units", [value])
    elif isinstance(value, list):
        yield from ([], [*value, "nosuch"], ["nosuch"], value[:1] and value[0], ", ".join(map(str, value)), [value])
    elif isinstance(value, dict):
        yield from ({**value, "nosuch": 1}, str(value), [value])
