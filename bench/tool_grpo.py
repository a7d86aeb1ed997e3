"""The recipes of tool-use systems on a CPU, whole, for several seeds: reward at the start and at the end, time, memory.

`python bench/tool_grpo.py --seeds 1 2 3 [--systems assistant maths] [--out FOLDER] [overrides]`: each run is one
`python recipes/tool_grpo/train_SYSTEM.py`, as a user would start it. The first of a system makes its tiny model, and
its seconds hold that, too. The machine should be idle otherwise. Called again it goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stage1 import HEAD, PROJECT, Run, measured

from env_tuning.tool_grpo.launching import SYSTEMS


def run_seed(system: str, seed: int, folder: Path, overrides: list[str]) -> Run:
    output = folder / f"{system}_seed{seed}"
    recipe = PROJECT / "recipes" / "tool_grpo" / f"train_{system}.py"
    flags = ["--seed", str(seed), "--output_dir", str(output)]
    return measured([sys.executable, str(recipe), "hardware=cpu", *flags, *overrides], seed, output)


def main() -> None:
    """Run the seeds of every system and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--systems", nargs="+", choices=sorted(SYSTEMS), default=["assistant", "maths"])
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs" / "bench_tool_grpo")
    arguments, overrides = parser.parse_known_args()
    for system in arguments.systems:
        runs = [run_seed(system, seed, arguments.out, overrides) for seed in arguments.seeds]
        print(f"{system}\n\n{HEAD}", *(run.row() for run in runs), sep="\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
