"""What a hint is, and the rules that make one of a failed call.

Owns: `Failure` (what a rule may look at), `HintRule`, and `find_hint`, a pure function of the two. Refuses: results,
state and solutions (a rule sees what the model sees), and the choice whether a hint is shown (`policy.py`). Categories
and kinds are those of arXiv 2510.10197, appendix B.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from env_tuning.task import ToolDoc
from env_tuning.trajectory import Hint

HINT_CHARACTERS = 400
"""The longest hint; what a rule's function makes beyond it is cut."""

ERROR_CHARACTERS = 4_000
"""Of an error's text, its beginning and its end, that rules look at: errors repeat arguments of any length."""


class ErrorCategory(enum.Enum):
    """What was wrong."""

    DEPENDENCY_MISSING = "dependency_missing"
    """A value that another tool gives was not looked up first."""
    PARAMETER_CONSTRAINT = "parameter_constraint"
    """A value is outside of what the parameter allows."""
    STATE_PREREQUISITE = "state_prerequisite"
    """The world is not in the state that the call needs."""
    FORMAT_MISMATCH = "format_mismatch"
    """A name, a type or a way of writing is not the tool's."""
    RESOURCE_UNAVAILABLE = "resource_unavailable"
    """What is asked for does not exist or does not answer."""


class HintKind(enum.Enum):
    """What the hint does about it."""

    CLARIFY_CONSTRAINT = "clarify_constraint"
    """Says what is allowed."""
    SUGGEST_PREREQUISITE = "suggest_prerequisite"
    """Says what has to be done before."""
    EXPLAIN_DEPENDENCY = "explain_dependency"
    """Says where a value comes from."""
    CORRECT_FORMAT = "correct_format"
    """Says how something is written."""


class Failure(NamedTuple):
    """A failed call, as far as the model can see it.

    Attributes:
        tool: the name that was called, whether or not it is a tool.
        arguments: whatever the model wrote.
        error: the raw result's text; of a long one the beginning and the end.
        visible: the documents of all tools that the model may call at this point, by name.
        message: what the model wrote, if it was no call at all but a message that broke the protocol.
    """

    tool: str
    arguments: Mapping[str, Any]
    error: str
    visible: Mapping[str, ToolDoc]
    message: str = ""

    @property
    def properties(self) -> Mapping[str, Any]:
        """The documented parameters of the called tool; empty if it is none."""
        doc = self.visible.get(self.tool)
        return doc.parameters.get("properties", {}) if doc else {}

    @property
    def required(self) -> tuple[str, ...]:
        """The called tool's parameters without a default."""
        doc = self.visible.get(self.tool)
        return tuple(doc.parameters.get("required", ())) if doc else ()


Text = str | Callable[[Failure], str | None]

_PLAIN = re.compile(r"""[\w\s'":,;/<>=-]*""")
"""Patterns that mean themselves."""


def plain_pattern(text: str) -> str:
    """The pattern that means this text, as plain as it can be."""
    return text if _PLAIN.fullmatch(text) else re.escape(text)


@dataclass(frozen=True, kw_only=True)
class HintRule:
    """One error and what to say about it.

    Attributes:
        name: unique, ``class.tool.what`` by habit; it is what trajectories, metrics and the leak test show.
        tools: the tools it is for; empty for every tool (`generic.py`).
        pattern: a regular expression that occurs in the raw result. Keep it free of nested repetition.
        when: what else has to hold of the failure. Must take any arguments: they are what a model wrote.
        category: what was wrong.
        kind: what the hint does about it.
        text: the hint, or a function that writes it (None: this rule has nothing to say after all).
        names: the tools that `text` names. It is used only where all of them are visible.
        plain: the hint that names no tool, for everywhere else; "" if the hint makes no sense then.
        quiet: whether the result looks like a success: a login that answers False, a search that finds nothing.
    """

    name: str
    tools: tuple[str, ...] = ()
    pattern: str
    when: Callable[[Failure], bool] | None = None
    category: ErrorCategory
    kind: HintKind
    text: Text
    names: tuple[str, ...] = ()
    plain: str = ""
    quiet: bool = False
    search: Callable[[str], Any] = field(init=False, repr=False, compare=False)
    literal: str | None = field(init=False, repr=False, compare=False)
    """The pattern, if it is plain text: looking for that costs a quarter of a search."""
    _make: Callable[..., Hint] = field(init=False, repr=False, compare=False)
    _fixed: Hint | None = field(init=False, repr=False, compare=False)
    _plain: Hint | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every failure would need again: the search, and the hints that are always the same."""
        compiled = re.compile(self.pattern, re.DOTALL)
        # A search tries every position, even for what can only be at the beginning.
        anchored = self.pattern.startswith("^") and "|" not in self.pattern.partition("(")[0]
        object.__setattr__(self, "search", compiled.match if anchored else compiled.search)
        object.__setattr__(self, "literal", self.pattern if _PLAIN.fullmatch(self.pattern) else None)
        make = functools.partial(Hint, rule=self.name, category=self.category.value, kind=self.kind.value)
        object.__setattr__(self, "_make", make)
        object.__setattr__(self, "_fixed", self._hint(self.text) if isinstance(self.text, str) else None)
        object.__setattr__(self, "_plain", self._hint(self.plain))

    def hint(self, failure: Failure) -> Hint | None:
        """What the rule says of a failure that its pattern and its condition fit; None if it has nothing to say."""
        if self.names and not all(name in failure.visible for name in self.names):
            return self._plain
        if isinstance(self.text, str):
            return self._fixed
        return self._hint(self.text(failure))

    def _hint(self, text: str | None) -> Hint | None:
        return self._make(text=text[:HINT_CHARACTERS]) if text else None


def find_hint(failure: Failure, rules: Iterable[HintRule]) -> Hint | None:
    """The hint of the first rule that answers the failure and has something to say."""
    error = failure.error
    for rule in rules:
        # Runs for every failed call: most rules end here.
        if (rule.literal not in error) if rule.literal is not None else (rule.search(error) is None):
            continue
        if (rule.when is None or rule.when(failure)) and (hint := rule.hint(failure)) is not None:
            return hint
    return None
