"""Fail if an engine has lost more than a fifth of its lead.

`python bench/check.py FILE ...`: what benchmarks wrote with ``--json``, against the ratios in ``bench/ratios.json``.
Ratios of two sides of one run are compared, not seconds, so that the machine does not matter much; a ratio that the
files lack is an error, since a measure that is gone would otherwise look kept.
`--accept` writes the ratios of the files into that file instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

ACCEPTED = Path(__file__).with_name("ratios.json")
LOSS = 0.2
"""Share of an accepted ratio that may be lost."""


def read_ratios(files: list[Path]) -> dict[str, float]:
    """The ratios of all files together."""
    ratios: dict[str, float] = {}
    for file in files:
        ratios |= json.loads(file.read_text(encoding="utf-8"))["ratios"]
    return ratios


def losses(found: Mapping[str, float], accepted: Mapping[str, float]) -> list[str]:
    """A line for every accepted ratio that is missing, or smaller by more than `LOSS`."""
    lines = []
    for name, before in accepted.items():
        now = found.get(name)
        if now is None:
            lines.append(f"{name}: not measured")
        elif now < before * (1 - LOSS):
            lines.append(f"{name}: {now:.2f}, accepted {before:.2f} ({now / before - 1:+.0%})")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--accept", action="store_true")
    options = parser.parse_args()
    found = read_ratios(options.files)
    if options.accept:
        accepted = {name: round(ratio, 2) for name, ratio in sorted(found.items())}
        ACCEPTED.write_text(json.dumps(accepted, indent=1) + "\n", encoding="utf-8")
        return 0
    accepted = json.loads(ACCEPTED.read_text(encoding="utf-8"))
    lost = losses(found, accepted)
    for line in lost:
        print(f"regression: {line}", file=sys.stderr)
    print(f"{len(accepted) - len(lost)} of {len(accepted)} ratios hold")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
