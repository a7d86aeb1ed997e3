"""Files of other projects as the two files of this system: xlam-style and ToolBench-style.

Owns: their formats. Refuses: downloading them, and guessing: what a record does not say is an error that names it.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from env_tuning.atomic import replace_text
from env_tuning.errors import UserError
from env_tuning.function_calling.records import Dialogue, GoldCall, Parameter, Request, Tool, dataset, inventory

_ACTION = re.compile(r"Action:\s*(?P<name>\S+)\s*Action Input:\s*(?P<input>.*)", re.DOTALL)
_FINISH = "Finish"


class Converted(NamedTuple):
    """Dialogues, the tools they were shown, and how many records say no call that worked."""

    dialogues: list[Dialogue]
    tools: dict[str, Tool]
    left_out: int = 0


def from_xlam(rows: Iterable[Any]) -> Converted:
    """Records of ``query``, ``tools`` and ``answers``, the latter two as JSON text or as lists.

    A tool's ``parameters`` are ``{"name": {"type", "description", "default"}}``. One with a default, or with
    "optional" in its type, is optional.

    Raises:
        UserError: a record is none, named by its number.
    """
    tools: dict[str, Tool] = {}
    dialogues = []
    for number, row in enumerate(rows):
        place = f"record {number}"
        query = _field(row, "query", str, place)
        for entry in _field(row, "tools", list, place):
            parameters = [
                Parameter(
                    name=name,
                    description=str(about.get("description", "")),
                    type=str(about.get("type", "")),
                    default=None if about.get("default") is None else str(about["default"]),
                    required="default" not in about and "optional" not in str(about.get("type", "")),
                )
                for name, about in _field(entry, "parameters", dict, place).items()
            ]
            _add(
                tools, entry, sorted(parameters, key=lambda parameter: not parameter.required), place
            )  # required ones first, as the inventory lists them
        calls = [
            GoldCall(name=_field(call, "name", str, place), arguments=_field(call, "arguments", dict, place))
            for call in _field(row, "answers", list, place)
        ]
        request = Request(query=query, calls=tuple(calls))
        dialogues.append(Dialogue(id=str(row.get("id", number)), requests=(request,)))
    return Converted(dialogues, tools)


def from_toolbench(rows: Iterable[Any]) -> Converted:
    """Records of ``conversations``: a system message that lists the tools, a request, actions and their results.

    The calls are the actions whose result reports no error, without ``Finish``. A record without such a call is left
    out: it does not show what would have been right.

    Raises:
        UserError: a record is none, named by its number.
    """
    tools: dict[str, Tool] = {}
    dialogues = []
    left_out = 0
    for number, row in enumerate(rows):
        place = f"record {number}"
        said = _field(row, "conversations", list, place)
        roles = [_field(message, "from", str, place) for message in said]
        texts = [_field(message, "value", str, place) for message in said]
        if "system" not in roles or "user" not in roles:
            raise UserError(f"{place}: conversations must hold a system and a user message")
        for entry in _listed_tools(texts[roles.index("system")], place):
            if entry.get("name") != _FINISH:
                _add(tools, entry, _schema_parameters(entry.get("parameters") or {}, place), place)
        calls = _actions(roles, texts, tools, place)
        if not calls:
            left_out += 1
            continue
        query = texts[roles.index("user")].strip().removesuffix("Begin!").strip()
        request = Request(query=query, calls=tuple(calls))
        dialogues.append(Dialogue(id=str(number), requests=(request,)))
    return Converted(dialogues, tools, left_out)


CONVERTERS = {"xlam": from_xlam, "toolbench": from_toolbench}


def _actions(roles: Sequence[str], texts: Sequence[str], tools: Mapping[str, Tool], place: str) -> list[GoldCall]:
    calls = []
    followed = zip(roles, texts, [*roles[1:], ""], [*texts[1:], ""], strict=True)
    for role, text, next_role, result in followed:
        found = _ACTION.search(text) if role == "assistant" else None
        if found is None or found["name"] == _FINISH or next_role != "function" or _failed(result):
            continue
        if found["name"] not in tools:
            continue  # an invented tool whose result happens to name no error
        try:
            arguments = json.loads(found["input"])
        except ValueError:
            continue
        if not isinstance(arguments, dict):
            raise UserError(f"{place}: the input of {found['name']} must be a JSON object")
        call = GoldCall(name=found["name"], arguments=arguments)
        if call not in calls:
            calls.append(call)
    return calls


def _failed(result: str) -> bool:
    try:
        loaded = json.loads(result)
    except ValueError:
        return True
    return not isinstance(loaded, Mapping) or bool(loaded.get("error"))


def _listed_tools(system: str, place: str) -> list[dict[str, Any]]:
    """The list of tools at the end of a system message, a Python literal."""
    start = system.find("[{")
    try:
        listed = ast.literal_eval(system[start:].strip()) if start >= 0 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise UserError(f"{place}: the system message must end with the list of tools")
    return listed


def _schema_parameters(schema: Mapping[str, Any], place: str) -> list[Parameter]:
    required = set(schema.get("required") or ())
    parameters = [
        Parameter(
            name=name,
            description=str(about.get("description", "")),
            type=str(about.get("type", "")),
            default=None if about.get("example_value") in (None, "") else str(about["example_value"]),
            required=name in required,
        )
        for name, about in _field(schema, "properties", dict, place).items()
    ]
    return sorted(parameters, key=lambda parameter: not parameter.required)


def _add(tools: dict[str, Tool], entry: Mapping[str, Any], parameters: Sequence[Parameter], place: str) -> None:
    name = _field(entry, "name", str, place)
    tool = Tool(name=name, description=str(entry.get("description", "")), parameters=tuple(parameters))
    # Other records describe the same tool in other words; the first ones stay, the parameters of all are known.
    known = tools.setdefault(name, tool)
    missing = [p for p in tool.parameters if p.name not in {q.name for q in known.parameters}]
    if missing:
        joined = sorted([*known.parameters, *missing], key=lambda parameter: not parameter.required)
        tools[name] = Tool(name=name, description=known.description, parameters=tuple(joined))


def _field(record: Any, key: str, kind: type, place: str) -> Any:
    value = record.get(key) if isinstance(record, Mapping) else None
    if isinstance(value, str) and kind is not str:
        try:
            value = json.loads(value)
        except ValueError:
            raise UserError(f"{place}: {key} is not JSON: {value[:60]!r}") from None
    if not isinstance(value, kind):
        raise UserError(f"{place}: {key} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a file; returns the exit status."""
    flags = argparse.ArgumentParser(description="Write the two files of the function-calling system.")
    flags.add_argument("format", choices=sorted(CONVERTERS))
    flags.add_argument("file", type=Path, help="a JSON list, or one JSON record a line")
    flags.add_argument("--dataset", type=Path, required=True)
    flags.add_argument("--tools", type=Path, required=True)
    given = flags.parse_args(arguments)
    try:
        converted = CONVERTERS[given.format](_rows(given.file))
        records = [dialogue.to_json() for dialogue in converted.dialogues]
        entries = [tool.to_json() for tool in converted.tools.values()]
        # What would be refused when it is read is refused now.
        dataset(records, inventory(entries, str(given.file)), str(given.file))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for file, content in ((given.dataset, records), (given.tools, entries)):
        replace_text(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    print(f"{len(records)} records, {len(entries)} tools, {converted.left_out} records without a call that worked")
    return 0


def _rows(file: Path) -> list[Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    try:
        loaded = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise UserError(f"{file} is neither a JSON list nor one JSON record a line: {error}") from None
    return list(loaded)


if __name__ == "__main__":
    sys.exit(main())
