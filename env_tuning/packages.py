"""Which packages are installed.

Owns: asking for their versions. Refuses: saying which are wanted.
"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Iterable


@functools.cache
def installed(package: str) -> str | None:
    """A package's version; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {package: installed(package) for package in packages}
    return {"python": platform.python_version(), **{name: version for name, version in found.items() if version}}
