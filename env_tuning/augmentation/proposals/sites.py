"""Failed calls, grouped by the error that they ran into.

Owns: what counts as the same error (`error_template`), and the order of sites. Refuses: files, and saying anything
about an error. Everything here is a pure function of the failed calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from env_tuning.augmentation.proposals.rollouts import FailedCall
from env_tuning.environments.registry import tool_class

EXAMPLES = 40
"""Failed calls that a site keeps, each of another task."""

_TEMPLATE_CHARACTERS = 300
_HOLE = re.compile(r"‹[^›]*›")
_CUT_HOLE = re.compile(r"‹[^›]*$")
_QUOTED = re.compile(r"""(?<![\w\\])(\\?["'`])(?!\s)[^"'`\\\n‹]{1,200}\1(?!\w)""")
_QUOTED_IN_JSON = re.compile(r"""(?<!\w)(\\"|['`])(?!\s)[^"'`\\\n‹]{1,200}\1(?!\w)""")
_LISTED = re.compile(r"(‹text›|‹number›)(?:, ?(?:‹text›|‹number›))+")
_NUMBER = re.compile(r"(?<![\w‹])-?\w*\d[\w.]*(?<!\.)")
_WRAPPING = re.compile(r"""^(?:Error during execution: |\{"error": "?|\[?\{'error': ['"]?)|(?:"|')?\}\]?$""")


@dataclass(frozen=True, kw_only=True)
class ErrorSite:
    """One error of one tool, as often as it occurred.

    Attributes:
        tool_class: the class's name or path.
        tool: which tool failed.
        template: the raw result, with what varies replaced by ``‹name of an argument›``, ``‹text›`` or ``‹number›``.
        count: failed calls.
        tasks: in how many tasks.
        examples: up to `EXAMPLES` of them, each the first of another task.
    """

    tool_class: str
    tool: str
    template: str
    count: int
    tasks: int
    examples: tuple[FailedCall, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it this site and no other."""
        return (self.tool_class, self.tool, self.template)

    @property
    def line(self) -> str:
        """The site on one line."""
        return f"{short_name(self.tool_class)}.{self.tool}: {self.template}"


def short_name(tool_class: str) -> str:
    """A class's own name, without the module it is in."""
    return tool_class.rpartition(":")[2]


def error_sites(failures: Iterable[FailedCall]) -> tuple[ErrorSite, ...]:
    """The sites of failed calls, most frequent first; equals in the order of their names."""
    counts: dict[tuple[str, str, str], int] = {}
    examples: dict[tuple[str, str, str], dict[str, FailedCall | None]] = {}
    for failure in failures:
        owner = _owner(failure)
        if owner is None:
            continue
        key = (owner, failure.call.name, error_template(failure.result, failure.call.arguments))
        counts[key] = counts.get(key, 0) + 1
        of_site = examples.setdefault(key, {})
        # Beyond the examples the id alone is kept, to be counted.
        of_site.setdefault(failure.task.id, failure if len(of_site) < EXAMPLES else None)
    sites = [
        ErrorSite(
            tool_class=key[0],
            tool=key[1],
            template=key[2],
            count=count,
            tasks=len(examples[key]),
            examples=tuple(failure for failure in examples[key].values() if failure is not None),
        )
        for key, count in counts.items()
    ]
    return tuple(sorted(sites, key=lambda site: (-site.count, site.key)))


def _owner(failure: FailedCall) -> str | None:
    """The class of the task whose tool was called."""
    return next((name for name in failure.task.tool_classes if failure.call.name in tool_class(name).tools), None)


def error_template(result: str, arguments: Mapping[str, Any]) -> str:
    """A raw result without what is particular to one call: its arguments, quoted texts, numbers and ids."""
    template = result[: 2 * _TEMPLATE_CHARACTERS].replace("‹", "<").replace("›", ">")
    found = {
        text: name if name.isidentifier() else "argument"
        for name, value in arguments.items()
        for text in _spellings(value)
    }
    for text in sorted(found, key=len, reverse=True):
        template = _with_hole(template, text, f"‹{found[text]}›")
    # The quotes of JSON hold whole errors.
    quoted = _QUOTED_IN_JSON if _is_json_object(result) else _QUOTED
    template = _LISTED.sub(r"\1, ...", _NUMBER.sub("‹number›", quoted.sub("‹text›", template)))
    # An error such as 404 is not a number among others.
    if not error_words(template):
        template = result
    return _CUT_HOLE.sub("", template[:_TEMPLATE_CHARACTERS])


def _with_hole(template: str, text: str, hole: str) -> str:
    """A text replaced wherever it stands alone, outside of the holes made so far."""
    pattern = rf"‹[^›]*›|(?<!\w){re.escape(text)}(?!\w)"
    return re.sub(pattern, lambda match: match[0] if match[0].startswith("‹") else hole, template)


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _spellings(value: Any) -> Iterable[str]:
    """How an argument's texts and numbers can stand in a result: as they are, or inside JSON."""
    for text in _texts(value):
        if len(text) > 1:
            yield from {text, json.dumps(text)[1:-1]}


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value.strip(),)
    if isinstance(value, Mapping):
        return (text for item in value.values() for text in _texts(item))
    if isinstance(value, list):
        return (text for item in value for text in _texts(item))
    return () if value is None or isinstance(value, bool) else (str(value),)


def error_words(template: str) -> tuple[str, ...]:
    """The parts of a template that are the same in every result of the site, longest first: at most two."""
    parts = [part for piece in _HOLE.split(template) for part in piece.split(", ...")]
    bare = [_WRAPPING.sub("", part).strip() for part in parts]
    # What the wrapping leaves of a template that is nothing but holes says nothing.
    telling = [part for part in bare if sum(map(str.isalnum, part)) > 2]
    return tuple(sorted(dict.fromkeys(telling), key=len, reverse=True)[:2])
