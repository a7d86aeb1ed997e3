"""Which errors the tool classes can give, and which rule answers each: `env-tuning hints coverage`.

Owns: reading a class's source for its error sites, and the reasons why some have no rule. Refuses: running tools. The
reader follows calls of routines in the same module, with the texts that are passed to them. What Python itself raises
inside a tool (a missing key, a wrong type) is no site: `generic.py` and the leak test's failures stand for these.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from env_tuning.augmentation import generic
from env_tuning.augmentation.registry import rules_of
from env_tuning.environments.registry import TOOL_CLASSES, tool_class

_ERROR_KEYS = ("error", "verification_failure")
_ERROR_ITEM = "Error:"

REASONS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("book_flight", "{str(error)}"): "repeats what pricing raises, and those texts are sites of their own",
        ("mkdir", "Directory '{name}' already exists in directory '{self.name}'."): "refused with another text before",
        ("touch", "File '{name}' already exists in directory '{self.name}'."): "refused with another text before",
    }
)
"""Tool and template to the reason why no rule answers it."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One text that a tool can fail with.

    Attributes:
        tool_class: name of the class.
        tool: the tool that gives it; a routine shared by several tools is a site of each.
        raised: whether it is raised, rather than returned.
        template: the text, with expressions in braces where it varies.
    """

    tool_class: str
    tool: str
    raised: bool
    template: str

    @property
    def samples(self) -> tuple[str, ...]:
        """Raw results as the environment would show them: a returned error can come in an object or in a list."""
        # A digit, since limits are numbers, and any other text can be a digit, too.
        text = re.sub(r"\{[^{}]*\}", "7", self.template)
        if self.raised:
            return (f"Error during execution: {text}", json.dumps({"error": text}))
        return (
            json.dumps({"error": int(text) if self.template.isdigit() else text}),
            str([{"error": text}]),
        )


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """A site, the rules that answer it (the first whose conditions hold is shown), or why there is none."""

    site: Site
    rules: tuple[str, ...]
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether there is neither."""
        return not self.rules and not self.reason


def coverage(name: str) -> tuple[Coverage, ...]:
    """Every error site of a tool class."""
    rules = (*rules_of(name), *(rule for rule in generic.RULES if rule.pattern))
    found = []
    for site in error_sites(name):
        answering = [
            rule.name
            for rule in rules
            if (not rule.tools or site.tool in rule.tools) and any(map(rule.search, site.samples))
        ]
        reason = "" if answering else REASONS.get((site.tool, site.template), "")
        found.append(Coverage(site=site, rules=tuple(answering), reason=reason))
    return tuple(found)


def quiet_rules(name: str) -> tuple[tuple[str, str], ...]:
    """Tool and rule for every answer that only looks like a success, and that a rule of the class answers."""
    return tuple((tool, rule.name) for rule in rules_of(name) if rule.quiet for tool in rule.tools)


def error_sites(name: str) -> tuple[Site, ...]:
    """The error sites of a tool class, in order of its tools."""
    found = tool_class(name)
    reader = _Reader.of(sys.modules[found.__module__], found.tools)
    sites: dict[Site, None] = {}
    for tool in found.tools:
        if tool in reader.routines:
            for raised, template in reader.failures(tool, {}):
                sites[Site(tool_class=name, tool=tool, raised=raised, template=template)] = None
    return tuple(sites)


def table(names: Sequence[str] = tuple(TOOL_CLASSES)) -> str:
    """Sites, and how many are answered, by class."""
    lines = [f"{'class':20}{'tools':>7}{'sites':>7}{'covered':>9}{'reason':>8}{'open':>6}{'quiet':>7}{'rules':>7}"]
    totals = [0] * 7
    for name in names:
        rows = coverage(name)
        figures = [
            len(tool_class(name).tools),
            len(rows),
            sum(bool(row.rules) for row in rows),
            sum(bool(row.reason) for row in rows),
            sum(row.is_open for row in rows),
            len(quiet_rules(name)),
            len(rules_of(name)),
        ]
        totals = [total + figure for total, figure in zip(totals, figures, strict=True)]
        lines.append(_line(name, figures))
    if len(names) > 1:
        lines.append(_line("all", totals))
    lines.append(f"generic rules for every tool: {len(generic.RULES) + len(generic.UNKNOWN)}")
    return "\n".join(lines)


def _line(name: str, figures: Sequence[int]) -> str:
    # An author's class is named by a path, which may be long.
    shown = name.rpartition(":")[2]
    return f"{shown:20}" + "".join(
        f"{figure:{width}}" for figure, width in zip(figures, (7, 7, 9, 8, 6, 7, 7), strict=True)
    )


def site_list(names: Sequence[str] = tuple(TOOL_CLASSES)) -> str:
    """Every site on a line: tool, text, and its rules, reason or ``OPEN``; then the quiet answers that have a rule."""
    lines = []
    for name in names:
        lines.append(name)
        for row in coverage(name):
            answer = ", ".join(row.rules) or (f"none: {row.reason}" if row.reason else "OPEN")
            form = "raises" if row.site.raised else "returns"
            lines.append(f"  {row.site.tool} {form} {row.site.template!r} -> {answer}")
        lines += [f"  {tool} answers quietly -> {rule}" for tool, rule in quiet_rules(name)]
    return "\n".join(lines)


Scope = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Reader:
    """The routines and text constants of one module, its tools, and the texts they can fail with."""

    tools: Collection[str]
    routines: Mapping[str, ast.FunctionDef]
    constants: Mapping[str, str]

    @classmethod
    def of(cls, module: object, tools: Collection[str]) -> _Reader:
        tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
        constants: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_text(node.value):
                constants.setdefault(node.targets[0].id, node.value.value)  # type: ignore[attr-defined]
        routines = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        return cls(tools, routines, constants)

    def failures(self, routine: str, scope: Scope, above: tuple[str, ...] = ()) -> Iterator[tuple[bool, str]]:
        """(raised, template) of everything that a routine can fail with, called routines included."""
        function = self.routines[routine]
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in _ERROR_KEYS:
                        yield from ((False, text) for text in self._texts(value, function, scope, above))
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                yield from ((True, text) for text in self._texts(node.exc.args[0], function, scope, above))
            elif _is_text(node) and str(node.value).startswith(_ERROR_ITEM):  # type: ignore[attr-defined]
                yield False, node.value  # type: ignore[attr-defined]
            elif isinstance(node, ast.Call):
                called = self._called(node)
                if called and called != routine and called not in above:
                    given = self._arguments(called, node, function, scope, above)
                    yield from self.failures(called, given, (*above, routine))

    def _called(self, call: ast.Call) -> str | None:
        """The routine of this module that a call runs, be it a function or a method."""
        target = call.func
        if isinstance(target, ast.Name):
            name = target.id
        elif isinstance(target, ast.Attribute):
            name = target.attr
            own = isinstance(target.value, ast.Name) and target.value.id == "self"
            # Another object's method of a tool's name is not the tool (`ids.add`, `lines.sort`).
            if not own and name in self.tools:
                return None
        else:
            return None
        return name if name in self.routines else None

    def _arguments(
        self, called: str, call: ast.Call, function: ast.FunctionDef, scope: Scope, above: tuple[str, ...]
    ) -> Scope:
        parameters = [parameter.arg for parameter in self.routines[called].args.args if parameter.arg != "self"]
        pairs = [*zip(parameters, call.args, strict=False)]
        pairs += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg]
        given = {name: tuple(self._texts(value, function, scope, above)) for name, value in pairs}
        return {name: texts for name, texts in given.items() if texts}

    def _texts(self, node: ast.expr, function: ast.FunctionDef, scope: Scope, above: tuple[str, ...]) -> Iterator[str]:
        """The texts that an expression can be; none if it is no text that can be told from the source."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str | int) and not isinstance(node.value, bool):
                yield str(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [self._part(part, scope) for part in node.values]
            yield from map("".join, itertools.product(*parts))
        elif isinstance(node, ast.IfExp):
            yield from self._texts(node.body, function, scope, above)
            yield from self._texts(node.orelse, function, scope, above)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                yield from self._texts(value, function, scope, above)
        elif isinstance(node, ast.Name):
            yield from self._named(node.id, function, scope, above)
        elif isinstance(node, ast.Call):
            called = self._called(node)
            if called and called not in above:
                given = self._arguments(called, node, function, scope, above)
                routine = self.routines[called]
                for inner in ast.walk(routine):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        yield from self._texts(inner.value, routine, given, (*above, called))
            elif isinstance(node.func, ast.Name) and node.func.id == "str":
                yield f"{{{ast.unparse(node)}}}"

    def _named(self, name: str, function: ast.FunctionDef, scope: Scope, above: tuple[str, ...]) -> Iterator[str]:
        if name in scope:
            yield from scope[name]
            return
        assigned = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets)
        ]
        for value in assigned:
            # `problem = problem or ...` reads what the other assignments say.
            others = {**scope, name: ()}
            yield from self._texts(value, function, others, above)
        if not assigned and name in self.constants:
            yield self.constants[name]

    def _part(self, part: ast.expr, scope: Scope) -> tuple[str, ...]:
        """A piece of an f-string: text, a known argument, or the expression itself in braces."""
        if isinstance(part, ast.Constant):
            return (str(part.value),)
        value = part.value  # type: ignore[attr-defined]
        if isinstance(value, ast.Name) and value.id in scope:
            return scope[value.id]
        return (f"{{{ast.unparse(value)}}}".replace("{{", "{").replace("}}", "}"),)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
