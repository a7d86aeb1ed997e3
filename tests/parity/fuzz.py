"""Differential fuzzer: chains of random and hostile calls, on our tool classes and on the official package.

`python tests/parity/fuzz.py --calls 100000 --seed 1` prints what it compared and, for every kind of difference, a
minimal chain that shows it. The same seed makes the same calls (of the same tool classes).

A chain has 5 to 40 calls from the initial state of one of the 800 tasks. Some are of the task's own solution, so that
logins happen and files exist, some are those with one argument changed. The others take any tool of the task's
classes; their arguments come from ground truth, from configurations and from the constants in the official source
(which its branches compare with), or are of the wrong type, too few, too many, positional, nested, empty or huge.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corpora import Script, leaves, task_script
from deviations import left_out
from official import ROOT, differences, install_official, is_error, open_environment, run_official, run_ours

from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.bfcl import tasks_by_id
from env_tuning.data.sources import TOOL_DOC_FILES, Benchmark, fetch_wheel, read_benchmark
from env_tuning.environments.environment import Environment
from env_tuning.task import Task, ToolDoc

TOOL_SOURCES = Path("bfcl_eval/eval_checker/multi_turn_eval/func_source_code")
LENGTH = (5, 40)
CALLS_PER_TURN = (1, 6)
BATCH = 500


class Literal:
    """A value that is written as Python source and not as its `repr`."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __repr__(self) -> str:
        return self.source


INFINITY = Literal("1e999")
ODD_NUMBERS = (0, 1, -1, 2, 7, 100, 999, -0.0, 0.5, -1.5, 99.99, 1e-9, 1e300, True, False, 2**63, -(10**30), INFINITY)
ODD_TEXTS = (
    *("", " ", "é", "日本語", "😀", "\ud800", "\x00", "\n", "a\nb\r\nc", "\t", "'", '"', "\\", "\\n", "%s"),
    *("{}", "{0}", "/", ".", "..", "../", "a/b", "/a", "~", "*", "?", "-", "-1", "0", "1", "1.5", "null", "None"),
    *("True", "nan"),
    *("no such thing", "NO SUCH THING", "2024-01-01", "2024-13-45", "Open", "START", "USD", "x" * 3000, "ab c\n" * 700),
)
ODD_LISTS = (
    *([], [None], [""], ["x"], [0], [1, 2, 3], [1.5, -2], [True], [[]], [[1, [2, [3]]]], [{}], [{"k": [1]}], ["a", 1]),
    *(list(range(100)), ["x"] * 100, [[[[[[[[]]]]]]]], (1, 2), ("x",), ()),
)
ODD_OBJECTS = (
    *({}, {"k": 1}, {"k": {"k": {"k": []}}}, {1: 2}, {"": ""}, {"title": "t"}, {"status": "Open", "priority": 9}),
    *({"id": 1, "title": "t"}, {"no": 1, "such": 2, "field": 3}, {"title": None}, dict.fromkeys(map(str, range(300)))),
)
ODD_LITERALS = tuple(map(Literal, ("1j", "b'x'", "{1}", "set()", "...", "0x10", "1_000", "'a' 'b'", "- 1", "1 + 2j")))
ODD_VALUES = (None, *ODD_NUMBERS, *ODD_TEXTS, *ODD_LISTS, *ODD_OBJECTS, *ODD_LITERALS)
ODD_BY_TYPE: Mapping[str, Sequence[Any]] = {
    "string": ODD_TEXTS,
    "integer": ODD_NUMBERS,
    "float": ODD_NUMBERS,
    "number": ODD_NUMBERS,
    "boolean": (True, False, 0, 1, "", "true"),
    "array": ODD_LISTS,
    "dict": ODD_OBJECTS,
}
NO_TOOLS = (
    *("no_such_tool", "lss", "Cd", "_load_scenario", "_random", "describe", "snapshot", "public_state", "root", "é"),
)


@dataclass(frozen=True, kw_only=True)
class Known:
    """Values that the benchmark itself uses.

    Attributes:
        tools: every tool's document, by name.
        arguments: tool and parameter to the values that ground truth gives it.
        by_parameter: the same by the parameter's name alone.
        constants: a tool's name to texts and numbers in its official source.
    """

    tools: Mapping[str, ToolDoc]
    arguments: Mapping[tuple[str, str], Sequence[Any]]
    by_parameter: Mapping[str, Sequence[Any]]
    constants: Mapping[str, Sequence[Any]]


@dataclass(kw_only=True)
class Report:
    """What was compared and what differs: scripts with the lines that say how."""

    calls: int = 0
    errors: int = 0
    scripts: int = 0
    too_slow: list[str] = field(default_factory=list)
    calls_of: Counter[str] = field(default_factory=Counter)
    different: list[tuple[Script, list[str]]] = field(default_factory=list)


def known_values(tasks: Sequence[Task], official: Path) -> Known:
    """Collect the arguments of all ground truth, positional ones under their parameter's name, and the constants."""
    tools = {tool.name: tool for task in tasks for tool in task.tools}
    arguments: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    by_parameter: defaultdict[str, list[Any]] = defaultdict(list)
    for text in itertools.chain.from_iterable(itertools.chain.from_iterable(task.ground_truth for task in tasks)):
        call = parse_call(text)
        names = tools[call.name].parameters["properties"]
        for name, value in (*zip(names, call.positional, strict=False), *call.arguments.items()):
            arguments[call.name, name].append(value)
            by_parameter[name].append(value)
    constants: dict[str, Sequence[Any]] = {}
    for file in TOOL_DOC_FILES.values():
        # A class's documents are in a file of the same name as its source.
        module = ast.parse((official / TOOL_SOURCES / f"{Path(file).stem}.py").read_text(encoding="utf-8"))
        everywhere = _constants(module)
        for function in ast.walk(module):
            if isinstance(function, ast.FunctionDef) and function.name in tools:
                own = _constants(function)
                # As many of the tool's own as of all others, so that two that belong together can meet.
                constants[function.name] = own * (1 + len(everywhere) // (len(own) or 1)) + everywhere
    return Known(tools=tools, arguments=arguments, by_parameter=by_parameter, constants=constants)


def _constants(source: ast.AST) -> list[Any]:
    """Numbers and short texts in a piece of source, each once; of ``km_to_miles`` the parts too."""
    values = [node.value for node in ast.walk(source) if isinstance(node, ast.Constant)]
    texts = {text for text in values if isinstance(text, str) and len(text) < 30 and text.count(" ") < 2}
    texts |= {part for text in texts for part in text.split("_to_")}
    numbers = {(type(value), value) for value in values if isinstance(value, int | float)}
    return sorted(texts) + sorted((value for _, value in numbers), key=repr)


def chains(benchmark: Benchmark, official: Path, *, seed: int, calls: int) -> Iterator[Script]:
    """Scripts of at least so many calls together; every task's world comes up equally often."""
    tasks = list(tasks_by_id(benchmark).values())
    known = known_values(tasks, official)
    made = 0
    for number in itertools.count():
        if made >= calls:
            return
        dice = random.Random(f"{seed} {number}")
        # 389 and 800 have no common factor, and neighbours in the list are of one domain.
        task = tasks[389 * number % len(tasks)]
        texts = list(itertools.islice(_chain(task, benchmark, known, dice), dice.randint(*LENGTH)))
        made += len(texts)
        turns = []
        while texts:
            size = dice.randint(*CALLS_PER_TURN)
            turns.append(tuple(texts[:size]))
            texts = texts[size:]
        yield replace(task_script(task), id=f"{task.id}_fuzz_{seed}_{number}", turns=tuple(turns))


def _chain(task: Task, benchmark: Benchmark, known: Known, dice: random.Random) -> Iterator[str]:
    """Comparable calls without end. They run here too, on our side, to know what is there to be named."""
    solution = [call for turn in task.ground_truth for call in turn]
    own = [parse_call(text) for text in solution]
    share = dice.choice((0.0, 0.2, 0.5))
    configured = list(leaves(task.initial_config))
    environment = open_environment(task_script(task), benchmark)
    for number in itertools.count():
        if number % 4 == 0:
            present = _present(environment)
            around = [*configured, *dice.choices(present or configured, k=3 * len(configured))]
        source = dice.random()
        if solution and source < share:
            text = solution.pop(0)
        elif own and source > 0.8:
            text = str(_changed(dice.choice(own), known, around, dice))
        else:
            text = str(_call(task, known, around, dice))
        if left_out(text) is None:
            environment.call(parse_call(text))
            yield text


def _present(environment: Environment) -> list[str]:
    """Names of files, directories, cards, orders and the like; those in the current directory most often."""
    names = [name for tools in environment.tool_classes.values() for name in _keys_of_records(tools.describe())]
    if "ls" in environment.tool_names:
        here = json.loads(environment.call(ToolCall(name="ls", arguments={"a": True})).text)
        names += here["current_directory_content"][:20] * 3
    return names


def _keys_of_records(value: Any) -> Iterator[str]:
    """Names of files and directories, ids of cards, orders and the like."""
    if isinstance(value, dict):
        yield from (key for key, part in value.items() if isinstance(part, dict))
        for part in value.values():
            yield from _keys_of_records(part)


def _changed(call: ToolCall, known: Known, around: Sequence[Any], dice: random.Random) -> ToolCall:
    """A call with one argument replaced, or with one that it did not have."""
    properties = known.tools[call.name].parameters["properties"]
    if not properties:
        return call
    name = dice.choice(list(properties))
    value = _value(call.name, name, properties[name], known, around, dice)
    return replace(call, arguments={**call.arguments, name: value})


def _call(task: Task, known: Known, around: Sequence[Any], dice: random.Random) -> ToolCall:
    tool = dice.choice(task.tools)
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", ())
    arguments = {
        name: _value(tool.name, name, schema, known, around, dice)
        for name, schema in properties.items()
        if name in required or dice.random() < 0.4
    }
    name, positional = tool.name, []
    if dice.random() < 0.02:
        name = dice.choice((*NO_TOOLS, *known.tools))
    fault = dice.random()
    if fault < 0.06 and arguments:
        del arguments[dice.choice(list(arguments))]
    elif fault < 0.10:
        arguments[dice.choice(("unheard_of", "self", "é", *known.by_parameter))] = dice.choice(ODD_VALUES)
    elif fault < 0.20:
        positional = [arguments.pop(name) for name in list(arguments)[: dice.randint(0, 3)]]
    elif fault < 0.22:
        positional = [dice.choice(ODD_VALUES) for _ in range(dice.randint(1, 8))]
    return ToolCall(name=name, arguments=arguments, positional=tuple(positional))


def _value(
    tool: str, name: str, schema: Mapping[str, Any], known: Known, around: Sequence[Any], dice: random.Random
) -> Any:
    """A value for a parameter: six in ten are likely to fit."""
    type_name = schema.get("type", "")
    source = dice.random()
    if source < 0.35:
        return dice.choice(known.arguments.get((tool, name)) or known.by_parameter.get(name) or known.constants[tool])
    if source < 0.8:
        pool = around if source < 0.55 else known.constants[tool]
        value = next((value for value in dice.choices(pool, k=8) if _fits(value, type_name)), pool[0])
        return [value] if type_name == "array" else value
    if source < 0.9:
        return dice.choice(ODD_BY_TYPE.get(type_name, ODD_VALUES))
    return dice.choice(ODD_VALUES)


def _fits(value: Any, type_name: str) -> bool:
    if type_name == "string":
        return isinstance(value, str)
    return not isinstance(value, str) or type_name == "array"


def compare(scripts: Iterator[Script], benchmark: Benchmark, official: Path, *, stop_after: int = 40) -> Report:
    """Run scripts on both sides, batch by batch; ends early when many differ."""
    report = Report()
    while (batch := list(itertools.islice(scripts, BATCH))) and len(report.different) < stop_after:
        for script, theirs in zip(batch, run_official(batch, official), strict=True):
            assert theirs["id"] == script.id
            if "failure" in theirs:
                report.too_slow.append(script.id)
                continue
            found = list(differences(run_ours(script, benchmark), theirs))
            if found:
                report.different.append((script, found))
            report.scripts += 1
            report.calls += script.calls
            report.errors += sum(is_error(result) for turn in theirs["turns"] for result in turn["results"])
            report.calls_of.update(text.partition("(")[0] for turn in script.turns for text in turn)
    return report


def shrink(script: Script, benchmark: Benchmark, official: Path) -> tuple[Script, list[str]]:
    """A chain with as few calls as can be found that still differs, one call per turn, and how it differs."""

    def first_different(candidates: list[Script]) -> tuple[Script, list[str]] | None:
        for candidate, theirs in zip(candidates, list(run_official(candidates, official)), strict=True):
            found = [] if "failure" in theirs else list(differences(run_ours(candidate, benchmark), theirs))
            if found:
                return candidate, found
        return None

    return _fewer([text for turn in script.turns for text in turn], script, first_different)


def _fewer(
    calls: list[str], script: Script, first_different: Callable[[list[Script]], tuple[Script, list[str]] | None]
) -> tuple[Script, list[str]]:
    def of(texts: Sequence[str]) -> Script:
        return replace(script, turns=tuple((text,) for text in texts))

    # The shortest beginning that differs; then, again and again, one call less.
    best = first_different([of(calls[:size]) for size in range(1, len(calls) + 1)])
    assert best is not None, f"{script.id} differs only once: is one side not deterministic?"
    while True:
        calls = [text for turn in best[0].turns for text in turn]
        fewer = first_different([of(calls[:at] + calls[at + 1 :]) for at in range(len(calls)) if len(calls) > 1])
        if fewer is None:
            return best
        best = fewer


def describe(report: Report, benchmark: Benchmark, official: Path, *, shown: int = 6) -> Iterator[str]:
    """Lines for a person: the counts and, per tool whose call differs first, one minimal chain."""
    tools = [doc.name for docs in benchmark.tool_docs.values() for doc in docs]
    yield (
        f"{report.calls} calls in {report.scripts} episodes, {report.errors} of them errors; {len(tools)} tools, each "
        f"called at least {min(report.calls_of[name] for name in tools)} times; {len(report.different)} episodes differ"
    )
    if report.too_slow:
        yield f"too slow in the official package, not compared: {', '.join(report.too_slow)}"
    seen: set[str] = set()
    for script, _ in report.different:
        if len(seen) == shown:
            break
        minimal, lines = shrink(script, benchmark, official)
        last = minimal.turns[-1][0].partition("(")[0]
        if last in seen:
            continue
        seen.add(last)
        yield f"\n{minimal.id}, long_context={minimal.long_context}:"
        yield from (f"  {turn[0][:300]}" for turn in minimal.turns)
        yield from lines[:2]


def main() -> None:
    """Run from the command line; exits with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shown", type=int, default=6, help="minimal chains to show")
    options = parser.parse_args()
    benchmark, official = read_benchmark(fetch_wheel(ROOT / ".cache" / "wheels")), install_official()
    report = compare(chains(benchmark, official, seed=options.seed, calls=options.calls), benchmark, official)
    for line in describe(report, benchmark, official, shown=options.shown):
        print(line)
    sys.exit(bool(report.different))


if __name__ == "__main__":
    main()
