"""The one error that is the user's to fix, and the commonest reason for it.

Owns: `UserError`, and `refuse_unknown` for the keys of settings. Everything that a wrong path, key, file or setting
causes is raised as one (or as a `ValueError` in rooms without a terminal) with a single line that names the fix; the
terminal prints the line and exits with 2.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """One line that says what is wrong and how to put it right."""


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a `ValueError` that lists the known keys if one of the given is none of them."""
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown {what} keys {unknown}; known: {sorted(known)}")
