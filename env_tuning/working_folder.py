"""Modules of the current folder, for commands that take ``module:Class``.

Owns: `import_from_here`. Refuses: importing anything itself.
"""

from __future__ import annotations

import sys


def import_from_here() -> None:
    """Find modules in the current folder, as `python -m` does and an installed command does not."""
    if "" not in sys.path:
        sys.path.insert(0, "")
