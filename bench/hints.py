"""What hints cost: calls with and without them, as an episode makes them.

`python bench/hints.py` takes half a minute, `--quick` a few seconds. Process CPU time of one thread; for every task the
least of all rounds, since other work on the machine only adds. The calls are those of the leak test: solutions made
wrong in every way, at their place in their task. Each is one assistant message of its own:

    environment    `Environment.call` alone
    step           `Episode.step`: the message is parsed, the call runs, the next message is written
    hint           `HintBook.hint`, what the hint itself takes, in a group whose episodes fail alike
    hint, first    the same for a task that nobody has played before

`failing` are calls that failed and got a hint, `succeeding` are the solutions' own.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The leak test owns the wrong calls.
sys.path.append(str(ROOT / "tests" / "augmentation"))

from perturb import perturbations  # noqa: E402

from env_tuning.augmentation.book import Augmentation, HintBook  # noqa: E402
from env_tuning.augmentation.policy import ON  # noqa: E402
from env_tuning.calls import ToolCall, parse_call  # noqa: E402
from env_tuning.data.bfcl import tasks_by_id  # noqa: E402
from env_tuning.data.demonstrations import name_arguments  # noqa: E402
from env_tuning.data.sources import fetch_wheel, read_benchmark  # noqa: E402
from env_tuning.environments.bfcl.long_context import LongContext  # noqa: E402
from env_tuning.environments.environment import ToolResult  # noqa: E402
from env_tuning.episode import Episode, Rules  # noqa: E402
from env_tuning.prepared_task import PreparedTask, prepare_task  # noqa: E402
from env_tuning.protocols import ThinkAnswer  # noqa: E402
from env_tuning.task import Task  # noqa: E402

CALLS_PER_EPISODE = 20
RULES = Rules(steps_per_turn=10_000)
clock = time.process_time_ns


@dataclass(frozen=True, kw_only=True)
class Work:
    """Calls of the first turn of one task, all of one sort, with their messages and results."""

    prepared: PreparedTask
    book: HintBook
    calls: tuple[ToolCall, ...]
    messages: tuple[str, ...]
    results: tuple[ToolResult, ...]


def make_works(task: Task, padding: LongContext | None) -> Iterator[tuple[str, Work]]:
    """The failing and the succeeding calls of a task; a task whose first turn has no calls gives none."""
    protocol = ThinkAnswer()
    prepared = prepare_task(task, protocol=protocol, long_context=padding)
    book = HintBook(task)
    documents = {tool.name: tool for tool in task.visible_tools(0)}
    right = [name_arguments(parse_call(text), documents[parse_call(text).name]) for text in task.ground_truth[0]]
    wrong = [bad for call in right for bad in perturbations(call, documents[call.name], list(documents)) if bad.name]
    for sort, calls in (("failing", wrong), ("succeeding", right)):
        environment = prepared.environment()
        pairs = [(call, environment.call(call)) for call in calls]
        # Failures alone leave the world as it was, so they fail alike whenever they are repeated.
        failing = [(call, result) for call, result in pairs if book.hint(0, call, result) is not None]
        chosen = failing[:: max(1, len(failing) // CALLS_PER_EPISODE)] if sort == "failing" else pairs
        if chosen:
            kept = tuple(call for call, _ in chosen)
            yield (
                sort,
                Work(
                    prepared=prepared,
                    book=book,
                    calls=kept,
                    messages=tuple(protocol.write_calls([call], "I call.") for call in kept),
                    results=tuple(result for _, result in chosen),
                ),
            )


def episode(work: Work, *, hints: bool) -> Callable[[], None]:
    """Steps of a fresh episode."""
    played = Episode(work.prepared, RULES, Augmentation(work.book, ON, episode="bench") if hints else None)

    def run() -> None:
        for message in work.messages:
            played.step(message)

    return run


def environment(work: Work) -> Callable[[], None]:
    """Calls in a fresh environment."""
    fresh = work.prepared.environment()

    def run() -> None:
        for call in work.calls:
            fresh.call(call)

    return run


def hint(work: Work, book: HintBook) -> Callable[[], None]:
    """Hints of known results."""

    def run() -> None:
        for call, result in zip(work.calls, work.results, strict=True):
            book.hint(0, call, result)

    return run


def measure(works: list[Work], rounds: int) -> dict[str, float]:
    """Per row, microseconds of a call."""
    rows: dict[str, Callable[[Work], Callable[[], None]]] = {
        "environment": environment,
        "step, no hints": lambda work: episode(work, hints=False),
        "step, hints": lambda work: episode(work, hints=True),
        "hint": lambda work: hint(work, work.book),
        "hint, first": lambda work: hint(work, HintBook(work.prepared.task)),
    }
    spent = dict.fromkeys(rows, 0)
    for work in works:
        least: dict[str, int] = {}
        for _ in range(rounds):
            for name, make in rows.items():
                run = make(work)
                start = clock()
                run()
                least[name] = min(clock() - start, least.get(name, 10**12))
        spent = {name: total + least[name] for name, total in spent.items()}
    calls = sum(len(work.calls) for work in works)
    return {name: total / calls / 1e3 for name, total in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer tasks and rounds")
    quick = parser.parse_args().quick
    benchmark = read_benchmark(fetch_wheel(ROOT / ".cache" / "wheels"))
    works: dict[str, list[Work]] = {"failing": [], "succeeding": []}
    for task in list(tasks_by_id(benchmark).values())[:: 16 if quick else 4]:
        for sort, work in make_works(task, benchmark.long_context if task.long_context else None):
            works[sort].append(work)
    # The tasks stay: without this, whichever side allocates past a threshold pays for walking over all of them.
    gc.collect()
    gc.freeze()
    rows = {sort: measure(chosen, rounds=10 if quick else 30) for sort, chosen in works.items()}
    print(f"Python {sys.version.split()[0]}, microseconds of a call, CPU time")
    print("".join(f"{name:>18}" for name in ("", *works)))
    print(
        "".join(f"{text:>18}" for text in ("calls", *(f"{sum(len(w.calls) for w in ws):,}" for ws in works.values())))
    )
    for name in rows["failing"]:
        print(f"{name:>18}" + "".join(f"{figures[name]:18.2f}" for figures in rows.values()))
    for failing in (1.0, 0.5, 0.3, 0.1, 0.0):
        plain, hinted = (
            failing * rows["failing"][name] + (1 - failing) * rows["succeeding"][name]
            for name in ("step, no hints", "step, hints")
        )
        print(f"overhead of hints in a step, {failing:.0%} of the calls failing: {hinted / plain - 1:+.1%}")


if __name__ == "__main__":
    main()
