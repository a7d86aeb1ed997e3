"""Tool documents made from code: a tool's signature, annotations and docstring become what a model reads.

Owns: which Python annotations have a JSON schema, and how a Google-style docstring is read. Refuses: guessing. What a
model could not fill in (an annotation without a JSON form, ``*args``, a parameter without annotation) is a
`SchemaError` that names the fix. The benchmark's classes do not need this: their documents come with the data.
"""

from __future__ import annotations

import collections.abc
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from env_tuning.task import ToolDoc

if TYPE_CHECKING:
    from env_tuning.environments.tool_class import ToolClass

Schema = dict[str, Any]


class SchemaError(ValueError):
    """A tool cannot be documented; the message names the tool, the parameter and the fix."""


_SCALARS: Mapping[Any, str] = MappingProxyType(
    {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array", dict: "object"}
)
_ARRAYS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_OBJECTS = (dict, collections.abc.Mapping)


def tool_docs_of(tool_class: type[ToolClass]) -> tuple[ToolDoc, ...]:
    """The documents of a class's tools, in order of definition.

    Raises:
        SchemaError: a tool has no docstring, or a parameter that a model could not fill in.
    """
    return tuple(_tool_doc(f"{tool_class.__name__}.{name}", name, tool) for name, tool in tool_class.tools.items())


def schema_of(annotation: Any) -> Schema:
    """The JSON schema of an annotation; nested types are kept.

    Raises:
        SchemaError: no JSON value has this type.
    """
    if annotation is Any:
        return {}
    if typing.get_origin(annotation) is typing.Annotated:
        return schema_of(typing.get_args(annotation)[0])
    if annotation in (None, *_SCALARS):
        return {"type": _SCALARS[type(None) if annotation is None else annotation]}
    if typing.is_typeddict(annotation):
        return _typed_dict(annotation)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return _literal(parts)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(part) for part in parts]}
    if origin in _ARRAYS:
        return {"type": "array", "items": schema_of(parts[0])}
    if origin is tuple:
        return _tuple(parts)
    if origin in _OBJECTS:
        if parts[0] is not str:
            raise SchemaError(f"{_shown(annotation)} has keys that are no text; JSON objects have text keys only")
        return {"type": "object", "additionalProperties": schema_of(parts[1])}
    raise SchemaError(
        f"{_shown(annotation)} is no type of JSON values; use str, int, float, bool, None, list[...], dict[str, ...], "
        "Literal[...], a union of these or a TypedDict"
    )


def _typed_dict(annotation: Any) -> Schema:
    properties, required = {}, []
    for name, hint in typing.get_type_hints(annotation, include_extras=True).items():
        # Python itself does not see these marks in a module with postponed annotations.
        mark = str(typing.get_origin(hint)).rpartition(".")[2]
        if mark in ("Required", "NotRequired"):
            (hint,) = typing.get_args(hint)
        if mark == "Required" or (mark != "NotRequired" and name in annotation.__required_keys__):
            required.append(name)
        properties[name] = schema_of(hint)
    return {"type": "object", "properties": properties, "required": required}


def _literal(values: tuple[Any, ...]) -> Schema:
    kinds = {_SCALARS.get(type(value)) for value in values}
    if None in kinds:
        raise SchemaError(f"Literal{list(values)} has values that JSON does not have")
    return {"type": kinds.pop(), "enum": list(values)} if len(kinds) == 1 else {"enum": list(values)}


def _tuple(parts: tuple[Any, ...]) -> Schema:
    if len(parts) == 2 and parts[1] is ...:
        return {"type": "array", "items": schema_of(parts[0])}
    places = [schema_of(part) for part in parts]
    return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}


def _tool_doc(where: str, name: str, tool: Callable[..., Any]) -> ToolDoc:
    text = inspect.getdoc(tool)
    if not text:
        raise SchemaError(f"{where} has no docstring; its first lines are what the model is told about the tool")
    doc = read_docstring(text)
    try:
        hints = typing.get_type_hints(tool)
    except NameError as error:
        raise SchemaError(f"{where}: {error}; import what annotations use outside of TYPE_CHECKING") from None
    # The first parameter is the instance.
    parameters = list(inspect.signature(tool).parameters.values())[1:]
    if unknown := sorted(doc.arguments.keys() - {parameter.name for parameter in parameters}):
        raise SchemaError(f"{where}: the docstring explains {unknown}, which are no parameters; correct the names")
    properties = {
        parameter.name: _property(f"{where}, parameter {parameter.name}", parameter, hints, doc)
        for parameter in parameters
    }
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return ToolDoc(
        name=name,
        description=doc.description,
        parameters={"type": "object", "properties": properties, "required": required},
        response={"description": doc.returns} if doc.returns else None,
    )


def _property(where: str, parameter: inspect.Parameter, hints: Mapping[str, Any], doc: Docstring) -> Schema:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise SchemaError(f"{where}: models name every argument; declare plain parameters, no * or /")
    if parameter.name not in hints:
        raise SchemaError(f"{where} has no annotation; annotate it, or the model is not told its type")
    try:
        schema = schema_of(hints[parameter.name])
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from None
    if parameter.name in doc.arguments:
        schema["description"] = doc.arguments[parameter.name]
    if parameter.default is not parameter.empty:
        try:
            json.dumps(parameter.default, allow_nan=False)
        except (TypeError, ValueError):
            raise SchemaError(f"{where}: the default {parameter.default!r} is no JSON value; use None") from None
        schema["default"] = parameter.default
    return schema


@dataclass(frozen=True, kw_only=True)
class Docstring:
    """A docstring taken apart.

    Attributes:
        description: everything before the first section.
        arguments: parameter to explanation, from ``Args:``.
        returns: the text of ``Returns:``.
    """

    description: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    returns: str = ""


_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Example|Examples|Note|Notes):\s*$")
_ARGUMENT = re.compile(r"^(\w+)(?: *\([^)]*\))?: *(.*)$")


def read_docstring(text: str) -> Docstring:
    """Read a Google-style docstring, already without its common indentation."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            current = found[1]
            sections[current] = []
        else:
            sections[current].append(line)
    return Docstring(
        description=_joined(sections[""]),
        arguments=_arguments(sections.get("Args", sections.get("Arguments", []))),
        returns=_joined(sections.get("Returns", [])),
    )


def _arguments(lines: list[str]) -> dict[str, str]:
    """The explanations; a line that is indented deeper than the first one goes on with the argument above it."""
    found: dict[str, list[str]] = {}
    filled = [line for line in lines if line.strip()]
    margin = len(filled[0]) - len(filled[0].lstrip()) if filled else 0
    name = ""
    for line in filled:
        match = _ARGUMENT.match(line[margin:]) if not line[:margin].strip() else None
        if match:
            name = match[1]
            found[name] = [match[2]]
        elif name:
            found[name].append(line)
    return {name: _joined(parts) for name, parts in found.items()}


def _joined(lines: list[str]) -> str:
    return " ".join(part for line in lines if (part := line.strip()))


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
