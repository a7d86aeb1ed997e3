"""The result card: what was measured, on what, how; one JSON file for programs and one Markdown file for people.

Owns: the card's contents and its reading. Refuses: computing numbers (`results`). A card is written when every task has
a result, and holds the outcome of every task, so that cards alone can be compared.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.data import sources
from env_tuning.errors import UserError
from env_tuning.evaluation.results import TaskResult, by_split, summary, total
from env_tuning.packages import versions

CARD = "card.json"
CARD_TEXT = "card.md"
FORMAT = 1
_PACKAGES = ("env-tuning", "verl", "torch", "transformers", "tokenizers", "httpx", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Of a million tokens, in any currency; 0 where nothing is charged."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What so many tokens cost."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was measured.

    Attributes:
        model: how the model is known.
        settings: `Settings.as_dict`.
        files: name, sha256 and rows of every file of tasks.
        tasks_sha256: of the tasks themselves.
        not_taken: fields of requests that the server does not take, such as ``temperature``.
    """

    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]
    tasks_sha256: str
    not_taken: Sequence[str] = ()


def make_card(subject: Subject, results: Sequence[TaskResult], prices: Prices) -> dict[str, Any]:
    """The card as plain JSON data."""
    prompt, completion = total(results, "prompt_tokens"), total(results, "completion_tokens")
    splits = by_split(results)
    return {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": dict(subject.model),
        "settings": dict(subject.settings),
        "not_taken_by_server": sorted(subject.not_taken),
        "data": {
            "benchmark": f"{sources.PACKAGE} {sources.VERSION}",
            "files": list(subject.files),
            "tasks_sha256": subject.tasks_sha256,
        },
        "overall": summary(results),
        "splits": {split: summary(members) for split, members in splits.items()},
        "tokens": {"prompt": int(prompt), "completion": int(completion)},
        "cost": {
            "per_million_prompt_tokens": prices.prompt,
            "per_million_completion_tokens": prices.completion,
            "total": round(prices.of(prompt, completion), 6),
        },
        "seconds_of_episodes": round(total(results, "seconds"), 1),
        "packages": versions(_PACKAGES),
        "tasks": {
            result.task_id: {"split": result.split, "turns": [int(right) for right in result.turns]}
            for result in results
        },
    }


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Both files."""
    replace_text(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    replace_text(folder / CARD_TEXT, markdown(card))


def read_card(place: Path) -> dict[str, Any]:
    """The card of a folder, or the file itself.

    Raises:
        UserError: there is none, or not one of this version.
    """
    file = place / CARD if place.is_dir() else place
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(
            f"{place} holds no {CARD}; finish the evaluation: env-tuning eval FILE --output {place}"
        ) from None
    except ValueError:
        raise UserError(f"{file} is no JSON; give a folder of env-tuning eval or its {CARD}") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT or not card.get("tasks"):
        raise UserError(f"{file} is no result card of this version; give a folder of env-tuning eval or its {CARD}")
    return card


def model_name(model: Mapping[str, Any]) -> str:
    """A model on one line."""
    if model["kind"] == "endpoint":
        return f"{model['name']} at {model['base_url']}"
    return f"{model['folder']} (weights {model['weights_sha256'][:12]})"


def percent(share: float) -> str:
    """One decimal, as in 41.5 %."""
    return f"{100 * share:.1f} %"


def markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    settings, data, cost = card["settings"], card["data"], card["cost"]
    rows = [*card["splits"].items(), *([("all", card["overall"])] if len(card["splits"]) != 1 else [])]
    lines = [
        f"# Evaluation of {model_name(card['model'])}",
        "",
        "A task counts when every turn is right (the benchmark's metric). Progress is the share of right turns.",
        "Intervals are 95 %: Wilson for accuracy, bootstrap over tasks for progress.",
        "",
        "| split | tasks | accuracy | interval | progress | interval | coverage | steps per task |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, numbers) for name, numbers in rows),
        "",
        "| turn | " + " | ".join(str(at + 1) for at in range(len(card["overall"]["by_turn"]))) + " |",
        "|---|" + "---|" * len(card["overall"]["by_turn"]),
        "| right | " + " | ".join(percent(turn["accuracy"]) for turn in card["overall"]["by_turn"]) + " |",
        "| tasks | " + " | ".join(str(turn["turns"]) for turn in card["overall"]["by_turn"]) + " |",
        "",
        f"What was wrong first: {_counts(card['overall']['failures']) or 'nothing'}.",
        f"How episodes ended: {_counts(card['overall']['stops'])}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _facts(card, settings, data, cost)),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, numbers: Mapping[str, Any]) -> str:
    cells = (
        name,
        numbers["tasks"],
        percent(numbers["accuracy"]),
        _interval(numbers["accuracy_interval"]),
        percent(numbers["progress"]),
        _interval(numbers["progress_interval"]),
        percent(numbers["coverage"]),
        f"{numbers['steps']:.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _facts(
    card: Mapping[str, Any], settings: Mapping[str, Any], data: Mapping[str, Any], cost: Mapping[str, Any]
) -> list[tuple[str, str]]:
    files = ", ".join(f"{file['name']} ({file['rows']} tasks, sha256 {file['sha256'][:12]})" for file in data["files"])
    charged = f", cost {cost['total']:g}" if cost["total"] else ""
    facts = [
        ("mode", f"{settings['mode']}, protocol {settings['protocol']}"),
        ("rules", ", ".join(f"{name} {value}" for name, value in settings["rules"].items())),
        ("temperature, seed", f"{settings['temperature']:g}, {settings['seed']}"),
        ("longest message", f"{settings['max_tokens']} tokens"),
        ("hints", settings["hints"]),
        ("data", f"{files}; {data['benchmark']}; tasks sha256 {data['tasks_sha256'][:12]}"),
        ("tokens", f"{card['tokens']['prompt']} prompt, {card['tokens']['completion']} completion{charged}"),
        ("packages", ", ".join(f"{name} {number}" for name, number in card["packages"].items())),
        ("date", card["date"]),
    ]
    if settings["tool_listing"]:
        facts.insert(1, ("prompt", f"{settings['prompt_version']}, tools as {settings['tool_listing']}"))
    if card["not_taken_by_server"]:
        facts.insert(2, ("not taken by the server", ", ".join(card["not_taken_by_server"])))
    return facts


def _interval(ends: Sequence[float]) -> str:
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
