"""Tools and requests as the two JSON files of the system hold them, checked.

Owns: the records, their JSON form and errors that name the record. Refuses: other formats (`convert`), retrieval.

The dataset is a list of ``{"query": ..., "answers": {"tool_list": [...], "param_filling": [{"name", "arguments"}]}}``.
A tool may be listed once for every call of it. An empty list means that no tool suits. Two keys are this project's:

    withheld    {"tool": ["parameter", ...]}: required parameters left out of the query, told when asked for
    followups   a list of records: what the same user asks afterwards

The inventory is a list of ``{"name", "description", "required_param": [...], "optional_param": [...]}``, a parameter
being a dictionary of one key, ``{"name": {"description", "type", "default"}}``. All other keys are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from env_tuning.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a tool; its type is free text, and its default is the text of one or None."""

    name: str
    description: str = ""
    type: str = ""
    default: str | None = None
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Tool:
    """An entry of the inventory."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()

    @property
    def required(self) -> frozenset[str]:
        """Names of the required parameters."""
        return frozenset(parameter.name for parameter in self.parameters if parameter.required)

    def to_json(self) -> dict[str, Any]:
        """The inventory's form."""

        def listed(*, required: bool) -> list[dict[str, Any]]:
            return [
                {p.name: {"description": p.description, "type": p.type, "default": p.default}}
                for p in self.parameters
                if p.required is required
            ]

        return {
            "name": self.name,
            "description": self.description,
            "required_param": listed(required=True),
            "optional_param": listed(required=False),
        }


@dataclass(frozen=True, kw_only=True)
class GoldCall:
    """A call that the request needs."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks, the calls it needs (none: no tool suits), and what the query does not say."""

    query: str
    calls: tuple[GoldCall, ...] = ()
    withheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tools(self) -> tuple[str, ...]:
        """The needed tools, each once, in the order of their first calls."""
        return tuple(dict.fromkeys(call.name for call in self.calls))

    def calls_of(self, tool: str) -> tuple[GoldCall, ...]:
        """The calls of one tool."""
        return tuple(call for call in self.calls if call.name == tool)


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """The requests of one user, at least one."""

    id: str
    requests: tuple[Request, ...]

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that any of the requests needs, each once."""
        return tuple(dict.fromkeys(tool for request in self.requests for tool in request.tools))

    def to_json(self) -> dict[str, Any]:
        """The dataset's form."""
        first, *later = ({**_request_json(request)} for request in self.requests)
        return {"id": self.id, **first, **({"followups": later} if later else {})}


def _request_json(request: Request) -> dict[str, Any]:
    answers = {
        "tool_list": [call.name for call in request.calls],
        "param_filling": [{"name": call.name, "arguments": dict(call.arguments)} for call in request.calls],
    }
    withheld = {tool: list(names) for tool, names in request.withheld.items()}
    return {"query": request.query, "answers": answers, **({"withheld": withheld} if withheld else {})}


# Reading -------------------------------------------------------------------------------------------------------


def read_inventory(file: Path) -> dict[str, Tool]:
    """The tools of a file by name.

    Raises:
        UserError: no such file, no JSON, or a record that is none, named by its number.
    """
    return inventory(_load(file, "tool_inventory_path"), str(file))


def read_dataset(file: Path, tools: Mapping[str, Tool]) -> list[Dialogue]:
    """The dialogues of a file.

    Args:
        file: the dataset.
        tools: the inventory, which every call is checked against.

    Raises:
        UserError: no such file, no JSON, or a record that is none, named by its number and the start of its query.
    """
    return dataset(_load(file, "dataset_path"), tools, str(file))


def inventory(entries: Iterable[Any], source: str) -> dict[str, Tool]:
    """The tools of a parsed file; a tool that is listed twice, word for word, counts once."""
    tools: dict[str, Tool] = {}
    for number, entry in enumerate(entries):
        place = f"{source}: tool {number}"
        name = _text(entry, "name", place)
        place = f"{place} ({name})"
        known = [
            *_parameters(entry, "required_param", place, required=True),
            *_parameters(entry, "optional_param", place, required=False),
        ]
        if twice := _first_repeated(parameter.name for parameter in known):
            raise UserError(f"{place}: the parameter {twice!r} is listed twice")
        tool = Tool(name=name, description=_text(entry, "description", place), parameters=tuple(known))
        if tools.setdefault(name, tool) != tool:
            raise UserError(f"{place}: another tool has the same name; give one of them another name")
    if not tools:
        raise UserError(f"{source} holds no tools; it must be a JSON list of them")
    return tools


def dataset(entries: Iterable[Any], tools: Mapping[str, Tool], source: str) -> list[Dialogue]:
    """The dialogues of a parsed file."""
    dialogues = []
    for number, entry in enumerate(entries):
        place = f"{source}: record {number}"
        _mapping(entry, place)
        later = entry.get("followups") or []
        if not isinstance(later, list):
            raise UserError(f"{place}: followups must be a list of records")
        requests = [_request(item, tools, place) for item in (entry, *later)]
        dialogues.append(Dialogue(id=str(entry.get("id", number)), requests=tuple(requests)))
    if not dialogues:
        raise UserError(f"{source} holds no records; it must be a JSON list of them")
    if twice := _first_repeated(dialogue.id for dialogue in dialogues):
        raise UserError(f"{source}: two records have the id {twice!r}; give one of them another, or none to any")
    return dialogues


def _request(entry: Any, tools: Mapping[str, Tool], place: str) -> Request:
    query = _text(entry, "query", place)
    place = f"{place} ({query[:40]!r})"
    answers = _mapping(entry.get("answers"), f"{place}: answers")
    listed = answers.get("tool_list")
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UserError(f"{place}: answers.tool_list must be a list of tool names")
    filled = answers.get("param_filling")
    if not isinstance(filled, list):
        raise UserError(f"{place}: answers.param_filling must be a list of calls")
    calls = []
    for item in filled:
        name = _text(item, "name", f"{place}: a call of param_filling")
        arguments = _mapping(item.get("arguments"), f"{place}: arguments of {name}")
        calls.append(GoldCall(name=name, arguments=arguments))
    if odd := {*listed} ^ {call.name for call in calls}:
        raise UserError(f"{place}: tool_list and param_filling must name the same tools; only one has {sorted(odd)}")
    for call in calls:
        if call.name not in tools:
            raise UserError(f"{place}: the tool {call.name!r} is not in the inventory")
        known = {parameter.name for parameter in tools[call.name].parameters}
        if odd := call.arguments.keys() - known:
            raise UserError(f"{place}: {sorted(odd)} is no parameter of {call.name}; it has {sorted(known)}")
    # In the order of tool_list, which says in which order the tools are filled.
    calls.sort(key=lambda call: listed.index(call.name))
    return Request(query=query, calls=tuple(calls), withheld=_withheld(entry, calls, tools, place))


def _withheld(
    entry: Mapping[str, Any], calls: Sequence[GoldCall], tools: Mapping[str, Tool], place: str
) -> dict[str, tuple[str, ...]]:
    withheld = {}
    for name, parameters in _mapping(entry.get("withheld") or {}, f"{place}: withheld").items():
        own = [call for call in calls if call.name == name]
        if len(own) != 1:
            raise UserError(f"{place}: withheld names {name!r}, which must have exactly one call in param_filling")
        for parameter in parameters:
            if parameter not in own[0].arguments or parameter not in tools[name].required:
                raise UserError(f"{place}: withheld {parameter!r} must be a required and filled parameter of {name}")
        withheld[name] = tuple(parameters)
    return withheld


def _parameters(entry: Mapping[str, Any], key: str, place: str, *, required: bool) -> list[Parameter]:
    listed = entry.get(key, [])
    if not isinstance(listed, list):
        raise UserError(f"{place}: {key} must be a list of parameters")
    parameters = []
    for item in listed:
        if not isinstance(item, Mapping) or len(item) != 1:
            raise UserError(f'{place}: a parameter of {key} must be {{"name": {{...}}}} with one key, not {item!r}')
        ((name, about),) = item.items()
        about = _mapping(about, f"{place}: the parameter {name!r}")
        default = about.get("default")
        parameters.append(
            Parameter(
                name=name,
                description=str(about.get("description", "")),
                type=str(about.get("type", "")),
                default=None if default is None else str(default),
                required=required,
            )
        )
    return parameters


def _load(file: Path, flag: str) -> list[Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); give --{flag} an existing file") from None
    except ValueError as error:  # also text that is not UTF-8
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(loaded, list):
        raise UserError(f"{file} must be a JSON list of records, not {type(loaded).__name__}")
    return loaded


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{place} must be a JSON object, not {json.dumps(value, ensure_ascii=False)[:60]}")
    return value


def _text(entry: Any, key: str, place: str) -> str:
    value = _mapping(entry, place).get(key)
    if not isinstance(value, str) or (not value and key != "description"):
        raise UserError(f"{place}: {key} must be text, not {json.dumps(value, ensure_ascii=False)[:60]}")
    return value


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
