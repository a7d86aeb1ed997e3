"""Gates: when a stage has taught what it can.

Owns: the history of a run read from its events, and the decision, a pure function of history and thresholds. Refuses:
reading files, stopping anything. The paper's rule (arXiv 2510.10197, remark 3.1) is: go on when validation accuracy
has plateaued and the gradient norm is stable. It gives no thresholds; ours are settings with defaults.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from env_tuning.errors import refuse_unknown


@dataclass(frozen=True, kw_only=True)
class Point:
    """One step of a run; None is what was not measured at it.

    Attributes:
        step: number of the update, 0 before the first.
        accuracy: the validation metric that the gate watches.
        reward: mean reward of the step's rollouts.
        grad_norm: of the step's update.
    """

    step: int
    accuracy: float | None = None
    reward: float | None = None
    grad_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """The thresholds of a gate.

    Attributes:
        metric: what a validation is judged by, a name of its event (``correct_turns``, ``all_correct``, ``score``).
        window: validations that make up a window; two windows are compared, so twice as many are needed.
        min_gain: the accuracy has plateaued when the newer window's best is less than this above the older one's best.
        grad_window: updates over which the gradient norm is looked at; the collapse rule compares two such windows.
        grad_spread: the gradient norm is stable when its standard deviation is at most this share of its mean.
        min_steps: no gate opens before so many updates, a budget excepted.
        collapse_drop: share of the best window's mean reward that has to be lost for a collapse.
        collapse_grad: factor by which the gradient norm has to have grown over that best window for a collapse.
        budget_steps: the stage ends after so many updates; None leaves it to `trainer.total_training_steps`.
    """

    metric: str = "correct_turns"
    window: int = 3
    min_gain: float = 0.01
    grad_window: int = 10
    grad_spread: float = 0.5
    min_steps: int = 20
    collapse_drop: float = 0.5
    collapse_grad: float = 2.0
    budget_steps: int | None = None

    def __post_init__(self) -> None:
        """Reject settings under which a gate means nothing."""
        if self.window < 1 or self.grad_window < 2:
            raise ValueError("a gate needs window >= 1 and grad_window >= 2")
        if self.min_gain < 0 or self.grad_spread <= 0 or self.min_steps < 0:
            raise ValueError("a gate needs min_gain >= 0, grad_spread > 0 and min_steps >= 0")
        if not 0 < self.collapse_drop <= 1 or self.collapse_grad <= 1:
            raise ValueError("a gate needs 0 < collapse_drop <= 1 and collapse_grad > 1")
        if self.budget_steps is not None and self.budget_steps < 1:
            raise ValueError("a gate needs budget_steps >= 1, or null for none")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> GateSettings:
        """Settings from a configuration; an unknown key is a `ValueError` that lists the known ones."""
        refuse_unknown("gate", config, [item.name for item in fields(cls)])
        return cls(**config)


class Verdict(enum.Enum):
    """What a gate says."""

    CONTINUE = "continue"
    """Train on."""
    ADVANCE = "advance"
    """Plateaued and stable: the next stage starts from the last checkpoint."""
    BUDGET = "budget"
    """The steps are spent: the next stage starts from the last checkpoint."""
    FALL_BACK = "fall_back"
    """The run collapses: the next stage starts from the best checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict with its reason in words and the figures it rests on.

    Attributes:
        verdict: what to do.
        reason: one sentence for people.
        step: the update after which it was made.
        best_step: the validated step with the highest accuracy so far (the latest of equals), None before any.
        figures: names to numbers.
    """

    verdict: Verdict
    reason: str
    step: int
    best_step: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "step": self.step,
            "best_step": self.best_step,
            "figures": dict(self.figures),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Inverse of `to_dict`."""
        return cls(**{**data, "verdict": Verdict(data["verdict"])})


def history(events: Iterable[Mapping[str, Any]], metric: str) -> tuple[Point, ...]:
    """The steps of a run, in order, from the events of its ``progress.jsonl``.

    A run that was killed repeats the steps after its last checkpoint: what a ``ready`` event at an earlier step makes
    void is dropped, so every step counts once, as it was last trained.
    """
    points: dict[int, dict[str, float | None]] = {}
    for event in events:
        step = event.get("step")
        match event.get("event"):
            case "ready":
                points = {known: values for known, values in points.items() if known <= (step or 0)}
            case "step" if step is not None:
                points.setdefault(step, {}).update(reward=event.get("reward"), grad_norm=event.get("grad_norm"))
            case "validation" if step is not None:
                points.setdefault(step, {}).update(accuracy=event.get(metric))
    return tuple(Point(step=step, **points[step]) for step in sorted(points))


def decide(points: Sequence[Point], settings: GateSettings) -> Decision:
    """Look at a run's history and say what to do next.

    Collapse comes first, so that a dying run is not taken for a stable one; the budget last.
    """
    step = points[-1].step if points else 0
    best = best_step(points)

    def say(verdict: Verdict, reason: str, **figures: float) -> Decision:
        return Decision(verdict=verdict, reason=reason, step=step, best_step=best, figures=figures)

    if collapse := _collapse(points, settings):
        return say(
            Verdict.FALL_BACK,
            "the reward falls while the gradient norm rises: "
            f"reward {collapse['best_reward']:.3f} -> {collapse['reward']:.3f}, "
            f"gradient norm {collapse['best_grad_norm']:.3f} -> {collapse['grad_norm']:.3f}",
            **collapse,
        )
    plateau, stability = _plateau(points, settings), _stability(points, settings)
    figures = {**(plateau or {}), **(stability or {})}
    plateaued = plateau is not None and plateau["gain"] < settings.min_gain
    stable = stability is not None and stability["grad_spread"] <= settings.grad_spread
    if plateaued and stable and step >= settings.min_steps:
        return say(
            Verdict.ADVANCE,
            f"{settings.metric} gained {figures['gain']:+.4f} over the last {settings.window} validations "
            f"(less than {settings.min_gain}) and the gradient norm is stable "
            f"(spread {figures['grad_spread']:.2f} of its mean, at most {settings.grad_spread})",
            **figures,
        )
    if settings.budget_steps is not None and step >= settings.budget_steps:
        return say(Verdict.BUDGET, f"the budget of {settings.budget_steps} steps is spent", **figures)
    return say(Verdict.CONTINUE, _waiting_for(plateau, plateaued, stable, step, settings), **figures)


def best_step(points: Iterable[Point]) -> int | None:
    """The validated step with the highest accuracy, the latest of equals; None without any validation."""
    measured = [(accuracy, step) for step, accuracy in _validated(points)]
    return max(measured)[1] if measured else None


def _validated(points: Iterable[Point]) -> list[tuple[int, float]]:
    """Steps and accuracies, where one was measured that is a number."""
    return [
        (point.step, point.accuracy) for point in points if point.accuracy is not None and math.isfinite(point.accuracy)
    ]


def _plateau(points: Sequence[Point], settings: GateSettings) -> dict[str, float] | None:
    """The gain of the newer window's best over the older window's best; None before there are two windows."""
    values = [accuracy for _, accuracy in _validated(points)]
    if len(values) < 2 * settings.window:
        return None
    older, newer = max(values[-2 * settings.window : -settings.window]), max(values[-settings.window :])
    return {"accuracy": newer, "accuracy_before": older, "gain": newer - older}


def _stability(points: Sequence[Point], settings: GateSettings) -> dict[str, float] | None:
    """Mean and relative spread of the last gradient norms; None before there are enough."""
    norms = [point.grad_norm for point in points if point.grad_norm is not None][-settings.grad_window :]
    if len(norms) < settings.grad_window:
        return None
    if not all(math.isfinite(norm) for norm in norms):
        return {"grad_norm": math.inf, "grad_spread": math.inf}
    mean = statistics.fmean(norms)
    return {"grad_norm": mean, "grad_spread": statistics.pstdev(norms) / mean if mean else 0.0}


def _collapse(points: Sequence[Point], settings: GateSettings) -> dict[str, float] | None:
    """Figures of a collapse, None if there is none.

    The last window of updates is compared with the window of the highest mean reward before it. A noisy run loses
    reward without its gradient norm rising; a learning one may have rising norms without losing reward.
    """
    size = settings.grad_window
    trained = [(point.reward, point.grad_norm) for point in points if point.reward is not None]
    measured = [(reward, norm) for reward, norm in trained if norm is not None]
    if len(measured) < 2 * size:
        return None
    rewards = [reward for reward, _ in measured]
    # A number that is no number any more is the end of a collapse; it counts as infinitely large.
    norms = [norm if math.isfinite(norm) else math.inf for _, norm in measured]
    best = max(range(len(measured) - 2 * size + 1), key=lambda start: statistics.fmean(rewards[start : start + size]))
    best_reward, best_norm = (statistics.fmean(values[best : best + size]) for values in (rewards, norms))
    reward, norm = (statistics.fmean(values[-size:]) for values in (rewards, norms))
    fell = best_reward > 0 and reward < (1 - settings.collapse_drop) * best_reward
    rose = norm > settings.collapse_grad * best_norm
    if not (fell and rose):
        return None
    return {"best_reward": best_reward, "reward": reward, "best_grad_norm": best_norm, "grad_norm": norm}


def _waiting_for(
    plateau: Mapping[str, float] | None, plateaued: bool, stable: bool, step: int, settings: GateSettings
) -> str:
    if step < settings.min_steps:
        return f"fewer than {settings.min_steps} steps"
    if plateau is None:
        return f"fewer than {2 * settings.window} validations"
    if not plateaued:
        return f"{settings.metric} still gains ({plateau['gain']:+.4f})"
    return "the gradient norm is not known to be stable" if not stable else "nothing"
