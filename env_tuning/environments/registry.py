"""Tool classes by name, and the `Environment` of one episode built from them.

Owns: the names of the classes this project ships, their lazy import, and the dotted paths of a user's own
classes. Refuses: importing a class nobody asked for, and choosing what an episode contains. A dotted path
imports a module, so names come from people and task files, never from a model.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import json
import marshal
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from env_tuning.environments.checking import CheckedEnvironment
from env_tuning.environments.environment import Environment
from env_tuning.environments.tool_class import ToolClass
from env_tuning.task import ToolDoc

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_BFCL = "env_tuning.environments.bfcl"

TOOL_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "GorillaFileSystem": f"{_BFCL}.file_system:GorillaFileSystem",
        "MathAPI": f"{_BFCL}.math_tools:MathAPI",
        "MessageAPI": f"{_BFCL}.message:MessageAPI",
        "TwitterAPI": f"{_BFCL}.posting:TwitterAPI",
        "TicketAPI": f"{_BFCL}.ticket:TicketAPI",
        "TradingBot": f"{_BFCL}.trading:TradingBot",
        "TravelAPI": f"{_BFCL}.travel:TravelAPI",
        "VehicleControlAPI": f"{_BFCL}.vehicle:VehicleControlAPI",
    }
)
"""Tool class name, as task files spell it, to ``module:Class``."""


@functools.cache
def tool_class(name: str) -> type[ToolClass]:
    """The class behind a known name or behind a path such as ``my_package.tools:Calendar``.

    Raises:
        ValueError: neither a known name nor the path of a `ToolClass` that can be imported.
    """
    module_name, _, class_name = TOOL_CLASSES.get(name, name).partition(":")
    if not class_name.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError(
            f"unknown tool class {name!r}: neither a known name nor a path such as 'package.module:Class'."
            f"{_nearest(name, TOOL_CLASSES)}"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that is there, but itself imports one that is not, is a bug to show and no wrong name.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"tool class {name!r}: there is no module {error.name!r}") from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, ToolClass):
        here = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, ToolClass)]
        raise ValueError(f"{name!r} is not a subclass of ToolClass.{_nearest(class_name, here)}")
    return found


def make_environment(
    names: Sequence[str],
    initial_config_json: str,
    long_context: LongContext | None = None,
    checked: Sequence[ToolDoc] = (),
) -> Environment:
    """Build one episode's environment, its classes in the order of `names`.

    Args:
        names: tool classes, each once, as `tool_class` takes them.
        initial_config_json: a JSON object, each class's own part under its name as spelled in `names`. A class
            without a part starts from its defaults; parts of other classes are ignored. Text rather than an
            object, so that every episode parses a copy of its own.
        long_context: the benchmark's padding data for long-context tasks.
        checked: documents that calls are checked against before they run; none: the classes answer for themselves.

    Raises:
        ValueError: an unknown or repeated name, or a configuration that is not such an object.
    """
    parts = marshal.loads(_parts(initial_config_json))
    instances: dict[str, ToolClass] = {}
    for name in names:
        config = parts.get(name, {})
        if not isinstance(config, dict):
            raise ValueError(f"the initial configuration of {name} is a {type(config).__name__}, not an object")
        if name in instances:
            raise ValueError(f"tool class {name} is named twice")
        found = tool_class(name)
        instances[name] = found(config) if long_context is None else found(config, long_context)
    return CheckedEnvironment(instances, checked) if checked else Environment(instances)


@functools.lru_cache(maxsize=4096)
def _parts(initial_config_json: str) -> bytes:
    """The configuration in the form that is quickest to copy: every member of a group starts from the same text."""
    try:
        parts = json.loads(initial_config_json)
    except json.JSONDecodeError as error:
        raise ValueError(f"the initial configuration is not JSON: {error}") from None
    if not isinstance(parts, dict):
        raise ValueError(f"the initial configuration is a {type(parts).__name__}; it must be an object")
    return marshal.dumps(parts)


def _nearest(name: str, known: Iterable[str]) -> str:
    """The question that ends an error message: the known name nearest to a wrong one, or nothing if none is near."""
    spellings = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), spellings, n=1, cutoff=0.4)
    return f" Did you mean {spellings[match[0]]!r}?" if match else ""
