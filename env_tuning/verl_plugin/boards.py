"""What TensorBoard and W&B show of episodes beside means: histograms, and a few trajectories to read.

Owns: which boards a run writes to, the numbers that get a histogram, the choice of samples and their text. Refuses:
opening a board. verl's `Tracking` does (verl/utils/tracking.py), and what it opened is written to: TensorBoard reads
only the newest of two files that grow side by side.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from env_tuning.errors import UserError
from env_tuning.verl_plugin.records import EpisodeRecord, columns

ALWAYS = ("console", "tensorboard")
"""The boards of a run that names none."""
KEY = "WANDB_API_KEY"
"""With this variable a run that names none writes to W&B as well."""
HISTOGRAMS = ("score", "turns", "steps", "prompt_tokens", "response_tokens", "trained_tokens")
"""Numbers of episodes that get a histogram: the reward, closed turns, assistant messages, lengths."""
TEXT_LIMIT = 20_000
"""Characters of one sampled trajectory that a board gets; the dump has the whole."""
_COLUMNS = ("step", "task", "split", "reward", "turns right", "stopped", "trajectory")


class Boards(NamedTuple):
    """Where a run's numbers go, and what its user should know about that ("" for nothing)."""

    names: tuple[str, ...]
    warning: str


def boards_of(named: Sequence[str] | str | None, environ: Mapping[str, str], *, wandb_installed: bool) -> Boards:
    """The boards of a run.

    Args:
        named: ``trainer.logger``; None: `ALWAYS`, and W&B with its key.
        environ: variables of the process that trains.
        wandb_installed: whether W&B's package is there.

    Raises:
        UserError: W&B is named and its package is not there.
    """
    if named is not None:
        names = (named,) if isinstance(named, str) else tuple(named)
        if "wandb" in names and not wandb_installed:
            raise UserError("trainer.logger names wandb, which is not installed; pip install wandb")
        return Boards(names, "")
    if not environ.get(KEY):
        return Boards(ALWAYS, "")
    if not wandb_installed:
        return Boards(ALWAYS, f"{KEY} is set, but wandb is not installed (pip install wandb): no W&B for this run")
    return Boards((*ALWAYS, "wandb"), "")


def show(loggers: Mapping[str, Any], records: Sequence[EpisodeRecord], step: int, *, place: str, samples: int) -> None:
    """Write histograms and samples of a step's episodes to the boards that can show them.

    Args:
        loggers: verl's, by name (``Tracking.logger``).
        records: of the step.
        step: its number.
        place: the folder of tags, for example ``episodes``.
        samples: how many trajectories.
    """
    values = histograms(records)
    chosen = sampled(records, samples)
    if "tensorboard" in loggers:
        writer = loggers["tensorboard"].writer
        for name, numbers in values.items():
            writer.add_histogram(f"{place}/{name}", np.asarray(numbers), step)
        for rank, record in enumerate(chosen, 1):
            writer.add_text(f"{place}/sample_{rank}", as_markdown(record), step)
        writer.flush()
    if "wandb" in loggers:
        wandb = loggers["wandb"]
        shown = {f"{place}/{name}": wandb.Histogram(numbers) for name, numbers in values.items()}
        if chosen:
            rows = [_row(record, step) for record in chosen]
            shown[f"{place}/samples"] = wandb.Table(columns=list(_COLUMNS), data=rows)
        if shown:
            wandb.log(shown, step=step)


def histograms(records: Sequence[EpisodeRecord]) -> dict[str, list[float]]:
    """The finite values of `HISTOGRAMS`, as far as the episodes have them."""
    known = columns(records)
    finite = {name: [value for value in known.get(name, ()) if math.isfinite(value)] for name in HISTOGRAMS}
    return {name: values for name, values in finite.items() if values}


def sampled(records: Sequence[EpisodeRecord], count: int) -> list[EpisodeRecord]:
    """Trajectories from the highest reward to the lowest, at equal distances; one alone is the highest."""
    told = [record for record in records if record.trajectory is not None]
    ordered = sorted(told, key=lambda record: (-record.score, record.uid, record.group))
    count = min(count, len(ordered))
    return [ordered[place * (len(ordered) - 1) // max(1, count - 1)] for place in range(count)]


def as_markdown(record: EpisodeRecord) -> str:
    """A trajectory as Markdown of at most about `TEXT_LIMIT` characters.

    What a model or a tool wrote stands in indented blocks, which nothing in it can end.
    """
    trajectory: Mapping[str, Any] = record.trajectory or {}
    text = "\n\n".join(_passages(record, trajectory))
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}\n\n({len(text) - TEXT_LIMIT} more characters are in the dump.)"


def _passages(record: EpisodeRecord, trajectory: Mapping[str, Any]) -> Iterator[str]:
    verdicts = {verdict["turn"]: verdict for verdict in trajectory["verdicts"]}
    yield (
        f"**{trajectory['task_id']}** · reward {record.score:.4g} · {_right(trajectory)} turns right · "
        f"stopped: {trajectory['stop']} · {record.response_tokens} tokens"
    )
    yield from ("**user**", _block(trajectory.get("first_request", "")))
    for step in trajectory["steps"]:
        yield from (f"**assistant** ({step['outcome']})", _block(step["text"]))
        if step["closed_turn"]:
            yield _said(verdicts.get(step["turn"]))
        if step["observation"]:
            yield from ("**user**", _block(step["observation"]))


def _said(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "*turn closed without a verdict*"
    if verdict["correct"]:
        return f"*turn {verdict['turn'] + 1}: right*"
    wrong = ", ".join([str(verdict["failure"]), *verdict["mismatched_classes"]])
    return f"*turn {verdict['turn'] + 1}: wrong ({wrong})*"


def _block(text: str) -> str:
    return textwrap.indent(text or "(empty)", "    ", lambda line: True)


def _row(record: EpisodeRecord, step: int) -> list[Any]:
    trajectory: Mapping[str, Any] = record.trajectory or {}
    return [
        *(step, trajectory["task_id"], record.data_source, record.score),
        *(_right(trajectory), trajectory["stop"], as_markdown(record)),
    ]


def _right(trajectory: Mapping[str, Any]) -> str:
    return f"{sum(verdict['correct'] for verdict in trajectory['verdicts'])} of {trajectory['turns']}"
