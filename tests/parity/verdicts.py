"""Verdicts on damaged solutions: ours in official mode, and the official checker's.

`python tests/parity/verdicts.py --episodes 20000 --seed 1` prints what it compared. The same seed makes the same
episodes.

Every episode is the reference solution of one of the 800 tasks after up to four changes: calls dropped, doubled,
reordered, moved to another turn, given other arguments, calls added that do nothing or anything, turns emptied, steps
without calls. One in twenty is left as it is.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpora import Script, ground_truth
from deviations import is_rewritten
from official import ROOT, ask_official, install_official, open_environment

from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.bfcl import tasks_by_id
from env_tuning.data.sources import Benchmark, fetch_wheel, read_benchmark
from env_tuning.judge import TwinTurn, official_verdict, replay_ground_truth

HARMLESS: Mapping[str, tuple[str, ...]] = {
    "GorillaFileSystem": ("pwd()", "ls()", "ls(a=True)", "du()", "find()"),
    "MathAPI": ("add(a=1, b=2)", "mean(numbers=[1, 2])"),
    "MessageAPI": ("list_users()", "message_get_login_status()", "get_message_stats()"),
    "TwitterAPI": ("posting_get_login_status()", "list_all_following()"),
    "TicketAPI": ("ticket_get_login_status()", "get_ticket(ticket_id=1)"),
    "TradingBot": ("get_current_time()", "get_watchlist()", "get_account_info()", "get_order_history()"),
    "TravelAPI": ("list_all_airports()", "get_budget_fiscal_year()", "travel_get_login_status()"),
    "VehicleControlAPI": ("check_tire_pressure()", "displayCarStatus(option='fuel')", "find_nearest_tire_shop()"),
}
ODD_ARGUMENTS = (None, "", "other", 0, 1, -1, 2.5, True, [], ["other"], {})

Turns = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class DamagedEpisode:
    """Calls to judge against a task's reference: per turn, per step."""

    id: str
    script: Script
    turns: tuple[tuple[tuple[str, ...], ...], ...]
    changes: tuple[str, ...]

    @property
    def is_rewritten(self) -> bool:
        """Whether the official package would change a text inside of the calls on either side."""
        ours = (text for turn in self.turns for step in turn for text in step)
        return any(map(is_rewritten, (*ours, *(text for turn in self.script.turns for text in turn))))

    def request(self) -> dict:
        """The episode as `official_runner.py` reads it."""
        return {
            "id": self.id,
            "task_id": self.script.id,
            "initial_config": self.script.initial_config,
            "classes": self.script.classes,
            "ground_truth": self.script.turns,
            "turns": self.turns,
        }


@dataclass(kw_only=True)
class Report:
    """How many episodes were judged, with which outcome, and where the two sides disagree."""

    episodes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)
    different_after_rewriting: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    rewritten: int = 0


def damaged_episodes(benchmark: Benchmark, *, seed: int, episodes: int) -> Iterator[DamagedEpisode]:
    """So many episodes; every task comes up equally often."""
    scripts = ground_truth(benchmark)
    pools = _call_pools(benchmark)
    for number in range(episodes):
        dice = random.Random(f"{seed} {number}")
        # 389 and 800 have no common factor, and neighbours in the list are of one domain.
        script = scripts[389 * number % len(scripts)]
        turns: Turns = [list(calls) for calls in script.turns]
        changes = []
        for _ in range(0 if number % 20 == 0 else dice.choice((1, 1, 1, 2, 2, 4))):
            name = dice.choice(list(CHANGES))
            CHANGES[name](turns, script, pools, dice)
            changes.append(name)
        yield DamagedEpisode(
            id=f"{script.id}_damaged_{seed}_{number}",
            script=script,
            turns=tuple(tuple(_steps(calls, dice)) for calls in turns),
            changes=tuple(changes),
        )


def judge_ours(episode: DamagedEpisode, benchmark: Benchmark, twin: Sequence[TwinTurn]) -> tuple:
    """Whether valid, the official name of the error, and its turn."""
    calls = [[[parse_call(text) for text in step] for step in turn] for turn in episode.turns]
    verdict = official_verdict(open_environment(episode.script, benchmark), twin, calls)
    return verdict.valid, verdict.error_type, verdict.failed_turn


def compare(episodes: Sequence[DamagedEpisode], benchmark: Benchmark, official: Path) -> Report:
    """Judge episodes on both sides."""
    report = Report()
    tasks = tasks_by_id(benchmark)
    twins: dict[str, tuple[TwinTurn, ...]] = {}
    answers = ask_official((episode.request() for episode in episodes), official)
    for episode, theirs in zip(episodes, answers, strict=True):
        assert theirs["id"] == episode.id
        task = tasks[episode.script.id]
        if task.id not in twins:
            twins[task.id] = replay_ground_truth(task.ground_truth, open_environment(episode.script, benchmark))
        ours = judge_ours(episode, benchmark, twins[task.id])
        report.episodes += 1
        report.changes.update(episode.changes or ("none",))
        report.rewritten += episode.is_rewritten
        report.outcomes[ours[1] or "valid"] += 1
        if "raised" in theirs or "failure" in theirs:
            report.raised.append(f"{episode.id}: {theirs}, ours {ours}")
        elif ours != (theirs["valid"], theirs["error_type"], theirs["turn"]):
            different = report.different_after_rewriting if episode.is_rewritten else report.different
            different.append(f"{episode.id} ({', '.join(episode.changes)}): ours {ours}, theirs {theirs}")
    return report


def _steps(calls: Sequence[str], dice: random.Random) -> Iterator[tuple[str, ...]]:
    """The calls of a turn spread over steps, some of them empty."""
    place = 0
    while place < len(calls):
        size = dice.randint(1, 3)
        yield tuple(calls[place : place + size])
        place += size
        if dice.random() < 0.03:
            yield ()
    if not calls:
        yield from dice.choice(([], [()], [(), ()]))


@dataclass(frozen=True, kw_only=True)
class _Pools:
    """Calls of all ground truth, by the class of their tool and by the tool's name."""

    by_class: Mapping[str, Sequence[str]]
    by_tool: Mapping[str, Sequence[ToolCall]]


def _call_pools(benchmark: Benchmark) -> _Pools:
    class_of = {doc.name: name for name, docs in benchmark.tool_docs.items() for doc in docs}
    by_class: dict[str, list[str]] = {name: [] for name in benchmark.tool_docs}
    by_tool: dict[str, list[ToolCall]] = {name: [] for name in class_of}
    for script in ground_truth(benchmark):
        for text in (text for turn in script.turns for text in turn):
            call = parse_call(text)
            by_class[class_of[call.name]].append(text)
            by_tool[call.name].append(call)
    return _Pools(by_class=by_class, by_tool=by_tool)


def _turn_with_calls(turns: Turns, dice: random.Random) -> list[str]:
    return dice.choice([turn for turn in turns if turn] or [[]])


def _drop(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    if turn := _turn_with_calls(turns, dice):
        del turn[dice.randrange(len(turn))]


def _double(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    if turn := _turn_with_calls(turns, dice):
        place = dice.randrange(len(turn))
        turn.insert(dice.randint(place, len(turn)), turn[place])


def _reorder(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    dice.shuffle(dice.choice([turn for turn in turns if len(turn) > 1] or [[]]))


def _move(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    if turn := _turn_with_calls(turns, dice):
        text = turn.pop(dice.randrange(len(turn)))
        target = dice.choice(turns)
        target.insert(dice.randint(0, len(target)), text)


def _change_argument(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    if turn := _turn_with_calls(turns, dice):
        place = dice.randrange(len(turn))
        call = parse_call(turn[place])
        other = dice.choice(pools.by_tool[call.name] or (call,))
        arguments = dict(call.arguments)
        if arguments and dice.random() < 0.7:
            name = dice.choice(list(arguments))
            arguments[name] = dice.choice((other.arguments.get(name), *ODD_ARGUMENTS))
        else:
            call, arguments = other, dict(other.arguments)
        turn[place] = str(replace(call, arguments=arguments))


def _add_harmless(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    turn = dice.choice(turns)
    turn.insert(dice.randint(0, len(turn)), dice.choice(HARMLESS[dice.choice(script.classes)]))


def _add_any(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    turn = dice.choice(turns)
    turn.insert(dice.randint(0, len(turn)), dice.choice(pools.by_class[dice.choice(script.classes)]))


def _empty(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    dice.choice(turns).clear()


def _swap(turns: Turns, script: Script, pools: _Pools, dice: random.Random) -> None:
    a, b = dice.randrange(len(turns)), dice.randrange(len(turns))
    turns[a], turns[b] = turns[b], turns[a]


CHANGES: Mapping[str, Callable[[Turns, Script, _Pools, random.Random], None]] = {
    "drop": _drop,
    "double": _double,
    "reorder": _reorder,
    "move": _move,
    "change argument": _change_argument,
    "add harmless": _add_harmless,
    "add any": _add_any,
    "empty": _empty,
    "swap turns": _swap,
}


def describe(report: Report) -> Iterator[str]:
    """Lines for a person."""
    yield f"{report.episodes} episodes: {len(report.different)} verdicts differ"
    yield f"  outcomes: {dict(report.outcomes.most_common())}"
    yield f"  changes: {dict(report.changes.most_common())}"
    yield f"  the official checker raised or ran too long (not compared): {len(report.raised)}"
    yield (
        f"  with a text that the package rewrites: {report.rewritten}, "
        f"of which {len(report.different_after_rewriting)} verdicts differ"
    )
    yield from report.different[:10]
    yield from report.different_after_rewriting[:3]
    yield from report.raised[:3]


def main() -> None:
    """Run from the command line; exits with 1 if verdicts differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    benchmark, official = read_benchmark(fetch_wheel(ROOT / ".cache" / "wheels")), install_official()
    episodes = list(damaged_episodes(benchmark, seed=options.seed, episodes=options.episodes))
    report = compare(episodes, benchmark, official)
    print(*describe(report), sep="\n")
    sys.exit(bool(report.different))


if __name__ == "__main__":
    main()
