"""Is the answer right? Numbers by value, mathematics by meaning, words by their letters.

Owns: what of a message is the answer, and what equals what. Refuses: knowing episodes and rewards.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from env_tuning.answers.equivalence import equivalent
from env_tuning.task import AnswerKind, Expected

_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?(?![\d])")
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_SIGNS = re.compile(rf"[^\w{_CJK}]+")
_MOST_CHARACTERS = 20_000
_MOST_NEW_NUMBERS = 3
"""An answer that gives more numbers of its own than this is a list of guesses."""

_CLOSE = Fraction(1, 10**6)


def is_right(expected: Expected, text: str, question: str = "") -> bool | None:
    """Whether a final answer is right; None if nobody says what is.

    Args:
        expected: what is known.
        text: the final answer.
        question: what was asked; numbers that stand in it are no guesses.
    """
    if expected.answer is None:
        return None
    if expected.kind is AnswerKind.MATHS:
        given = boxed(text)
        return given is not None and same_mathematics(expected.answer, given)
    if expected.kind is AnswerKind.NUMBER:
        return _gives_number(expected.answer, text, question)
    wanted = _letters(expected.answer)
    return bool(wanted) and wanted in _letters(text)


def boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{}``; without one, the last number; None if there is neither."""
    text = text[-_MOST_CHARACTERS:]
    start = text.rfind("\\boxed{")
    if start == -1:
        found = numbers_in(text)
        return str(found[-1]) if found else None
    begin, depth = start + len("\\boxed{"), 1
    for position in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position].strip()
    return None


def same_mathematics(expected: str, given: str) -> bool:
    """Whether two mathematical texts mean the same: by value if both are plain numbers, else by math-verify."""
    left, right = number(expected), number(given)
    if left is not None and right is not None:
        return left == right
    if _letters(expected) and expected.strip() == given.strip():
        return True
    return equivalent(expected, given)


def number(text: str) -> Fraction | None:
    """The value of a text that is a plain number (42, 1,234, -0.5, 3/4) and nothing else."""
    text = unicodedata.normalize("NFKC", text).strip().strip("$").replace("−", "-").rstrip(".")
    if len(text) > 100:
        return None
    try:
        return Fraction(text.replace(",", "") if _NUMBER.fullmatch(text) else text)
    except (ValueError, ZeroDivisionError):
        return None


def numbers_in(text: str) -> list[Fraction]:
    """The numbers that a text mentions, in order."""
    plain = unicodedata.normalize("NFKC", text[:_MOST_CHARACTERS])
    # Letters of languages that write no spaces are no part of a number's word.
    plain = re.sub(rf"(?<=[{_CJK}])(?=[-+\d])|(?<=\d)(?=[{_CJK}])", " ", plain)
    return [Fraction(found.replace(",", "").replace("−", "-")) for found in _NUMBER.findall(plain)]


def pieces(text: str) -> set[str]:
    """Words of letters and digits in small letters, and pairs of Chinese, Japanese or Korean neighbours."""
    text = unicodedata.normalize("NFKC", text).lower()
    runs = re.findall(f"[{_CJK}]+", text)
    return set(re.findall(r"[a-z0-9]{2,}", text)) | {run[at : at + 2] for run in runs for at in range(len(run) - 1)}


def close(one: Fraction, other: Fraction) -> bool:
    """Whether two numbers are the same but for rounding at the sixth digit."""
    return abs(one - other) <= _CLOSE * max(abs(one), abs(other))


def _gives_number(expected: str, text: str, question: str) -> bool:
    wanted = number(expected)
    if wanted is None:
        return False
    given = set(numbers_in(text))
    new = given - set(numbers_in(question))
    return len(new) <= _MOST_NEW_NUMBERS and any(close(wanted, value) for value in given)


def _letters(text: str) -> str:
    """Letters and digits alone, in one case and width."""
    return _SIGNS.sub("", unicodedata.normalize("NFKC", text).casefold())
