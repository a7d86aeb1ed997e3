"""The environment engine and the official package, side by side in one run.

`python bench/environments.py` takes a few minutes, `--quick` half a minute, `--check` one; `--profile` shows where our
time goes, `--json FILE` writes the ratios of the first table.
Installs the official package into a folder of its own (.cache/official) and runs it in its own interpreter.

All times are CPU times of one process, so that other work on the machine disturbs them little. Both sides take turns
measure by measure; a row shows medians over the rounds and the median of the rounds' ratios. The work is the reference
solution of every task, one step per turn, with right results on both sides:

    reset          a task's initial state, from its configuration
    replay_calls   reset and run, the calls as text, one by one
    replay_turns   the same, one turn at a time (ours has no such difference)
    judge          the benchmark's verdict on recorded calls; ours runs the reference once per task and shares it
    judge alone    the same without sharing: the reference runs for every episode
    end_to_end     messages parsed, calls run, turns judged. Ours is `Episode`, with prompt and reference prepared once
                   per group of 8. The official side runs calls and then its checker; its decoding is not counted.
    group of 1     the same, everything prepared for every episode
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import itertools
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The parity tests own the official package's installation.
sys.path.append(str(ROOT / "tests" / "parity"))

from figures import save  # noqa: E402
from official import install_official, official_process  # noqa: E402

from env_tuning.calls import ToolCall, parse_call  # noqa: E402
from env_tuning.data.bfcl import tasks_by_id  # noqa: E402
from env_tuning.data.demonstrations import name_arguments  # noqa: E402
from env_tuning.data.sources import fetch_wheel, read_benchmark  # noqa: E402
from env_tuning.data.splits import Category  # noqa: E402
from env_tuning.environments.bfcl.long_context import LongContext  # noqa: E402
from env_tuning.environments.environment import Environment  # noqa: E402
from env_tuning.environments.registry import make_environment  # noqa: E402
from env_tuning.episode import Episode, Rules  # noqa: E402
from env_tuning.judge import TwinTurn, official_verdict, replay_ground_truth  # noqa: E402
from env_tuning.prepared_task import PreparedTask, prepare_task  # noqa: E402
from env_tuning.protocols import ThinkAnswer  # noqa: E402
from env_tuning.task import Task  # noqa: E402

GROUP = 8
MIB = 2**20
clock = time.process_time_ns


@dataclass(frozen=True, kw_only=True)
class Work:
    """A task with what a perfect model writes for it, and what a group shares."""

    task: Task
    padding: LongContext | None
    calls: tuple[tuple[tuple[ToolCall, ...], ...], ...]
    messages: tuple[str, ...]
    twin: tuple[TwinTurn, ...]

    def environment(self) -> Environment:
        """A fresh one."""
        return make_environment(self.task.tool_classes, self.task.initial_config, self.padding)

    def prepared(self) -> PreparedTask:
        """Prompt and reference, made anew."""
        return prepare_task(self.task, protocol=ThinkAnswer(), long_context=self.padding)

    def as_json(self) -> str:
        """The task for the official side."""
        truth = self.task.ground_truth
        return json.dumps(
            {
                "id": self.task.id,
                "initial_config": self.task.initial_config,
                "classes": self.task.tool_classes,
                "ground_truth": truth,
                "turns": [[calls] if calls else [] for calls in truth],
            }
        )


def make_work(task: Task, long_context: LongContext) -> Work:
    protocol, padding = ThinkAnswer(), long_context if task.long_context else None
    turns = [tuple(map(parse_call, calls)) for calls in task.ground_truth]
    tools = {tool.name: tool for tool in task.tools}
    messages = []
    for calls in turns:
        if calls:
            messages.append(protocol.write_calls([name_arguments(call, tools[call.name]) for call in calls], "I call."))
        messages.append(protocol.write_answer("Done.", "I am done."))
    environment = make_environment(task.tool_classes, task.initial_config, padding)
    return Work(
        task=task,
        padding=padding,
        calls=tuple((calls,) if calls else () for calls in turns),
        messages=tuple(messages),
        twin=replay_ground_truth(task.ground_truth, environment),
    )


def reset(work: Work) -> None:
    work.environment()


def replay(work: Work) -> None:
    environment = work.environment()
    for turn in work.task.ground_truth:
        for text in turn:
            environment.call(parse_call(text))


def judge(work: Work) -> None:
    assert official_verdict(work.environment(), work.twin, work.calls).valid


def judge_alone(work: Work) -> None:
    twin = replay_ground_truth(work.task.ground_truth, work.environment())
    assert official_verdict(work.environment(), twin, work.calls).valid


def play(work: Work, prepared: PreparedTask) -> None:
    # One reference solution calls a tool before its release, which only the benchmark's own rules allow.
    episode = Episode(prepared, Rules(official=True))
    episode.opening()
    for message in work.messages:
        episode.step(message)
    assert episode.trajectory().correct_turns == work.task.turns


def play_group(work: Work) -> None:
    prepared = work.prepared()
    for _ in range(GROUP):
        play(work, prepared)


def play_alone(work: Work) -> None:
    play(work, work.prepared())


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: our function (which does `episodes` of them) against an official measure."""

    name: str
    ours: Callable[[Work], None]
    official: str
    episodes: int = 1


ROWS = (
    Row(name="reset", ours=reset, official="reset"),
    Row(name="replay_calls", ours=replay, official="replay_calls"),
    Row(name="replay_turns", ours=replay, official="replay_turns"),
    Row(name="judge", ours=judge, official="judge"),
    Row(name="judge alone", ours=judge_alone, official="judge"),
    Row(name="end_to_end", ours=play_group, official="end_to_end", episodes=GROUP),
    Row(name="group of 1", ours=play_alone, official="end_to_end"),
)


class OfficialSide:
    """The other process."""

    def __init__(self, works: Sequence[Work], folder: Path) -> None:
        tasks = folder / "tasks.jsonl"
        tasks.write_text("".join(work.as_json() + "\n" for work in works), encoding="utf-8")
        script = Path(__file__).parent / "official" / "answer.py"
        self._process = official_process(
            script, install_official(), folder, arguments=[str(tasks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, measure: str, works: Sequence[Work], **options: int) -> Any:
        """Its answer to one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {"measure": measure, "tasks": [work.task.id for work in works], **options}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the official side failed; its message is above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        with self._process:
            pass


def seconds(work_of: Callable[[Work], None], works: Sequence[Work]) -> float:
    start = clock()
    for work in works:
        work_of(work)
    return (clock() - start) / 1e9


def throughput(works: Sequence[Work], official: OfficialSide, *, rounds: int) -> dict[str, float]:
    # The package imports its classes when a task first needs them.
    official.ask("reset", works)
    print("\nEpisodes per CPU second")
    print(f"{'':14}{'category':14}{'official':>12}{'ours':>12}{'ratio':>9}")
    totals: dict[str, list[tuple[float, float]]] = {row.name: [(0.0, 0.0)] * rounds for row in ROWS}
    for category in Category:
        chosen = [work for work in works if work.task.split == category.value]
        for row in ROWS:
            pairs = []
            for _ in range(rounds):
                theirs = official.ask(row.official, chosen)
                pairs.append((theirs, seconds(row.ours, chosen) / row.episodes))
            _print_row(row.name, category.value.removeprefix("multi_turn_"), pairs, len(chosen))
            totals[row.name] = [(a + c, b + d) for (a, b), (c, d) in zip(totals[row.name], pairs, strict=True)]
    return {f"environment, {name}": _print_row(name, "all four", pairs, len(works)) for name, pairs in totals.items()}


def _print_row(name: str, category: str, pairs: Sequence[tuple[float, float]], episodes: int) -> float:
    theirs, ours = (episodes / statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(their / our for their, our in pairs)
    print(f"{name:14}{category:14}{theirs:12,.0f}{ours:12,.0f}{ratio:8.1f}x", flush=True)
    return ratio


def live(works: Sequence[Work], alive: int, calls: int) -> list[int]:
    """Nanoseconds of single calls, while so many environments are open, which take turns."""
    source, found = (_open(work) for work in itertools.cycle(works)), []
    queue = deque(itertools.islice(source, alive))
    while len(found) < calls:
        environment, pending = queue.popleft()
        text = next(pending, None)
        if text is None:
            queue.append(next(source))
            continue
        start = clock()
        environment.call(parse_call(text))
        found.append(clock() - start)
        queue.append((environment, pending))
    return found


def _open(work: Work) -> tuple[Environment, Iterator[str]]:
    return work.environment(), iter([text for turn in work.task.ground_truth for text in turn])


def latency(works: Sequence[Work], official: OfficialSide, *, calls: int, counts: Sequence[int]) -> None:
    print(f"\nMicroseconds of one call ({calls:,} calls of all categories), by the number of live episodes")
    print(f"{'live':>6}{'official p50':>16}{'p99':>10}{'ours p50':>14}{'p99':>10}{'p50 ratio':>12}{'p99 ratio':>12}")
    # Neighbours are of one category and domain; a step without a common factor mixes them.
    mixed = [works[389 * number % len(works)] for number in range(len(works))]
    for alive in counts:
        theirs = _percentiles(official.ask("live", mixed, alive=alive, calls=calls))
        ours = _percentiles(live(mixed, alive, calls))
        ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
        print(
            f"{alive:6,}{theirs[0]:16.1f}{theirs[1]:10.1f}{ours[0]:14.1f}{ours[1]:10.1f}"
            f"{ratios[0]:11.1f}x{ratios[1]:11.1f}x",
            flush=True,
        )


def _percentiles(nanoseconds: Sequence[int]) -> tuple[float, float]:
    cuts = statistics.quantiles(nanoseconds, n=100)
    return cuts[49] / 1e3, cuts[98] / 1e3


def stretched(work: Work, turns: int, long_context: LongContext) -> Work:
    """The task with its turns repeated up to a number. Repeated calls may fail, on both sides alike."""
    task = work.task
    numbers = [number % task.turns for number in range(turns)]
    repeated = replace(
        task,
        id=f"{task.id}_{turns}",
        user_turns=tuple(task.user_turns[number] for number in numbers),
        ground_truth=tuple(task.ground_truth[number] for number in numbers),
        releases={},
    )
    return make_work(repeated, long_context)


def by_turns(works: Sequence[Work], official: OfficialSide, *, rounds: int, lengths: Sequence[int]) -> None:
    print("\nMicroseconds of one turn, end to end, by the number of turns (base tasks, their turns repeated)")
    print(f"{'turns':>6}{'official':>12}{'ours':>12}{'ratio':>9}")
    for length in lengths:
        chosen = [work for work in works if work.task.id.endswith(f"_{length}")]
        pairs = [(official.ask("end_to_end", chosen), seconds(play_group, chosen) / GROUP) for _ in range(rounds)]
        theirs, ours = (statistics.median(side) * 1e6 / length / len(chosen) for side in zip(*pairs, strict=True))
        print(f"{length:6}{theirs:12.0f}{ours:12.0f}{theirs / ours:8.1f}x", flush=True)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def growth(works: Sequence[Work], official: OfficialSide, *, ours: int, theirs: int) -> None:
    before, after = official.ask("growth", works, episodes=theirs)
    per_episode = (after - before) / theirs
    prepared = [(work, work.prepared()) for work in works]
    source = itertools.cycle(prepared)
    for work, ready in itertools.islice(source, 1000):
        play(work, ready)
    start = resident()
    for work, ready in itertools.islice(source, ours):
        play(work, ready)
    grown = resident() - start
    print("\nGrowth of resident memory")
    print(f"  ours      {grown / MIB:8.1f} MiB over {ours:,} episodes")
    print(
        f"  official  {(after - before) / MIB:8.1f} MiB over {theirs:,} episodes, {per_episode / 1024:.1f} KiB each; "
        f"extrapolated: {per_episode * 100_000 / MIB:,.0f} MiB over 100,000"
    )


def profile(works: Sequence[Work]) -> None:
    """Where the time of an end-to-end episode goes, by the functions' own time."""
    prepared = [(work, work.prepared()) for work in works]
    profiler = cProfile.Profile()
    profiler.enable()
    for work, ready in prepared:
        play(work, ready)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer tasks, rounds and episodes")
    parser.add_argument("--check", action="store_true", help="the first table only")
    parser.add_argument("--json", type=Path, help="where the ratios go")
    parser.add_argument("--profile", action="store_true", help="profile our end-to-end episodes and do nothing else")
    options = parser.parse_args()
    quick = options.quick
    benchmark = read_benchmark(fetch_wheel(ROOT / ".cache" / "wheels"))
    tasks = list(tasks_by_id(benchmark).values())[:: 8 if quick else 1]
    works = [make_work(task, benchmark.long_context) for task in tasks]
    if options.profile:
        profile(works)
        return
    lengths = (4, 16, 64) if quick else (4, 8, 16, 32, 64)
    base = [work for work in works if work.task.split == Category.BASE.value][:: 2 if quick else 5]
    long_ones = [stretched(work, length, benchmark.long_context) for work in base for length in lengths]
    print(f"Python {sys.version.split()[0]}, {len(works)} tasks, medians of CPU time of one process")
    with tempfile.TemporaryDirectory() as folder:
        official = OfficialSide([*works, *long_ones], Path(folder))
        with contextlib.closing(official):
            ratios = throughput(works, official, rounds=2 if quick else 5)
            save(options.json, {}, ratios)
            if options.check:
                return
            counts = (1, 64, 512) if quick else (1, 16, 64, 256, 1024, 4096)
            latency(works, official, calls=2000 if quick else 20_000, counts=counts)
            by_turns(long_ones, official, rounds=2 if quick else 5, lengths=lengths)
            growth(works, official, ours=2000 if quick else 100_000, theirs=400 if quick else 4000)


if __name__ == "__main__":
    main()
