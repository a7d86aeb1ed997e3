"""Gates as tables: what a history means."""

from __future__ import annotations

import math

import pytest

from env_tuning.curriculum.gate import Decision, GateSettings, Point, Verdict, best_step, decide, history

SETTINGS = GateSettings(window=2, min_gain=0.01, grad_window=4, grad_spread=0.5, min_steps=8)


def run(accuracies, rewards, norms, every=2):
    """A history: one reward and one gradient norm per step, a validation every so many steps, beginning before all."""
    points = [Point(step=0, accuracy=accuracies[0])]
    for step, (reward, norm) in enumerate(zip(rewards, norms, strict=True), start=1):
        number = step // every
        accuracy = accuracies[number] if step % every == 0 and number < len(accuracies) else None
        points.append(Point(step=step, accuracy=accuracy, reward=reward, grad_norm=norm))
    return points


FLAT = [0.5] * 8
STEADY = [0.1] * 8

TABLE = {
    "plateau and steady norm": (run([0.1, 0.3, 0.4, 0.401, 0.4], FLAT, STEADY), Verdict.ADVANCE),
    "still gaining": (run([0.1, 0.2, 0.3, 0.4, 0.5], FLAT, STEADY), Verdict.CONTINUE),
    "plateau but the norm jumps": (
        run([0.1, 0.3, 0.4, 0.4, 0.4], FLAT, [0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1]),
        Verdict.CONTINUE,
    ),
    "plateau before the first steps are done": (run([0.4, 0.4, 0.4, 0.4], FLAT[:7], STEADY[:7]), Verdict.CONTINUE),
    "noise around a level is a plateau": (run([0.30, 0.34, 0.31, 0.33, 0.335], FLAT, STEADY), Verdict.ADVANCE),
    "noise that ends on a new height is none": (run([0.30, 0.34, 0.31, 0.33, 0.36], FLAT, STEADY), Verdict.CONTINUE),
    "too few validations": (run([0.4, 0.4], FLAT, STEADY), Verdict.CONTINUE),
    "collapse": (
        run([0.1, 0.3, 0.4, 0.2, 0.1], [0.2, 0.6, 0.6, 0.6, 0.3, 0.1, 0.1, 0.1], [0.1] * 4 + [0.5, 0.9, 1.0, 1.0]),
        Verdict.FALL_BACK,
    ),
    "reward falls, norm does not rise": (
        run([0.1, 0.3, 0.4, 0.6, 0.8], [0.2, 0.6, 0.6, 0.6, 0.3, 0.1, 0.1, 0.1], STEADY),
        Verdict.CONTINUE,
    ),
    "norm rises, reward does not fall": (
        run([0.1, 0.3, 0.4, 0.6, 0.8], FLAT, [0.1] * 4 + [0.5, 0.9, 1.0, 1.0]),
        Verdict.CONTINUE,
    ),
    "a norm that is no number, with a falling reward": (
        run([0.1, 0.3, 0.4, 0.2, 0.1], [0.2, 0.6, 0.6, 0.6, 0.3, 0.1, 0.1, 0.1], [0.1] * 7 + [math.nan]),
        Verdict.FALL_BACK,
    ),
    "nothing yet": ([], Verdict.CONTINUE),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_gate_reads_a_history(name):
    points, verdict = TABLE[name]
    decision = decide(points, SETTINGS)
    assert decision.verdict is verdict, decision.reason
    assert decision.step == (points[-1].step if points else 0)
    assert decision.reason


def test_a_budget_ends_what_no_gate_ends():
    points, _ = TABLE["still gaining"]
    budget = GateSettings(window=2, grad_window=4, min_steps=8, budget_steps=8)
    assert decide(points, budget).verdict is Verdict.BUDGET
    assert decide(points[:-1], budget).verdict is Verdict.CONTINUE


def test_collapse_goes_before_the_budget_and_names_the_best_step():
    points, _ = TABLE["collapse"]
    decision = decide(points, GateSettings(window=2, grad_window=4, min_steps=8, budget_steps=8))
    assert decision.verdict is Verdict.FALL_BACK
    assert decision.best_step == 4
    assert decision.figures["reward"] < decision.figures["best_reward"] / 2
    assert decision.figures["grad_norm"] > 2 * decision.figures["best_grad_norm"]


def test_the_best_step_is_the_latest_of_equals_and_never_one_without_a_number():
    assert best_step([Point(step=1, accuracy=0.4), Point(step=3, accuracy=0.4), Point(step=5, accuracy=math.nan)]) == 3
    assert best_step([Point(step=1, reward=1.0)]) is None


def test_a_history_counts_every_step_once_as_it_was_last_trained():
    events = [
        {"event": "ready", "step": 0},
        {"event": "validation", "step": 0, "correct_turns": 0.1},
        {"event": "step", "step": 1, "reward": 0.2, "grad_norm": 1.0},
        {"event": "step", "step": 2, "reward": 0.9, "grad_norm": 9.0},
        {"event": "validation", "step": 2, "correct_turns": 0.9},
        {"event": "checkpoint", "step": 1},
        {"event": "ready", "step": 1},
        {"event": "step", "step": 2, "reward": 0.3, "grad_norm": 2.0},
    ]
    assert history(events, "correct_turns") == (
        Point(step=0, accuracy=0.1),
        Point(step=1, reward=0.2, grad_norm=1.0),
        Point(step=2, reward=0.3, grad_norm=2.0),
    )


def test_a_decision_survives_json():
    decision = decide(TABLE["collapse"][0], SETTINGS)
    assert Decision.from_dict(decision.to_dict()) == decision


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"grad_window": 1}, {"min_gain": -1.0}, {"collapse_grad": 1.0}, {"budget_steps": 0}]
)
def test_thresholds_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="a gate needs"):
        GateSettings(**wrong)


def test_an_unknown_key_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown gate keys \['widow'\].*window"):
        GateSettings.from_config({"widow": 3})
