"""What is not compared with the official package, or compared after a rewrite: all of it, in one place.

Owns: `normalise`, which both sides' results go through, and `left_out`, which names the calls that have no
counterpart (`is_rewritten` is one of its reasons). Everything else must agree to the last character. docs/parity.md
explains each entry.
"""

from __future__ import annotations

import builtins
import math
import re

from env_tuning.calls import CallSyntaxError, parse_call
from env_tuning.environments import limits

_UNKNOWN_FIELDS = re.compile(r"(Invalid fields for update: )(.*?)(\"?\}|$)", re.DOTALL)
_CLASS_NAMES = re.compile(r"(Must be one of \{)([^}]*)(\})")
_RECURSION = re.compile(r"(maximum recursion depth exceeded).*", re.DOTALL)
_WORD_BEFORE_BRACKET = re.compile(r"[A-Za-z_]\w*\s*\(")
# Names that the package refuses with a sentence of its own; here they are names like any other that is no tool.
_REFUSED_NAMES = frozenset({"kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run"})
# What is in scope where the package evaluates a call.
_NAMES_IN_SCOPE = frozenset(
    {"copy", "importlib", "inspect", "json", "re", "CLASS_FILE_PATH_MAPPING", "STATELESS_CLASSES"}
)

# Above these numbers a call hits a limit of ours (`limits.MATH_DIGITS`), or keeps the package busy for long.
_LARGEST_NUMBER = {"power": 1000, "logarithm": 1000, "square_root": 1000, "round_number": 1000}
_LONGEST_TEXT = {
    **dict.fromkeys(("mkdir", "touch", "mv", "cp"), limits.NAME_CHARACTERS),
    "logarithm": limits.MATH_DIGITS,
}


def normalise(result: str) -> str:
    """A result as it is compared.

    - Fields that `edit_ticket` rejects, and the classes that `book_flight` would take, are printed from a set: their
      order depends on the interpreter's hash seed. They are compared sorted.
    - The sentence of a recursion error depends on the interpreter's version and on what the innermost frame was
      doing. It is compared up to "exceeded".
    """
    result = _UNKNOWN_FIELDS.sub(_sorted_list, result)
    result = _CLASS_NAMES.sub(_sorted_list, result)
    return _RECURSION.sub(r"\1", result)


def _sorted_list(found: re.Match[str]) -> str:
    return found[1] + ", ".join(sorted(found[2].split(", "))) + found[3]


def left_out(text: str) -> str | None:
    """Why a call cannot be compared, or None if it can."""
    if is_rewritten(text):
        return "a word before a bracket inside an argument, which the package rewrites"
    try:
        call = parse_call(text)
    except CallSyntaxError:
        return "not a call of a plain name with literal arguments, which the package would evaluate"
    if call.name in _REFUSED_NAMES or call.name in _NAMES_IN_SCOPE or hasattr(builtins, call.name):
        return "no tool, but a name that the package evaluates or refuses"
    values = (*call.positional, *call.arguments.values())
    number, length = _LARGEST_NUMBER.get(call.name, math.inf), _LONGEST_TEXT.get(call.name, math.inf)
    if any(isinstance(value, int | float) and abs(value) > number for value in values):
        return "a number above a limit of this project, or hours of work for the package, which has none"
    if any(isinstance(value, str) and len(value) > length for value in values):
        return "a text above a limit of this project; the package has none"
    return None


def is_rewritten(text: str) -> bool:
    """Whether a word stands before a bracket inside an argument.

    The package removes the space between the two, and puts an instance's name before the word if it is a tool's.
    """
    return bool(_WORD_BEFORE_BRACKET.search(text, text.find("(") + 1))
