"""Hints for messages that break the protocol, where the protocol's own feedback leaves the cause open.

Owns: what goes wrong with tags and JSON most often. Refuses: repairing a message, and saying again what the feedback
says already. `find_hint` reads the feedback as the error and the message as `Failure.message`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from env_tuning.augmentation.rules import ErrorCategory, Failure, HintKind, HintRule

_NO_JSON = r"block is not JSON"


def _contains(pattern: str) -> Callable[[Failure], bool]:
    search = re.compile(pattern, re.IGNORECASE).search
    return lambda failure: search(failure.message) is not None


def _unbalanced(failure: Failure) -> bool:
    count = failure.message.count
    return count("{") != count("}") or count("[") != count("]")


def _rule(name: str, pattern: str, when: Callable[[Failure], bool], text: str) -> HintRule:
    return HintRule(
        name=f"format.{name}",
        pattern=pattern,
        when=when,
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text=text,
    )


RULES = (
    _rule("fence", _NO_JSON, _contains("```"), "Write the bare JSON into the block, without a code fence around it."),
    _rule(
        "python_call",
        _NO_JSON,
        _contains(r"<tool_call>[\s\[]*\w+\s*\("),
        'A call is written as an object with the keys "name" and "arguments", not with parentheses.',
    ),
    _rule(
        "single_quotes",
        _NO_JSON,
        _contains(r"[{\[,:]\s*'"),
        "JSON puts keys and texts in double quotes; single quotes are allowed only inside of a text.",
    ),
    _rule(
        "python_words",
        _NO_JSON,
        _contains(r"[:\[,]\s*(?-i:True|False|None)\b"),
        "JSON writes true, false and null in lower case.",
    ),
    _rule(
        "several_values",
        r"block is not JSON \(Extra data",
        lambda failure: True,
        "One value fits into the block: put several calls into one array, separated by commas.",
    ),
    _rule(
        "control_character",
        r"block is not JSON \(Invalid control character",
        lambda failure: True,
        r"Inside of a text, write a line break as \n and a tab as \t.",
    ),
    _rule(
        "trailing_comma", _NO_JSON, _contains(r",\s*[}\]]"), "JSON has no comma before a closing bracket; leave it out."
    ),
    _rule(
        "brackets", _NO_JSON, _unbalanced, "Count the brackets: every opened { and [ has to be closed, in this order."
    ),
    _rule(
        "arguments_key",
        r'has no "arguments"',
        _contains(r'"(?:parameters|args|arguments?|kwargs|input)"\s*:'),
        'The object with the values has to stand under the key "arguments", beside "name".',
    ),
    _rule(
        "name_key",
        r'has no "name"',
        _contains(r'"(?:function|tool|tool_name|function_name)"\s*:'),
        'The name of the function has to stand under the key "name", as a text.',
    ),
    _rule(
        "think_tag",
        r"<think>.* block is missing",
        _contains(r"<thinking>|<thought>|<reasoning>"),
        "The tag is called think, exactly; other names of it are not recognised.",
    ),
    _rule(
        "open_block",
        r"neither <tool_call>",
        _contains(r"<tool_call>|<answer>"),
        "The block was opened and not closed: write its closing tag, and keep it outside of the thinking.",
    ),
)
"""For `Malformed` messages, in the order in which they are tried."""
