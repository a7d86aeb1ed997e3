"""Public sets of mathematical problems by name, as conversations for the Python tool.

Owns: where they lie on the hub, and which of their columns are problem and answer. Refuses: keeping copies; the
`datasets` library downloads and caches them, or reads a local copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from env_tuning.errors import UserError

TOOLS = ("python",)


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """A set on the hub.

    Attributes:
        repository: its id.
        subset: its configuration, None for the only one.
        split: which part of it.
        problem: the column of the problem.
        answer: the column of the answer.
    """

    repository: str
    subset: str | None = None
    split: str
    problem: str
    answer: str


PUBLIC_SETS: Mapping[str, PublicSet] = MappingProxyType(
    {
        "aime": PublicSet(repository="gneubig/aime-1983-2024", split="train", problem="Question", answer="Answer"),
        "aime2024": PublicSet(
            repository="HuggingFaceH4/aime_2024", split="train", problem="problem", answer="answer"
        ),
        "aime2025": PublicSet(
            repository="opencompass/AIME2025", subset="AIME2025-I", split="test", problem="question", answer="answer"
        ),
        "math500": PublicSet(
            repository="HuggingFaceH4/MATH-500", split="test", problem="problem", answer="answer"
        ),
        "gsm8k": PublicSet(
            repository="openai/gsm8k", subset="main", split="train", problem="question", answer="answer"
        ),
    }
)  # fmt: skip
"""``aime`` to train and ``aime2025`` to validate is the document's choice."""

_LAST_ANSWER = re.compile(r"####\s*(.+)\s*$")


def load_public_set(name: str, source: str | None = None) -> list[dict[str, Any]]:
    """The records of a set, as `task_of` takes them.

    Args:
        name: a key of `PUBLIC_SETS`.
        source: a folder or file with a copy of the set, in any form that `datasets.load_dataset` takes; by default
            the hub is asked.

    Raises:
        UserError: no such set, no `datasets` library, or a set that cannot be had or has other columns.
    """
    if name not in PUBLIC_SETS:
        raise UserError(f"no public set named {name!r}; known: {', '.join(PUBLIC_SETS)}")
    return _records(name, PUBLIC_SETS[name], _rows(PUBLIC_SETS[name], source))


def _rows(chosen: PublicSet, source: str | None) -> Iterable[Mapping[str, Any]]:
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise UserError("public sets are read with the datasets library; pip install datasets") from None
    try:
        if source is None:
            return load_dataset(chosen.repository, chosen.subset, split=chosen.split)
        if source.endswith((".jsonl", ".json")):
            return load_dataset("json", data_files=source, split="train")
        return load_dataset(source, split=chosen.split)
    except (DatasetsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"the set {source or chosen.repository} cannot be had ({reason}); give a copy of it, such as "
            "--dataset_path FOLDER"
        ) from None


def _records(name: str, chosen: PublicSet, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    records = []
    for index, row in enumerate(rows):
        if missing := [column for column in (chosen.problem, chosen.answer) if row.get(column) is None]:
            raise UserError(f"row {index} of the set {name} has no {' and no '.join(missing)}; it has {', '.join(row)}")
        answer = str(row[chosen.answer]).strip()
        if found := _LAST_ANSWER.search(answer):  # a solution with the answer in its last line
            answer = found[1].strip()
        records.append(
            {
                "id": f"{name}_{index}",
                "split": name,
                "tools": list(TOOLS),
                "turns": [str(row[chosen.problem])],
                "expected": [{"answer": answer, "kind": "maths", "needs_tools": None}],
            }
        )
    if not records:
        raise UserError(f"the set {name} is empty")
    return records
