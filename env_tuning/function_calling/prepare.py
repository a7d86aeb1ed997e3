"""From a dataset and an inventory to parquet files, with the candidates of every request.

Owns: the split by dialogue, what happens when retrieval misses a needed tool, the rows and the report of both. Refuses:
ranking tools (`retrieval`), playing episodes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.errors import UserError
from env_tuning.function_calling.interaction import NAME
from env_tuning.function_calling.records import Dialogue, Tool
from env_tuning.function_calling.retrieval import Missing, Retriever, inject, recall

REPORT = "preparation.json"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What was made.

    Attributes:
        train: rows of ``train.parquet``.
        validation: rows of ``val.parquet``.
        candidates: how many tools a request is shown.
        recall: mean share of the needed tools that retrieval found, before anything was done about it.
        complete: share of the dialogues of which it found all.
        left_out: dialogues that were left out for it.
        injected: dialogues that got needed tools in place of others.
        incomplete: dialogues that lack some, and stay.
    """

    train: int
    validation: int
    candidates: int
    recall: float
    complete: float
    left_out: int = 0
    injected: int = 0
    incomplete: int = 0


def prepare(
    destination: Path,
    dialogues: Sequence[Dialogue],
    tools: Mapping[str, Tool],
    *,
    retriever: Retriever,
    source: str,
    k: int = 6,
    missing: Missing = Missing.RESAMPLE,
    validation: int = 64,
    seed: int = 0,
) -> Preparation:
    """Write ``train.parquet``, ``val.parquet`` and ``preparation.json``.

    Args:
        destination: a folder, made if it is not there.
        dialogues: of the dataset.
        tools: the inventory.
        retriever: over the inventory.
        source: name of the dataset, for the metrics' ``data_source``.
        k: how many candidates a request is shown.
        missing: what is done when needed tools are not among them.
        validation: how many dialogues are held back for validation.
        seed: of the split and of the order in which candidates are shown.

    Raises:
        UserError: a number is out of range, or nothing is left to train or validate with.
    """
    if k < 1 or validation < 1:
        raise UserError(f"there are {k} candidates and {validation} dialogues to validate with; both are at least 1")
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    shares: list[float] = []
    complete = left_out = injected = incomplete = 0
    for dialogue in dialogues:
        found = [retriever.rank(request.query, k) for request in dialogue.requests]
        shares += [recall(names, request.tools) for names, request in zip(found, dialogue.requests, strict=True)]
        if all(recall(names, request.tools) == 1 for names, request in zip(found, dialogue.requests, strict=True)):
            complete += 1
        elif missing is Missing.RESAMPLE:
            left_out += 1
            continue
        elif missing is Missing.INJECT:
            injected += 1
            found = [inject(names, request.tools) for names, request in zip(found, dialogue.requests, strict=True)]
        else:
            incomplete += 1
        for names in found:
            draw.shuffle(names)  # the first candidate is no hint
        rows.append(row(dialogue, tools, found, source=source, index=len(rows)))
    draw.shuffle(rows)
    if len(rows) <= validation:
        raise UserError(
            f"of {len(dialogues)} dialogues {len(rows)} are left, no more than the {validation} to validate with; "
            "give more, or choose another --missing"
        )
    held_back, train = rows[:validation], rows[validation:]
    result = Preparation(
        train=len(train),
        validation=len(held_back),
        candidates=k,
        recall=sum(shares) / len(shares),
        complete=complete / len(dialogues),
        left_out=left_out,
        injected=injected,
        incomplete=incomplete,
    )
    destination.mkdir(parents=True, exist_ok=True)
    _write(train, destination / "train.parquet", "train")
    _write(held_back, destination / "val.parquet", "val")
    replace_text(destination / REPORT, json.dumps(asdict(result), indent=2) + "\n")
    return result


def row(
    dialogue: Dialogue, tools: Mapping[str, Tool], candidates: Sequence[Sequence[str]], *, source: str, index: int
) -> dict[str, Any]:
    """The row of a dialogue, which holds all that its episode needs."""
    needed = dict.fromkeys([*(name for names in candidates for name in names), *dialogue.tools])
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": dialogue.requests[0].query}],
        "ability": "function_calling",
        "reward_model": {"style": "interaction", "ground_truth": ""},
        "extra_info": {
            "index": index,
            # Records have no fixed shape: as JSON, for parquet would give each the fields of all the others.
            "interaction_kwargs": {
                "name": NAME,
                "split": source,
                "dialogue": json.dumps(dialogue.to_json(), ensure_ascii=False),
                "tools": json.dumps([tools[name].to_json() for name in needed], ensure_ascii=False),
                "candidates": json.dumps([list(names) for names in candidates], ensure_ascii=False),
            },
        },
    }


def _write(rows: Sequence[dict[str, Any]], file: Path, split: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    marked = [{**one, "extra_info": {**one["extra_info"], "split": split}} for one in rows]
    partial = file.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(marked), partial, compression="zstd")
    partial.replace(file)
