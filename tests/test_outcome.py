"""When the same command has nothing left to do, and when it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from env_tuning.curriculum.gate import Decision, GateSettings, Verdict
from env_tuning.outcome import (
    OUTCOME_FILE,
    Outcome,
    discard_outcome,
    read_outcome,
    step_limit,
    still_holds,
    write_outcome,
)


def ended(verdict: Verdict, step: int = 10, total: int = 40) -> Outcome:
    decision = Decision(verdict=verdict, reason="because", step=step, best_step=5, figures={"gain": 0.5})
    return Outcome(
        step=step, total=total, decision=decision, best_step=5,
        checkpoint="checkpoints/global_step_10", checkpoint_step=10, last_validation={"score": 0.5},
    )  # fmt: skip


def test_an_outcome_survives_its_file(tmp_path: Path) -> None:
    outcome = ended(Verdict.FALL_BACK)
    write_outcome(tmp_path, outcome)
    assert read_outcome(tmp_path) == outcome
    assert [path.name for path in tmp_path.iterdir()] == [OUTCOME_FILE]
    discard_outcome(tmp_path)
    assert read_outcome(tmp_path) is None
    discard_outcome(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"step": 1}', '{"step": 1, "total": 1, "decision": {"verdict": "?"}}']
)
def test_a_broken_outcome_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / OUTCOME_FILE).write_text(text)
    assert read_outcome(tmp_path) is None


@pytest.mark.parametrize(
    ("verdict", "limit", "holds"),
    [
        (Verdict.ADVANCE, 1000, True),
        (Verdict.FALL_BACK, 1000, True),
        (Verdict.BUDGET, 10, True),
        (Verdict.BUDGET, 5, True),
        (Verdict.BUDGET, 11, False),
    ],
)
def test_a_gates_word_stands_and_a_budget_is_spent_until_it_grows(verdict: Verdict, limit: int, holds: bool) -> None:
    assert still_holds(ended(verdict, step=10), limit) is holds


def test_the_lesser_of_steps_and_the_gates_budget_counts() -> None:
    assert step_limit(40, None) == 40
    assert step_limit(40, GateSettings()) == 40
    assert step_limit(40, GateSettings(budget_steps=10)) == 10
    assert step_limit(40, GateSettings(budget_steps=100)) == 40
