"""What a model proposes for an error site, and what our own checks say of it.

Owns: the JSON forms that the two models answer in, and the checks that need no model: shape, reach, leaks. Refuses:
judging whether a hint helps; that is the judge's and then a person's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from env_tuning.augmentation.leaks import LeakCheck, argument_values, holds, names_tool
from env_tuning.augmentation.proposals.sites import ErrorSite, error_words
from env_tuning.augmentation.rule_file import ArgumentTest, RuleText
from env_tuning.augmentation.rules import ERROR_CHARACTERS, ErrorCategory, Failure, HintKind
from env_tuning.environments.registry import tool_class

_SHORTEST = 20
_TELLING = 3
"""Characters from which on a value in a hint is no accident."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One proposal: a rule, or None where a hint would add nothing; and why."""

    rule: RuleText | None
    reasoning: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge says of a hint."""

    leaks_solution: bool
    restricts_exploration: bool
    actionable: bool
    reason: str

    @property
    def accepts(self) -> bool:
        """Whether nothing speaks against the hint."""
        return self.actionable and not self.leaks_solution and not self.restricts_exploration

    @property
    def problem(self) -> str:
        """Why not, in one sentence."""
        found = [
            words
            for applies, words in (
                (self.leaks_solution, "gives away the solution"),
                (self.restricts_exploration, "forbids or dictates too much"),
                (not self.actionable, "does not say what to do"),
            )
            if applies
        ]
        return f"the judge: it {' and '.join(found)}. {self.reason}"


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXTS = {"type": "array", "items": {"type": "string"}}

CANDIDATE_SCHEMA: Mapping[str, Any] = MappingProxyType(
    _object(
        {
            "reasoning": {"type": "string"},
            "need_augmentation": {"type": "boolean"},
            "error_category": {"type": "string", "enum": [item.value for item in ErrorCategory]},
            "augmentation_type": {"type": "string", "enum": [item.value for item in HintKind]},
            "hint": {"type": "string"},
            "error_contains": _TEXTS,
            "arguments": {
                "type": "array",
                "items": _object(
                    {
                        "argument": {"type": "string"},
                        "test": {"type": "string", "enum": [item.value for item in ArgumentTest]},
                        "value": {"type": "string"},
                    }
                ),
            },
        }
    )
)

VERDICT_SCHEMA: Mapping[str, Any] = MappingProxyType(
    _object(
        {
            "reason": {"type": "string"},
            "leaks_solution": {"type": "boolean"},
            "restricts_exploration": {"type": "boolean"},
            "actionable": {"type": "boolean"},
        }
    )
)


def read_candidate(answer: Mapping[str, Any], site: ErrorSite) -> Candidate:
    """A proposal out of an answer. Without ``error_contains`` the rule takes what the site's errors have in common.

    Raises:
        ValueError: the answer has not the form of `CANDIDATE_SCHEMA`, or is no rule.
    """
    reasoning = _one_line(_given(answer, "reasoning", str))
    if not _given(answer, "need_augmentation", bool):
        return Candidate(rule=None, reasoning=reasoning)
    rule = RuleText.from_dict(
        {
            "tool": site.tool,
            "text": _one_line(_given(answer, "hint", str)),
            "category": _given(answer, "error_category", str),
            "kind": _given(answer, "augmentation_type", str),
            "error_contains": answer.get("error_contains") or error_words(site.template),
            "arguments": answer.get("arguments") or (),
        }
    )
    return Candidate(rule=rule, reasoning=reasoning)


def read_verdict(answer: Mapping[str, Any]) -> Verdict:
    """A verdict out of an answer.

    Raises:
        ValueError: the answer has not the form of `VERDICT_SCHEMA`.
    """
    return Verdict(
        leaks_solution=_given(answer, "leaks_solution", bool),
        restricts_exploration=_given(answer, "restricts_exploration", bool),
        actionable=_given(answer, "actionable", bool),
        reason=_one_line(_given(answer, "reason", str)),
    )


def _given(answer: Mapping[str, Any], key: str, kind: type) -> Any:
    value = answer.get(key)
    if not isinstance(value, kind):
        raise ValueError(f"{key} is {'missing' if key not in answer else 'no ' + kind.__name__}")
    return value


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


class SiteChecks:
    """Our own checks of the proposals for one site; made once, since solutions have to be read for them."""

    def __init__(self, site: ErrorSite) -> None:
        """Prepare the leak check of every task among the examples."""
        self._site = site
        own = (tool.name for failure in site.examples for tool in failure.task.tools)
        self._tools = tuple(dict.fromkeys((*tool_class(site.tool_class).tools, *own)))
        self._leaks = {failure.task.id: LeakCheck(failure.task) for failure in site.examples}

    def problems(self, rule: RuleText) -> tuple[str, ...]:
        """Why a rule cannot be used; empty if nothing speaks against it."""
        return tuple(dict.fromkeys(self._problems(rule)))

    def _problems(self, rule: RuleText) -> Iterator[str]:
        if len(rule.text) < _SHORTEST:
            yield f"a hint of {len(rule.text)} characters says nothing"
        if rule.text.lower().startswith("hint:"):
            yield 'the word "Hint:" is put before it anyway'
        for tool in self._tools:
            if tool != rule.tool and names_tool(rule.text, tool):
                yield f"names the tool {tool!r}; say what kind of tool instead"
        yield from self._reach(rule)
        for failure in self._site.examples:
            yield from self._leaks[failure.task.id].violations(rule.text, failure.turn, failure.seen)
            documents = "\n".join(tool.json for tool in failure.task.visible_tools(failure.turn)).casefold()
            for value in argument_values(failure.call.arguments.values()):
                if len(value) >= _TELLING and holds(rule.text, value) and not holds(documents, value):
                    yield f"contains {value!r}, a value of one example; the hint is shown in other tasks, too"

    def _reach(self, rule: RuleText) -> Iterator[str]:
        """A rule must answer most of the failures that it was made from."""
        made = rule.rule("proposed", self._tools)
        failures = [
            Failure(
                tool=failure.call.name,
                arguments=failure.call.arguments,
                error=failure.result[:ERROR_CHARACTERS],
                visible={tool.name: tool for tool in failure.task.visible_tools(failure.turn)},
            )
            for failure in self._site.examples
        ]
        answered = sum(bool(made.search(each.error)) and made.when is not None and made.when(each) for each in failures)
        if 2 * answered < len(failures):
            yield (
                f"answers only {answered} of {len(failures)} failures of this error: every text in error_contains must "
                "stand in the raw results letter by letter, and every condition on arguments must hold"
            )
