"""Look for garbage less often in this process, from its start on.

Owns: the thresholds of Python's collector. Imports of torch and verl make a million objects that all stay, and the
collector walks over them again and again: a fifth of the time that they take. Importing this module does it, which is
how Ray's processes come to it (`main.set_environment`).
"""

from __future__ import annotations

import gc

OBJECTS = 200_000
"""More objects of containers than this since the last look, and the youngest are looked at; Python's own is 700."""

gc.set_threshold(OBJECTS)
