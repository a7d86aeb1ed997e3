"""Which rules a tool class has.

Owns: the modules of the BFCL classes' rules, the optional ``hints`` of an author's class, and the table of one
environment: tool to the rules that are tried, in order. Refuses: importing rules of a class that nobody asked for.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from env_tuning.augmentation import generic
from env_tuning.augmentation.rules import HintRule
from env_tuning.environments.registry import tool_class
from env_tuning.environments.tool_class import ToolClass

_BFCL = "env_tuning.augmentation.bfcl"

RULE_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "GorillaFileSystem": f"{_BFCL}.file_system",
        "MathAPI": f"{_BFCL}.math_tools",
        "MessageAPI": f"{_BFCL}.message",
        "TwitterAPI": f"{_BFCL}.posting",
        "TicketAPI": f"{_BFCL}.ticket",
        "TradingBot": f"{_BFCL}.trading",
        "TravelAPI": f"{_BFCL}.travel",
        "VehicleControlAPI": f"{_BFCL}.vehicle",
    }
)
"""Tool class name to the module whose `RULES` are its hints."""


@functools.cache
def rules_of(name: str) -> tuple[HintRule, ...]:
    """The rules of one tool class: ours for the benchmark's classes, else what the class itself has in ``hints``.

    Raises:
        ValueError: no such class, rules that do not fit it, or a file of rules that cannot be read; the message names
            the rule.
    """
    found = tool_class(name)
    module = RULE_MODULES.get(name)
    rules = importlib.import_module(module).RULES if module else _own_hints(found)
    _check(name, found, rules)
    return tuple(rules)


def _own_hints(found: type[ToolClass]) -> tuple[HintRule, ...]:
    """What an author wrote: ``hints``, a class method that returns rules, or an attribute that holds them.

    The name of a YAML file beside the class's module, alone or among the rules, stands for the reviewed rules in it.
    """
    # A tool may have this name, too: a plain method is what the model calls, not what it is told.
    given = None if "hints" in found.tools else inspect.getattr_static(found, "hints", None)
    if given is None:
        return ()
    value = getattr(found, "hints")  # noqa: B009 (an optional attribute, unknown to ToolClass)
    value = value() if callable(value) else value
    items = (value,) if isinstance(value, str | Path) else tuple(value)
    return tuple(rule for item in items for rule in _rules_behind(item, found))


def _rules_behind(item: Any, found: type[ToolClass]) -> tuple[Any, ...]:
    if not isinstance(item, str | Path) or Path(item).suffix not in (".yaml", ".yml"):
        return (item,)
    from env_tuning.augmentation.rule_file import reviewed_rules

    return reviewed_rules(Path(inspect.getfile(found)).parent / item, found.__name__, tuple(found.tools))


def _check(name: str, found: type[ToolClass], rules: tuple[HintRule, ...]) -> None:
    seen: set[str] = set()
    for rule in rules:
        if not isinstance(rule, HintRule):
            raise ValueError(f"hints of {name}: {rule!r} is no HintRule")
        if rule.name in seen:
            raise ValueError(f"hints of {name}: two rules are named {rule.name!r}")
        if unknown := sorted(set(rule.tools) - set(found.tools)):
            raise ValueError(f"hints of {name}: rule {rule.name!r} is for {unknown}, which are no tools of the class")
        seen.add(rule.name)


_RAISED = "^Error during execution: "
"""How the pattern of a rule begins that is for raised errors alone."""


@dataclass(frozen=True, kw_only=True)
class RuleTable:
    """The rules of one combination of tool classes.

    Attributes:
        returned: tool to the rules for errors that it returns: its class's own, then those on values.
        raised: tool to the rules for calls that could not run: those on names of arguments, then as for `returned`.
        quiet: tool to the rules for results that only look like a success; most tools have none.
        unknown: the rules for names that are no tools.
    """

    returned: Mapping[str, tuple[HintRule, ...]]
    raised: Mapping[str, tuple[HintRule, ...]]
    quiet: Mapping[str, tuple[HintRule, ...]]
    unknown: tuple[HintRule, ...] = generic.UNKNOWN


@functools.cache
def rule_table(names: tuple[str, ...]) -> RuleTable:
    """The table of the tool classes of one environment; built once."""
    returned: dict[str, tuple[HintRule, ...]] = {}
    raised: dict[str, tuple[HintRule, ...]] = {}
    quiet: dict[str, tuple[HintRule, ...]] = {}
    for name in names:
        rules = rules_of(name)
        for tool in tool_class(name).tools:
            own = [rule for rule in rules if tool in rule.tools or not rule.tools]
            loud = [rule for rule in own if not rule.quiet]
            raised[tool] = (*generic.NAMES, *loud, *generic.VALUES, *generic.LIMITS)
            returned[tool] = (*(rule for rule in loud if not rule.pattern.startswith(_RAISED)), *generic.VALUES)
            if silent := tuple(rule for rule in own if rule.quiet):
                quiet[tool] = silent
    return RuleTable(
        returned=MappingProxyType(returned), raised=MappingProxyType(raised), quiet=MappingProxyType(quiet)
    )
