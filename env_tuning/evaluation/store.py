"""The folder of an evaluation: whose it is, and its episodes, which survive kills.

Owns: the claim and the lock of the folder, the file of episodes (``validation/0.jsonl``, the place where a run keeps
those of a validation, so that `env-tuning report` shows them), and what a kill may have left in it. Refuses: what the
lines say.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from env_tuning.atomic import replace_text
from env_tuning.evaluation.results import TaskResult, result_of
from env_tuning.lock import sole_holder
from env_tuning.run_folder import RUN_FILE, claim_output

EPISODES = "validation/0.jsonl"
PROGRESS = "progress.jsonl"


@dataclass(kw_only=True)
class Store:
    """An open folder.

    Attributes:
        folder: where it is.
        results: of the tasks that are done, by id.
        dropped: lines that were torn or of other tasks, and are gone.
    """

    folder: Path
    results: dict[str, TaskResult] = field(default_factory=dict)
    dropped: int = 0
    _lines: TextIO | None = None

    @property
    def file(self) -> Path:
        """The episodes, one a line."""
        return self.folder / EPISODES

    def add(self, line: str) -> TaskResult:
        """Write an episode at once."""
        assert self._lines is not None, "the store is open"
        self._lines.write(line + "\n")
        self._lines.flush()
        result = result_of(json.loads(line))
        self.results[result.task_id] = result
        return result

    def sort(self, order: Sequence[str]) -> None:
        """Put the lines into the order of these tasks: they were written as episodes ended."""
        texts = self.file.read_text(encoding="utf-8").split("\n")
        lines = {json.loads(text)["trajectory"]["task_id"]: text for text in texts if text}
        replace_text(self.file, "".join(f"{lines[name]}\n" for name in order if name in lines))

    def tell(self, splits: Mapping[str, Mapping[str, Any]], overall: Mapping[str, Any]) -> None:
        """Write the event under which a report shows the numbers, by the names that training's validations have."""
        event = {"event": "validation", "step": 0, **_told(overall)}
        event["splits"] = {split: _told(numbers) for split, numbers in splits.items()}
        replace_text(self.folder / PROGRESS, json.dumps(event) + "\n")


@contextlib.contextmanager
def open_store(folder: Path, run: Mapping[str, Any], known: Sequence[str]) -> Iterator[Store]:
    """The folder, made or gone on with; nobody else writes into it meanwhile.

    Args:
        folder: where.
        run: what the evaluation depends on.
        known: ids of its tasks.

    Raises:
        UserError: the folder holds something else, or another process is at work in it.
    """
    if _is_evaluation(folder):
        with _alone_in(folder):
            if not (folder / EPISODES).is_file() or not (folder / EPISODES).stat().st_size:
                # A first try that came to nothing, such as a mistyped model, has nothing to protect.
                replace_text(folder / RUN_FILE, json.dumps(run, indent=2) + "\n")
    claim_output(folder, run, elsewhere="--output ANOTHER-FOLDER")
    with _alone_in(folder):
        store = Store(folder=folder)
        store.file.parent.mkdir(exist_ok=True)
        # A report reads the folder while it grows: without events it takes every episode.
        (folder / PROGRESS).touch()
        _keep_whole_lines(store, frozenset(known))
        with store.file.open("a", encoding="utf-8") as lines:
            store._lines = lines
            yield store


def _alone_in(folder: Path) -> contextlib.AbstractContextManager[None]:
    refusal = f"another process evaluates into {folder}; wait for it, or give --output"
    return sole_holder(folder / ".lock", refusal=refusal)


def _is_evaluation(folder: Path) -> bool:
    """Whether an evaluation has claimed the folder, this one or another."""
    try:
        return "evaluation" in json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def episodes(folder: Path) -> Iterator[Mapping[str, Any]]:
    """The lines of a finished evaluation."""
    with (folder / EPISODES).open(encoding="utf-8") as lines:
        for text in lines:
            yield json.loads(text)


def _keep_whole_lines(store: Store, known: frozenset[str]) -> None:
    """Read what is there; a kill or a full disk may have torn a line, and its task is played again."""
    if not store.file.is_file():
        return
    kept: list[str] = []
    found = store.file.read_text(encoding="utf-8", errors="replace").split("\n")
    whole, last = found[:-1], found[-1]
    for text in whole:
        try:
            result = result_of(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if result.task_id in known and result.task_id not in store.results:
            store.results[result.task_id] = result
            kept.append(text)
    store.dropped = len(whole) - len(kept) + bool(last)
    if store.dropped:
        replace_text(store.file, "".join(f"{text}\n" for text in kept))


def _told(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "episodes": numbers["tasks"],
        "score": numbers["accuracy"],
        "all_correct": numbers["accuracy"],
        "correct_turns": numbers["progress"],
        "coverage": numbers["coverage"],
    }
