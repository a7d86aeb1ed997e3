"""The makers of other rooms' tests: runs without training, failing garages, small models, cards."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]
for _room in ("augmentation", "evaluation", "report", "serving"):
    sys.path.append(str(_TESTS / _room))
