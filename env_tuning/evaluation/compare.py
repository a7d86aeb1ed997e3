"""Cards side by side, each against the first.

Owns: which cards may be compared, and the paired tests over their tasks. Refuses: printing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from env_tuning.errors import UserError
from env_tuning.evaluation.card import read_card
from env_tuning.evaluation.statistics import MeanDifference, mcnemar, paired_bootstrap

_MUST_AGREE = ("mode", "protocol", "tool_listing", "prompt_version", "rules", "hints")
"""What changes the task itself. Temperature, seed and length of messages belong to what is compared."""
_NOTED = ("temperature", "seed", "max_tokens")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A card as it is compared.

    Attributes:
        name: what the user called it.
        card: its contents.
    """

    name: str
    card: Mapping[str, Any]

    @property
    def correct(self) -> dict[str, bool]:
        """Per task whether every turn is right."""
        return {task: all(entry["turns"]) for task, entry in self.card["tasks"].items()}

    @property
    def progress(self) -> dict[str, float]:
        """Per task the share of right turns."""
        return {task: sum(entry["turns"]) / len(entry["turns"]) for task, entry in self.card["tasks"].items()}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A card against the first.

    Attributes:
        gained: tasks that it alone has right.
        lost: tasks that the first alone has right.
        accuracy: its accuracy minus the first's.
        p: of `mcnemar`.
        progress: the paired difference of progress.
    """

    gained: int
    lost: int
    accuracy: float
    p: float
    progress: MeanDifference


def read_sheets(places: Sequence[Path]) -> list[Sheet]:
    """The cards, all over the same tasks and played the same way.

    Raises:
        UserError: fewer than two, or they differ in what must agree.
    """
    if len(places) < 2:
        raise UserError("give at least two cards, or folders of env-tuning eval, to compare")
    sheets = [Sheet(name=str(place), card=read_card(place)) for place in places]
    first = sheets[0]
    for other in sheets[1:]:
        _must_agree(first, other)
    return sheets


def difference(first: Sheet, other: Sheet) -> Difference:
    """The second against the first, task by task."""
    before, after = first.correct, other.correct
    gained = sum(after[task] and not before[task] for task in before)
    lost = sum(before[task] and not after[task] for task in before)
    earlier, later = first.progress, other.progress
    return Difference(
        gained=gained,
        lost=lost,
        accuracy=(gained - lost) / len(before),
        p=mcnemar(lost, gained),
        progress=paired_bootstrap(list(earlier.values()), [later[task] for task in earlier]),
    )


def notes(sheets: Sequence[Sheet]) -> list[str]:
    """What differs among the cards without forbidding a comparison."""
    found = []
    for key in _NOTED:
        values = [sheet.card["settings"][key] for sheet in sheets]
        if len(set(values)) > 1:
            found.append(f"{key} differs: {', '.join(map(str, values))}")
    packages = {name for sheet in sheets for name in sheet.card["packages"]}
    for name in sorted(packages):
        versions = [sheet.card["packages"].get(name) for sheet in sheets]
        if len(set(versions)) > 1:
            found.append(f"version of {name} differs: {', '.join(map(str, versions))}")
    for sheet in sheets:
        if sheet.card["not_taken_by_server"]:
            found.append(f"the server of {sheet.name} did not take {', '.join(sheet.card['not_taken_by_server'])}")
    return found


def _must_agree(first: Sheet, other: Sheet) -> None:
    if first.card["data"]["tasks_sha256"] != other.card["data"]["tasks_sha256"]:
        raise UserError(
            f"{first.name} and {other.name} are over different tasks ({_tasks(first)} and {_tasks(other)}); "
            "evaluate both on the same files"
        )
    for key in _MUST_AGREE:
        before, after = first.card["settings"][key], other.card["settings"][key]
        if before != after:
            raise UserError(
                f"{first.name} and {other.name} were not played the same way: {key} is {_short(before)} and "
                f"{_short(after)}; evaluate both with the same"
            )


def _tasks(sheet: Sheet) -> str:
    files = ", ".join(file["name"] for file in sheet.card["data"]["files"])
    return f"{len(sheet.card['tasks'])} of {files}"


def _short(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
