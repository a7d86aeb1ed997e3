"""Curves out of events: panels of lines over the updates of all stages, and where gates decided.

Owns: which numbers share a panel, and the common axis on which stages follow each other. Refuses: drawing; the page and
the plots draw the same panels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from env_tuning.report.reading import StageRun

PANELS: Mapping[str, str] = {
    "Reward": r"reward",
    "Reward parts": r"reward/.*",
    "KL": r"kl",
    "Entropy": r"entropy",
    "Gradient norm": r"grad_norm",
    "Loss": r"loss",
    "Tokens per episode": r"response_tokens|trained_tokens",
    "Turns and steps per episode": r"turns|steps",
    "Stop reasons": r"stop/.*",
    "Hints per episode": r"hints",
}
"""Titles of panels, and the numbers of a ``step`` event that they show, as patterns."""
SPLIT_PANELS: Mapping[str, str] = {"correct_turns": "turns correct", "all_correct": "all turns correct"}
"""Numbers that are shown per split, of training and of validation."""
_Told = list[tuple[int, Mapping[str, Any]]]
"""What one stage told: x, and numbers by name."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve, a piece per stage, empty where that stage has no such number; x counts the updates of all stages.

    It is in pieces because the rewards of two stages are not one quantity.
    """

    name: str
    pieces: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Curves on one pair of axes."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where a stage lies on the axis, from its start to its last update, and how it stands.

    Attributes:
        name: of the stage.
        first: x of its start, before its first update.
        last: x of its last update.
        total: updates that its configuration allows, None if it has not said.
        state: the verdict that ended it, or ``running or stopped``.
        reason: why it ended, in words.
    """

    name: str
    first: int
    last: int
    total: int | None
    state: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class GateMark:
    """A decision of a gate on the axis."""

    x: int
    stage: str
    step: int
    verdict: str
    reason: str
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Everything that is drawn over steps."""

    spans: tuple[Span, ...]
    gates: tuple[GateMark, ...]
    panels: tuple[Panel, ...]


def curves_of(stages: Sequence[StageRun]) -> Curves:
    """The curves of a run; a panel without a number is left out."""
    starts = [sum(stage.last_step for stage in stages[:index]) for index in range(len(stages))]
    steps = [_placed(start, stage.of("step")) for start, stage in zip(starts, stages, strict=True)]
    tests = [_placed(start, stage.of("validation")) for start, stage in zip(starts, stages, strict=True)]
    placed = list(zip(starts, stages, strict=True))
    panels = [Panel(title=title, lines=_lines(steps, pattern)) for title, pattern in PANELS.items()]
    splits = [
        Panel(title=f"{phase}: {words}, per split", lines=_split_lines(events, number))
        for phase, events in (("Validation", tests), ("Training", steps))
        for number, words in SPLIT_PANELS.items()
    ]
    return Curves(
        spans=tuple(_span(start, stage) for start, stage in placed),
        gates=tuple(_mark(start, stage.name, event) for start, stage in placed for event in stage.of("gate")),
        panels=tuple(panel for panel in (*panels[:2], *splits, *panels[2:]) if panel.lines),
    )


def _placed(start: int, events: Sequence[Mapping[str, Any]]) -> _Told:
    return [(start + event["step"], event) for event in events]


def _lines(stages: Sequence[_Told], pattern: str) -> tuple[Line, ...]:
    names = {name: None for told in stages for _, event in told for name in event if re.fullmatch(pattern, name)}
    return _drawn(names, stages)


def _split_lines(stages: Sequence[_Told], number: str) -> tuple[Line, ...]:
    told: list[_Told] = [[(x, _per_split(event, number)) for x, event in stage] for stage in stages]
    return _drawn(sorted({name for stage in told for _, values in stage for name in values}), told)


def _per_split(event: Mapping[str, Any], number: str) -> Mapping[str, Any]:
    return {split: numbers.get(number) for split, numbers in (event.get("splits") or {}).items()}


def _drawn(names: Iterable[str], stages: Sequence[_Told]) -> tuple[Line, ...]:
    """A line per name, without what was not measured; names without any number have none."""
    lines = [Line(name=name, pieces=tuple(_piece(name, told) for told in stages)) for name in names]
    return tuple(line for line in lines if any(line.pieces))


def _piece(name: str, told: _Told) -> tuple[tuple[int, float], ...]:
    measured = [(x, values.get(name)) for x, values in told]
    return tuple((x, float(y)) for x, y in measured if isinstance(y, int | float))


def _span(start: int, stage: StageRun) -> Span:
    decision = (stage.outcome or {}).get("decision") or {}
    totals = [event["total"] for event in stage.events if event.get("total") is not None]
    return Span(
        name=stage.name,
        first=start,
        last=start + stage.last_step,
        total=totals[-1] if totals else None,
        state=str(decision.get("verdict", "running or stopped")),
        reason=str(decision.get("reason", "")),
    )


def _mark(start: int, stage: str, event: Mapping[str, Any]) -> GateMark:
    return GateMark(
        x=start + event["step"],
        stage=stage,
        step=event["step"],
        verdict=str(event.get("verdict")),
        reason=str(event.get("reason", "")),
        figures=event.get("figures") or {},
    )
