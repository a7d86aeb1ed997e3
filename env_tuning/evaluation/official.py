"""The benchmark's own result files, made of our episodes.

Owns: their folders, names and lines. Refuses: scoring. Every step is written as function calls with JSON arguments, as
the package's function-calling handlers write them, whatever the model wrote: the package's reading of prompted answers
drops and changes arguments. Messages without calls that ran are texts, which the package skips.

An episode that a limit of ours ended has fewer turns than its task, which the package calls force-terminated and counts
as wrong, as we do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.data.splits import Category

FOLDER = "official"


def result_line(episode: Mapping[str, Any]) -> dict[str, Any]:
    """The package's record of an episode; `episode` is a line of a dump."""
    trajectory, numbers = episode["trajectory"], episode["reward"]
    closed = len(trajectory["verdicts"])
    return {
        "id": trajectory["task_id"],
        "result": [
            [_step(step) for step in trajectory["steps"] if step["turn"] == turn and step["outcome"] != "cut"]
            for turn in range(closed)
        ],
        "input_token_count": int(numbers.get("prompt_tokens", 0)),
        "output_token_count": int(numbers.get("completion_tokens", 0)),
        "latency": numbers.get("seconds", 0.0),
    }


def write_results(folder: Path, name: str, episodes: Iterable[Mapping[str, Any]]) -> tuple[Path, ...]:
    """Write ``official/result/NAME/multi_turn/BFCL_v4_<category>_result.json``; tasks of others are left out.

    Args:
        folder: of the evaluation.
        name: the model's, as the package's registry has it; its folder has ``_`` for ``/``.
        episodes: lines of a dump.

    Returns:
        the files.
    """
    lines: dict[Category, list[tuple[int, str]]] = {}
    for episode in episodes:
        line = result_line(episode)
        for category, number in _place(line["id"]):
            lines.setdefault(category, []).append((number, json.dumps(line)))
    target = folder / FOLDER / "result" / name.replace("/", "_") / "multi_turn"
    written = []
    for category, found in lines.items():
        target.mkdir(parents=True, exist_ok=True)
        file = target / f"BFCL_v4_{category.value}_result.json"
        replace_text(file, "".join(f"{text}\n" for _, text in sorted(found)))
        written.append(file)
    return tuple(written)


def _step(step: Mapping[str, Any]) -> list[dict[str, str]] | str:
    ran = [call for call in step["calls"] if call["result"] is not None]
    return [{call["name"]: json.dumps(call["arguments"])} for call in ran] or step["text"]


def _place(task_id: str) -> Iterator[tuple[Category, int]]:
    """The category and number in a benchmark's id; nothing for any other."""
    prefix, _, number = task_id.rpartition("_")
    if number.isdigit():
        yield from ((category, int(number)) for category in Category if category.value == prefix)
