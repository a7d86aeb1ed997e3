"""The default curriculum, whole, for several seeds: what every stage earned at its start and end, time, memory.

`python bench/curriculum.py --seeds 1 2 3 [--out FOLDER] [--hints] [overrides]`: each seed is one
`env-tuning curriculum --local` with `data.seed` set. With `--hints`, stage 2 is run once more for every seed, from the
same result of stage 1, without hints, and the curves of both are plotted. A curriculum takes about 25 minutes on two
cores; the machine should be idle otherwise. Called again it goes on where it was.

A step has four tasks, and tasks differ more than a stage changes a model. So the model that a stage began with and its
result also play all training tasks of the stage once, at temperature 1, by the benchmark's rules (`env-tuning eval`):
progress before and after, and its change task by task with a 95 % interval (paired bootstrap).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stage1 import PROJECT, run_whole, series

from env_tuning.evaluation.compare import Sheet, difference, read_sheets

EDGE, FORMAT_EDGE = 8, 5
"""Steps at the start and at the end of a stage whose means are compared, and those of stage 1: how much a step's tasks
can earn differs between steps, less so in format."""

WINDOW = 5
"""Steps over which plotted curves are averaged."""

STAGES = ("stage1", "stage2", "stage3", "stage4")

PLAYED = {
    "stage2": "bfcl_v3/bfcl_train_base.parquet",
    "stage3": "bfcl_v3_new_prompt/bfcl_train.parquet",
    "stage4": "bfcl_v3_new_prompt/bfcl_train.parquet",
}
"""Training tasks of the stages that start from another's result."""

AS_TRAINED = ("--tool-listing", "signatures", "--result-characters", "800", "--max-tokens", "128")
"""What a CPU run shows and allows (`configs/hardware/cpu.yaml`)."""


def cards(tool: str, folder: Path, name: str) -> list[Sheet]:
    """Results of the model that a stage began with, and of the stage's own, on all its training tasks."""
    tasks, number, places = PLAYED[name], STAGES.index(name), []
    for stage in STAGES[number - 1 : number + 1]:
        place = folder / "eval" / f"{stage}-on-{Path(tasks).stem}"
        asked = ["--model", str(folder / stage / "result"), "--output", str(place), "--concurrency", "64"]
        command = [tool, "eval", str(PROJECT / "processed_data" / tasks), *asked, "--temperature", "1", *AS_TRAINED]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=1800, cwd=PROJECT)
        places.append(place)
    return read_sheets(places)


def kinds(sheet: Sheet) -> str:
    """Mean progress by kind of task, for tables."""
    values: dict[str, list[float]] = {}
    for task, progress in sheet.progress.items():
        values.setdefault(task.removeprefix("multi_turn_").rpartition("_")[0], []).append(progress)
    return ", ".join(f"{kind.replace('_', ' ')} {statistics.mean(values[kind]):.2f}" for kind in sorted(values))


def played_row(seed: int, name: str, sheets: Sequence[Sheet]) -> str:
    """A row of the second table."""
    first, last = (statistics.mean(sheet.progress.values()) for sheet in sheets)
    change = difference(*sheets).progress
    interval = f"{change.interval.low:+.3f} to {change.interval.high:+.3f}"
    return (
        f"| {seed} | {name} | {len(sheets[0].progress)} | {first:.3f} | {last:.3f} | {change.mean:+.3f} ({interval}) "
        f"| {kinds(sheets[0])} | {kinds(sheets[1])} |"
    )


def row(seed: int, name: str, metric: str, values: Sequence[float]) -> str:
    """A row of the table: means over the first and the last steps."""
    edge = FORMAT_EDGE if name == "stage1" else EDGE
    first, last = statistics.mean(values[:edge]), statistics.mean(values[-edge:])
    return f"| {seed} | {name} | {metric} | {len(values)} | {first:.3f} | {last:.3f} | {last - first:+.3f} |"


def smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over the last `WINDOW` values."""
    return [statistics.mean(values[max(0, end - WINDOW) : end]) for end in range(1, len(values) + 1)]


def plot(arms: dict[str, list[list[float]]], file: Path) -> None:
    """Curves of several seeds per arm: their mean, and the range from the lowest to the highest seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, curves) in enumerate(arms.items()):
        columns = list(zip(*(smoothed(curve) for curve in curves), strict=False))
        steps = range(1, len(columns) + 1)
        axes.plot(steps, [statistics.mean(column) for column in columns], color=f"C{number}", label=name)
        axes.fill_between(
            steps,
            [min(column) for column in columns],
            [max(column) for column in columns],
            color=f"C{number}",
            alpha=0.2,
        )
    axes.set_xlabel(f"step of stage 2 (running mean over {WINDOW})")
    axes.set_ylabel("progress on training tasks")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def main() -> None:
    """Run the seeds, print the tables, and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs" / "bench_curriculum")
    parser.add_argument("--hints", action="store_true", help="run stage 2 without hints as well")
    parser.add_argument("--plot", type=Path, default=PROJECT / "docs" / "images" / "hints_effect.png")
    arguments, overrides = parser.parse_known_args()
    tool = str(Path(sys.executable).with_name("env-tuning"))
    costs, arms = [], {"with hints": [], "without hints": []}
    for seed in arguments.seeds:
        folder = arguments.out.resolve() / f"seed{seed}"
        common = [f"data.seed={seed}", *overrides]
        command = [tool, "curriculum", "--local", f"curriculum.output_dir={folder}", *common]
        costs.append((seed, *run_whole(command, f"seed {seed}")))
        if arguments.hints:
            start = folder / "stage1" / "result"
            plain = [f"actor_rollout_ref.model.path={start.resolve()}", f"env_tuning.output_dir={folder / 'plain'}"]
            run_whole([tool, "train", "stage2", "augmentation=off", *plain, *common], f"seed {seed} without hints")
            arms["with hints"].append(series(folder / "stage2", "step", "correct_turns"))
            arms["without hints"].append(series(folder / "plain", "step", "correct_turns"))
    print("| seed | stage | metric | steps | first | last | change |\n|---|---|---|---|---|---|---|")
    for seed in arguments.seeds:
        folder = arguments.out / f"seed{seed}"
        for name in STAGES:
            metric = "reward" if name == "stage1" else "correct_turns"
            print(row(seed, name, metric, series(folder / name, "step", metric)))
        if arguments.hints:
            print(row(seed, "stage2, no hints", "correct_turns", series(folder / "plain", "step", "correct_turns")))
    print("\n| seed | stage | tasks | before | after | change | before, by kind | after |\n" + "|---" * 8 + "|")
    for seed in arguments.seeds:
        for name in PLAYED:
            print(played_row(seed, name, cards(tool, (arguments.out / f"seed{seed}").resolve(), name)))
    print("\n| seed | seconds | peak GiB |\n|---|---|---|")
    for seed, seconds, gib in costs:
        print(f"| {seed} | {seconds:.0f} | {gib:.1f} |")
    if arguments.hints:
        plot(arms, arguments.plot)


if __name__ == "__main__":
    main()
