"""What a benchmark found, as a file, and what of it `bench/check.py` holds.

Owns: the form of the file. Refuses: measuring, comparing.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def save(file: Path | None, figures: Any, ratios: Mapping[str, float]) -> None:
    """Write the figures, if a file is given.

    Args:
        file: replaced whole; its folder is made.
        figures: plain data, as it was measured.
        ratios: both sides of one run against each other, more is better for us; these hold on any machine.
    """
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    machine = {"cores": os.cpu_count(), "load_at_the_end": round(load, 1), "python": platform.python_version()}
    text = json.dumps({"machine": machine, "ratios": dict(ratios), "figures": figures}, indent=1)
    file.write_text(text + "\n", encoding="utf-8")
