"""The default stage-1 run, whole, for several seeds: reward at the start and at the end, time, memory.

`python bench/stage1.py --seeds 1 2 3 [--out FOLDER] [overrides]`: each seed is one `bash run_stage1.sh`, as a user
would start it, with `data.seed` set. Seconds are those of the whole command; memory is the sum of the proportional set
sizes of all its processes, sampled every two seconds. About eight minutes a seed on two cores; the machine should be
idle otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[1]
EDGE = 5
"""Steps at the start and at the end whose mean reward is compared."""

HEAD = (
    "| seed | steps | reward, first 5 | last 5 | gain | validation | seconds | peak GiB |\n"
    "|---|---|---|---|---|---|---|---|"
)
"""Of the table of `Run.row`."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one seed gave."""

    seed: int
    steps: int
    first: float
    last: float
    validation: tuple[float, ...]
    seconds: float
    peak_gib: float

    def row(self) -> str:
        """A row of the table."""
        scores = " → ".join(f"{score:.2f}" for score in self.validation)
        return (
            f"| {self.seed} | {self.steps} | {self.first:.3f} | {self.last:.3f} | {self.last - self.first:+.3f} "
            f"| {scores} | {self.seconds:.0f} | {self.peak_gib:.1f} |"
        )


def run_seed(seed: int, folder: Path, overrides: list[str]) -> Run:
    """Run one seed to its end; a failed run ends the benchmark."""
    output = folder / f"seed{seed}"
    settings = [f"data.seed={seed}", f"env_tuning.output_dir={output}", *overrides]
    return measured(["bash", str(PROJECT / "run_stage1.sh"), *settings], seed, output)


def measured(command: Sequence[str], seed: int, output: Path) -> Run:
    """What a training command that writes to a folder gave; a failed one ends the benchmark."""
    seconds, peak_gib = run_whole(command, f"seed {seed}")
    rewards = series(output, "step", "reward")
    return Run(
        seed=seed,
        steps=len(rewards),
        first=statistics.mean(rewards[:EDGE]),
        last=statistics.mean(rewards[-EDGE:]),
        validation=tuple(series(output, "validation", "score")),
        seconds=seconds,
        peak_gib=peak_gib,
    )


def run_whole(command: Sequence[str], name: str) -> tuple[float, float]:
    """Run a command to its end; seconds and peak GiB. A failed one ends the benchmark."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=PROJECT)
    peak = _Peak(process.pid)
    peak.start()
    if process.wait() != 0:
        raise SystemExit(f"{name} failed with status {process.returncode}")
    return time.monotonic() - started, peak.bytes / 2**30


def series(output: Path, event: str, metric: str) -> list[float]:
    """A metric of every event of a kind in a run's folder."""
    events = [json.loads(line) for line in (output / "progress.jsonl").read_text().splitlines()]
    return [found[metric] for found in events if found["event"] == event]


class _Peak(threading.Thread):
    """The largest memory of a process and its descendants, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self.bytes = 0

    def run(self) -> None:
        """Sample until the process ends."""
        while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in (self._root, *self._root.children(recursive=True)):
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:  # it ended meanwhile
                    continue
            self.bytes = max(self.bytes, total)
            time.sleep(2.0)


def main() -> None:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs" / "bench_stage1")
    arguments, overrides = parser.parse_known_args()
    runs = [run_seed(seed, arguments.out, overrides) for seed in arguments.seeds]
    print(HEAD)
    for run in runs:
        print(run.row())


if __name__ == "__main__":
    main()
