"""Hints as numbers."""

from env_tuning.augmentation.metrics import hint_numbers
from env_tuning.augmentation.rules import ErrorCategory
from env_tuning.trajectory import CallRecord, Hint, StepOutcome, StepRecord, StopReason, Trajectory


def call(category: str | None) -> CallRecord:
    hint = None if category is None else Hint(rule="r", category=category, kind="k", text="t")
    return CallRecord(name="a", arguments={}, result="x", status="error", hint=hint)


def test_hints_are_counted_by_category_and_every_key_is_there():
    hint = Hint(rule="r", category="format_mismatch", kind="k", text="t")
    steps = (
        StepRecord(turn=0, text="", outcome=StepOutcome.CALLS_OK, calls=(call("state_prerequisite"), call(None))),
        StepRecord(turn=0, text="", outcome=StepOutcome.CALLS_OK, calls=(call("state_prerequisite"),)),
        StepRecord(turn=0, text="", outcome=StepOutcome.FORMAT_ERROR, hint=hint),
    )
    trajectory = Trajectory(task_id="t", split="s", turns=1, steps=steps, verdicts=(), stop=StopReason.ABORTED)
    numbers = hint_numbers(trajectory)
    assert numbers == {
        "hints": 3,
        "hints/dependency_missing": 0,
        "hints/parameter_constraint": 0,
        "hints/state_prerequisite": 2,
        "hints/format_mismatch": 1,
        "hints/resource_unavailable": 0,
    }
    assert len(numbers) == 1 + len(ErrorCategory)
