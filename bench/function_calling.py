"""APPO, TPPO and POAD on the offline set, whole, for several seeds: return, validation, time, memory; one plot.

`python bench/function_calling.py --seeds 1 2 3 [--algorithms APPO TPPO POAD] [--into FOLDER] [overrides]`: each run is
one `python recipes/function_calling/train_fctncalling.py`, as a user would start it; the first makes the tiny model,
and its seconds hold that, too. After every run the figures are written into ``figures.json`` and drawn into
``curves.png`` of the recipe's folder. A run that the figures hold already is not run again: delete the file for that.
The machine should be idle otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stage1 import HEAD, PROJECT, Run, measured, series

from env_tuning.atomic import replace_text
from env_tuning.function_calling.launching import ALGORITHMS, OFFLINE

RECIPE = PROJECT / "recipes" / "function_calling"
EXPERIMENT = "bench"

Figures = dict[str, dict[str, dict[str, Any]]]
"""By algorithm and seed: the fields of `Run`, and the reward and the success of every step."""


def run_one(algorithm: str, seed: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Run one training to its end; a failed one ends the benchmark."""
    output = PROJECT / "results" / EXPERIMENT / "fctncalling_env" / OFFLINE / algorithm / f"seed_{seed}"
    flags = ["--algorithm_name", algorithm, "--seed", str(seed), "--experiment_name", EXPERIMENT]
    run = measured([sys.executable, str(RECIPE / "train_fctncalling.py"), *flags, *overrides], seed, output)
    steps = {name: series(output, "step", name) for name in ("reward", "value_loss")}
    return {**vars(run), **steps}


def table(figures: Figures) -> str:
    """The figures for people, by algorithm."""
    rows = []
    for algorithm, seeds in figures.items():
        for found in seeds.values():
            run = Run(**{name: found[name] for name in Run.__dataclass_fields__})
            rows.append(f"| {algorithm} {run.row()}")
    head, line = HEAD.splitlines()
    return "\n".join([f"| algorithm {head}", f"|---{line}", *rows])


def draw(figures: Mapping[str, Mapping[str, Mapping[str, Any]]], file: Path) -> None:
    """One panel for every algorithm, side by side: a thin line a seed, a thick one for their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(figures), 3.2), layout="constrained")
    panels = figure.subplots(1, len(figures), sharey=True, squeeze=False)[0]
    for place, (axes, (algorithm, seeds)) in enumerate(zip(panels, figures.items(), strict=True)):
        curves = [found["reward"] for found in seeds.values()]
        for seed, curve in zip(seeds, curves, strict=True):
            axes.plot(range(1, len(curve) + 1), curve, color=f"C{place}", lw=0.8, alpha=0.6, label=f"seed {seed}")
        if len(curves) > 1:
            mean = [statistics.mean(step) for step in zip(*curves, strict=False)]
            axes.plot(range(1, len(mean) + 1), mean, color=f"C{place}", lw=2.0, label="mean")
        axes.set_title(algorithm)
        axes.set_xlabel("step")
        axes.set_ylim(0.0, 1.0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="lower right")
    panels[0].set_ylabel("mean return of 32 episodes")
    figure.savefig(file, dpi=110)


def main() -> None:
    """Run what is missing, print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--into", type=Path, default=RECIPE, help="where figures.json and curves.png are")
    arguments, overrides = parser.parse_known_args()
    file = arguments.into / "figures.json"
    figures: Figures = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for seed in arguments.seeds:
        for algorithm in arguments.algorithms:
            if str(seed) in figures.get(algorithm, {}):
                continue
            figures.setdefault(algorithm, {})[str(seed)] = run_one(algorithm, seed, overrides)
            ordered = {name: dict(sorted(figures[name].items())) for name in ALGORITHMS if name in figures}
            replace_text(file, json.dumps(ordered, indent=1) + "\n")
            draw(ordered, arguments.into / "curves.png")
    print(table(figures))


if __name__ == "__main__":
    main()
