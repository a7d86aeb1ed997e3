"""Rules in a YAML file: what `env-tuning hints propose` writes, a person reviews, and a class names as its ``hints``.

Owns: the file's form, its reading and its merging. Refuses: code in it. A condition is one of four tests on words, so
that a file written with a model's help can neither run anything nor make a search slow.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from env_tuning.atomic import replace_text
from env_tuning.augmentation.leaks import names_tool
from env_tuning.augmentation.rules import (
    HINT_CHARACTERS,
    ErrorCategory,
    Failure,
    HintKind,
    HintRule,
    plain_pattern,
)

_HEADER = """\
# Proposed hints. Read each one, correct it, and set `reviewed: true`: only those are used.
# `no_hint` lists the errors that got none; remove an entry there, or here, to have it asked for again.
# The command that wrote this file keeps your changes, but no comments.
"""


class ArgumentTest(enum.Enum):
    """What a rule can ask of one argument of the failed call."""

    GIVEN = "given"
    """It was given, whatever its value."""
    MISSING = "missing"
    """It was not given."""
    CONTAINS = "contains"
    """Its text contains a value."""
    LACKS = "lacks"
    """It was given, and its text does not contain a value."""


@dataclass(frozen=True, kw_only=True)
class ArgumentCondition:
    """One test on one argument; `value` matters to two of the tests."""

    argument: str
    test: ArgumentTest
    value: str = ""

    def __post_init__(self) -> None:
        """Reject a test on nothing."""
        if not self.argument:
            raise ValueError("a condition names no argument")
        if not self.value and self.test in (ArgumentTest.CONTAINS, ArgumentTest.LACKS):
            raise ValueError(f"the condition {self.test.value!r} on {self.argument!r} has no value")

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the arguments of a call pass."""
        if self.argument not in arguments:
            return self.test is ArgumentTest.MISSING
        if self.test in (ArgumentTest.GIVEN, ArgumentTest.MISSING):
            return self.test is ArgumentTest.GIVEN
        return (self.value in str(arguments[self.argument])) is (self.test is ArgumentTest.CONTAINS)


@dataclass(frozen=True, kw_only=True)
class RuleText:
    """A hint and when it is said: what a rule is in a file.

    Attributes:
        tool: whose failures it answers.
        text: the hint.
        category: what was wrong.
        kind: what the hint does about it.
        error_contains: texts that the raw result must all contain.
        arguments: what else must hold.
    """

    tool: str
    text: str
    category: ErrorCategory
    kind: HintKind
    error_contains: tuple[str, ...]
    arguments: tuple[ArgumentCondition, ...] = ()

    def __post_init__(self) -> None:
        """Reject what is no rule: without a text, or for every failure of the tool."""
        if not self.text.strip():
            raise ValueError("the hint has no text")
        if len(self.text) > HINT_CHARACTERS:
            raise ValueError(f"the hint has {len(self.text)} characters; at most {HINT_CHARACTERS} are shown")
        if not all(part.strip() for part in self.error_contains):
            raise ValueError("an empty text in error_contains says nothing about the error")
        if not (self.error_contains or self.arguments):
            raise ValueError("nothing says which failures the hint is for: give error_contains, arguments or both")

    def rule(self, name: str, tools: Iterable[str]) -> HintRule:
        """The rule. Where it names tools of its class, it is silent in tasks that hold one of them back."""
        words = sorted(self.error_contains, key=len, reverse=True) or [""]
        return HintRule(
            name=name,
            tools=(self.tool,),
            pattern=plain_pattern(words[0]),
            when=functools.partial(_holds, words[1:], self.arguments),
            category=self.category,
            kind=self.kind,
            text=self.text,
            names=tuple(tool for tool in tools if names_tool(self.text, tool)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the file."""
        return {
            "tool": self.tool,
            "text": self.text,
            "category": self.category.value,
            "kind": self.kind.value,
            "error_contains": list(self.error_contains),
            "arguments": [
                {"argument": part.argument, "test": part.test.value, "value": part.value} for part in self.arguments
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RuleText:
        """Inverse of `as_dict`; other keys are left alone.

        Raises:
            ValueError: a key is missing, or a value is none of the allowed ones.
        """
        try:
            return cls(
                tool=_text(data, "tool"),
                text=_text(data, "text"),
                category=ErrorCategory(data["category"]),
                kind=HintKind(data["kind"]),
                error_contains=tuple(str(part) for part in _list(data, "error_contains")),
                arguments=tuple(
                    ArgumentCondition(
                        argument=_text(part, "argument"),
                        test=ArgumentTest(part["test"]),
                        value=str(part.get("value") or ""),
                    )
                    for part in _list(data, "arguments")
                ),
            )
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"it has another form: {error}") from None


def _text(data: Mapping[str, Any], key: str) -> str:
    if not isinstance(data[key], str):
        raise ValueError(f"{key} is {data[key]!r} and must be a text")
    return data[key]


def _list(data: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = data.get(key) or ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key} is {value!r} and must be a list")
    return value


def _holds(words: Sequence[str], conditions: Sequence[ArgumentCondition], failure: Failure) -> bool:
    return all(word in failure.error for word in words) and all(part.holds(failure.arguments) for part in conditions)


def reviewed_rules(file: Path, tool_class: str, tools: Sequence[str]) -> tuple[HintRule, ...]:
    """The reviewed rules of one class.

    Args:
        file: as `env-tuning hints propose` writes it.
        tool_class: the class's own name, without its module; entries of others are left out.
        tools: of the class.

    Raises:
        ValueError: the file is missing or has another form; the message names the entry.
    """
    rules = []
    for number, entry in enumerate(read_entries(file)["hints"]):
        if entry.get("reviewed") is not True or str(entry.get("tool_class")).rpartition(":")[2] != tool_class:
            continue
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{file}: hint {number} has no name")
        try:
            rules.append(RuleText.from_dict(entry).rule(name, tools))
        except ValueError as error:
            raise ValueError(f"{file}: hint {name!r}: {error}") from None
    return tuple(rules)


Entries = dict[str, list[dict[str, Any]]]


def read_entries(file: Path) -> Entries:
    """The entries of a file as plain data, under ``hints`` and ``no_hint``.

    Raises:
        ValueError: the file is missing, no YAML, or has another form.
    """
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    entries = {} if data is None else data
    if not isinstance(entries, dict) or set(entries) - {"hints", "no_hint"}:
        raise ValueError(f"{file} is no file of hints: it must hold the lists hints and no_hint and nothing else")
    found = {key: [] if entries.get(key) is None else entries[key] for key in ("hints", "no_hint")}
    for key, items in found.items():
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"{file}: {key} must be a list of entries with keys and values")
    return found


def write_entries(file: Path, entries: Entries) -> None:
    """Put entries into a file, all of them or none."""
    text = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=110)
    replace_text(file, _HEADER + text)
