"""The AST check says of every call what the benchmark's own says, right ones and spoilt ones alike."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from official import HERE, official_process

from env_tuning.calls import ToolCall
from env_tuning.metrics.ast_match import calls_fault
from env_tuning.task import tool_docs

CATEGORIES = (
    *("simple_python", "multiple", "parallel", "parallel_multiple"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
)
SPOILT = 6
"""Spoilt answers for every question."""


def questions(official: Path) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    data = official / "bfcl_eval" / "data"
    for category in CATEGORIES:
        asked, answers = (
            [json.loads(line) for line in (folder / f"BFCL_v4_{category}.json").read_text("utf-8").splitlines()]
            for folder in (data, data / "possible_answer")
        )
        for question, answer in zip(asked, answers, strict=True):
            yield category, question, answer["ground_truth"]


def one_of(values: list[Any], dice: random.Random) -> Any:
    value = dice.choice([value for value in values if value != ""] or [""])
    if isinstance(value, list):
        return [one_dictionary(item, dice) if isinstance(item, dict) else item for item in value]
    return one_dictionary(value, dice) if isinstance(value, dict) else value


def one_dictionary(accepted: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """A dictionary lists the values of its keys, and those stand as they are."""
    lists = {key: items if isinstance(items, list) else [items] for key, items in accepted.items()}
    return {key: dice.choice(items) for key, items in lists.items() if "" not in items or dice.random() < 0.5}


def right_calls(possible: list[dict[str, Any]], dice: random.Random) -> list[dict[str, Any]]:
    calls = []
    for answer in possible:
        ((name, accepted),) = answer.items()
        given = {
            key: one_of(values, dice) for key, values in accepted.items() if "" not in values or dice.random() < 0.5
        }
        calls.append({name: given})
    return calls


def spoil(calls: list[dict[str, Any]], functions: list[dict[str, Any]], dice: random.Random) -> list[dict[str, Any]]:
    """The calls with one or two things changed, some of which a lenient check lets pass."""
    calls = copy.deepcopy(calls)
    for _ in range(dice.choice((1, 1, 2))):
        kind = dice.randrange(9)
        if not calls or kind == 0:
            calls.append({dice.choice(functions)["name"]: {}})
            continue
        at = dice.randrange(len(calls))
        (given,) = calls[at].values()
        if kind == 1:
            del calls[at]
        elif kind == 2:
            dice.shuffle(calls)
        elif kind == 3:
            calls[at] = {dice.choice([*(function["name"] for function in functions), "no_such"]): given}
        elif kind == 4:
            given[dice.choice(["extra", *(key for f in functions for key in f["parameters"]["properties"])])] = "1"
        elif given:
            key = dice.choice(sorted(given))
            if kind == 8:
                del given[key]
            else:
                given[key] = changed(given[key], dice)
    return calls


def changed(value: Any, dice: random.Random) -> Any:
    if isinstance(value, str) and dice.random() < 0.6:
        return dice.choice(
            (value.upper(), f" {value}. ", value.replace(" ", "_"), value.replace("'", '"'), value + "x")
        )
    if isinstance(value, list) and value and dice.random() < 0.6:
        at = dice.randrange(len(value))
        return dice.choice((value[::-1], value[:-1], [*value[:at], changed(value[at], dice), *value[at + 1 :]], []))
    if isinstance(value, dict) and value and dice.random() < 0.7:
        key = dice.choice(sorted(value))
        less = {name: item for name, item in value.items() if name != key}
        return dice.choice(({**value, key: changed(value[key], dice)}, {**value, "more": 1}, less))
    if isinstance(value, int | float) and dice.random() < 0.6:
        return dice.choice((value + 1, -value, float(value), int(value), not value))
    return dice.choice(("", "words", 0, 1, 1.0, True, None, [], {}, ["a"], [1], [{}], {"a": 1}, str(value)))


@pytest.mark.slow
def test_the_ast_check_agrees_with_the_benchmarks(official: Path, tmp_path: Path) -> None:
    dice = random.Random(7)
    cases = []
    for category, question, possible in questions(official):
        right = right_calls(possible, dice)
        for calls in (right, *(spoil(right, question["function"], dice) for _ in range(SPOILT))):
            cases.append((category, question, possible, calls, calls is right))
    script, lines = HERE / "official_ast.py", tmp_path / "cases.jsonl"
    with lines.open("w", encoding="utf-8") as file:
        for category, question, possible, calls, _ in cases:
            asked = {"functions": question["function"], "calls": calls, "possible": possible, "category": category}
            file.write(json.dumps(asked) + "\n")
    with (
        lines.open(encoding="utf-8") as file,
        official_process(script, official, tmp_path, stdin=file, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        theirs = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0, "the official package failed; its message is above"
    counts: Counter[str] = Counter()
    different = []
    for (_, question, possible, calls, is_right), official_answer in zip(cases, theirs, strict=True):
        made = [ToolCall(name=name, arguments=given) for call in calls for name, given in call.items()]
        fault = calls_fault(made, possible, tool_docs(question["function"]))
        if official_answer["valid"] is None:
            counts["their checker raises"] += 1
            assert fault is not None, (question["id"], calls, official_answer)
        elif official_answer["valid"] is not (fault is None):
            different.append((question["id"], calls, possible, fault, official_answer))
        counts[f"right as made {is_right}, valid {official_answer['valid']}"] += 1
    assert not different, f"{len(different)} of {len(cases)}: {different[:5]}"
    assert counts["right as made False, valid True"] > 1000, "too few harmless changes to hold what is lenient"
    assert counts["right as made False, valid False"] > 5000
