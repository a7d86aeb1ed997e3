"""The benchmark of the environment engine still runs: it uses public interfaces only, which may change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quick_benchmark_prints_every_table(official: Path):
    command = [sys.executable, str(ROOT / "bench" / "environments.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for title in ("Episodes per CPU second", "Microseconds of one call", "Microseconds of one turn", "Growth of"):
        assert title in done.stdout
