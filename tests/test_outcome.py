"""When the same command has nothing left to do, and when it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from env_tuning.curriculum import checkpoints
from env_tuning.curriculum.gate import Decision, GateSettings, Verdict
from env_tuning.outcome import (
    OUTCOME_FILE,
    Outcome,
    conclude,
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


VALIDATED: list[dict[str, Any]] = [
    {"event": "ready", "step": 0},
    {"event": "validation", "step": 0, "correct_turns": 0.1},
    {"event": "validation", "step": 4, "correct_turns": 0.6},
    {"event": "validation", "step": 6, "correct_turns": 0.9},
    {"event": "ready", "step": 4},
    {"event": "validation", "step": 8, "correct_turns": 0.2},
]
"""Step 6 was lost with its checkpoint."""


def save(root: Path, step: int) -> None:
    folder = checkpoints.checkpoint_folder(root, step)
    folder.mkdir(parents=True)
    (folder / "data.pt").write_text("data")
    checkpoints.seal(folder)


@pytest.mark.parametrize(
    ("verdict", "saved", "kept", "checkpoint"),
    [
        (None, [6, 8], [4], "checkpoints/global_step_8"),
        (Verdict.BUDGET, [6, 8], [4], "checkpoints/global_step_8"),
        (Verdict.ADVANCE, [6, 8], [4], "checkpoints/global_step_8"),
        (Verdict.FALL_BACK, [6, 8], [4], "best/global_step_4"),
        (Verdict.FALL_BACK, [4, 8], [], "checkpoints/global_step_4"),
        (Verdict.FALL_BACK, [8], [], "checkpoints/global_step_8"),
        (None, [], [], None),
    ],
)
def test_what_to_go_on_from_follows_from_the_verdict(
    tmp_path: Path, verdict: Verdict | None, saved: list[int], kept: list[int], checkpoint: str | None
) -> None:
    saves, best = tmp_path / "checkpoints", tmp_path / "best"
    for step in saved:
        save(saves, step)
    for step in kept:
        save(best, step)
    decision = None if verdict is None else Decision(verdict=verdict, reason="because", step=8, best_step=4)
    outcome = conclude(VALIDATED, "correct_turns", decision, step=8, total=20, output=tmp_path, saves=saves, best=best)
    assert outcome.checkpoint == checkpoint
    assert outcome.checkpoint_step == (None if checkpoint is None else int(checkpoint.rpartition("_")[2]))
    assert (outcome.best_step, outcome.decision.best_step) == (4, 4)
    assert outcome.best_validation == VALIDATED[2]
    assert outcome.last_validation == VALIDATED[5]
    assert outcome.decision.verdict is (verdict or Verdict.BUDGET)


def test_a_run_without_validations_has_no_best_and_a_folder_elsewhere_is_named_whole(tmp_path: Path) -> None:
    saves = tmp_path / "elsewhere"
    save(saves, 3)
    outcome = conclude(
        [], "correct_turns", None, step=3, total=3, output=tmp_path / "run", saves=saves, best=tmp_path / "best"
    )
    assert (outcome.best_step, outcome.best_validation, outcome.last_validation) == (None, None, None)
    assert outcome.checkpoint == str(saves / "global_step_3")
    assert outcome.decision.reason == "all 3 steps are done"
