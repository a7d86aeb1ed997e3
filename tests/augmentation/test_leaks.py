"""No hint gives the solution away: every task's solution, called wrongly in every way we can think of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from perturb import perturbations

from env_tuning.augmentation.book import HintBook
from env_tuning.augmentation.leaks import LeakCheck
from env_tuning.calls import ToolCall, parse_call
from env_tuning.data.demonstrations import name_arguments
from env_tuning.data.prepare import LONG_CONTEXT
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.environments.environment import CallStatus, Environment, unknown_tool
from env_tuning.environments.registry import make_environment
from env_tuning.task import Task


@dataclass
class Findings:
    """What came out of all the calls."""

    failures: int = 0
    hinted: int = 0
    violations: list[str] = field(default_factory=list)
    rules: Counter = field(default_factory=Counter)
    silent: Counter = field(default_factory=Counter)


@pytest.fixture(scope="module")
def findings(tasks: dict[str, Task], processed_data: Path) -> Findings:
    """Every wrong call in three worlds: where it belongs, at the start of the task, and with nothing configured."""
    padding = LongContext.load(processed_data / LONG_CONTEXT)
    found = Findings()
    for task in tasks.values():
        _search(task, padding if task.long_context else None, found)
    return found


def _search(task: Task, padding: LongContext | None, found: Findings) -> None:
    book, check = HintBook(task), LeakCheck(task)
    documents = {tool.name: tool for tool in task.tools}
    names = list(documents)
    turns = [
        [name_arguments(call, documents[call.name]) for call in map(parse_call, calls)] for calls in task.ground_truth
    ]
    checked: set[tuple[int, str]] = set()

    def look(environment: Environment, turn: int, call: ToolCall) -> None:
        hidden = call.name in held_back
        result = unknown_tool(call.name) if hidden else environment.call(call)
        hint = book.hint(turn, call, result)
        failed = result.status is not CallStatus.OK
        found.failures += failed
        if hint is None:
            if failed:
                found.silent[f"{call.name}: {result.text[:100]}"] += 1
            return
        found.hinted += failed
        found.rules[hint.rule] += 1
        # The sentence of a rule is checked once a turn, against less than what the model has seen.
        if (turn, hint.text) in checked:
            return
        seen = (*task.user_turns[: turn + 1], str(call))
        problems = check.violations(hint.text, turn, seen)
        if problems:
            found.violations += [f"{hint.rule} in {task.id}, turn {turn}, after {call}: {why}" for why in problems]
        else:
            checked.add((turn, hint.text))

    replayed = make_environment(task.tool_classes, task.initial_config, padding)
    done: list[str] = []
    for turn, calls in enumerate(turns):
        held_back = task.held_back(turn)
        here = make_environment(task.tool_classes, task.initial_config, padding)
        for text in done:
            here.call(parse_call(text))
        worlds = [here, replayed]
        if turn == 0:
            worlds = [here, make_environment(task.tool_classes, "{}", padding)]
        early = turns[turn + 1] if turn + 1 < len(turns) else []
        for right in [*calls, *early]:
            for number, wrong in enumerate(perturbations(right, documents[right.name], names)):
                look(worlds[number % 2], turn, wrong)
                if number == 0:
                    look(worlds[1], turn, wrong)
        done += task.ground_truth[turn]


def test_no_hint_gives_away_a_solution_or_a_tool_that_is_held_back(findings: Findings):
    assert not findings.violations, "\n".join(sorted(findings.violations)[:20])


def test_nearly_every_failure_gets_a_hint(findings: Findings):
    assert findings.failures > 100_000
    assert findings.hinted / findings.failures > 0.999, findings.silent.most_common(30)
