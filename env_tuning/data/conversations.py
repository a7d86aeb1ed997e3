"""Conversations in JSONL: one object a line, ``{"conversation": [{"role": "user", "content": "..."}]}``.

Owns: reading such files, what a line may say beyond the conversation, and the parquet rows of `DialogueInteraction`.
Refuses: playing what an assistant said in a file: `read_replies` is for demonstrations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from env_tuning.errors import UserError
from env_tuning.interaction.dialogue import NAME, task_of

ABILITY = "dialogue"
_KEYS = ("id", "split", "tools", "tool_config", "answer", "kind", "needs_tools", "expected")

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", _MESSAGES),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("split", pa.string()),
                    ("index", pa.int64()),
                    (
                        "interaction_kwargs",
                        pa.struct([("name", pa.string()), ("id", pa.string()), ("dialogue", pa.string())]),
                    ),
                ]
            ),
        ),
    ]
)


def read_conversations(path: Path) -> list[dict[str, Any]]:
    """The records of a file, as `task_of` takes them.

    Beside ``conversation``, a line may hold ``id``, ``split``, ``tools`` and ``tool_config`` as they are, and what is
    known of the answers: ``expected``, one object for every turn, or for a single turn ``answer``, ``kind`` and
    ``needs_tools`` at once. Other keys are ignored.

    Raises:
        UserError: the file is missing, or a line is none of this form; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})") from None
    records = [_record(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not records:
        raise UserError(f"{path} has no conversation; write one JSON object a line")
    return [{"id": f"{path.stem}_{index}", **record} for index, record in enumerate(records)]


def read_replies(path: Path) -> list[list[list[str]]]:
    """What the assistant says in a file: for every line, for every user message, the texts that follow it.

    Raises:
        UserError: the file is none that `read_conversations` takes.
    """
    read_conversations(path)
    replies: list[list[list[str]]] = []
    for line in filter(str.strip, path.read_text(encoding="utf-8-sig").splitlines()):
        turns: list[list[str]] = []
        for message in json.loads(line)["conversation"]:
            if message["role"] == "user":
                turns.append([])
            elif message["role"] == "assistant" and turns:
                turns[-1].append(str(message["content"]))
        replies.append(turns)
    return replies


def write_dialogues(records: Iterable[dict[str, Any]], path: Path, *, split: str) -> int:
    """Write records as rows to train or validate on; returns their number.

    Raises:
        ValueError: a record is no task.
    """
    rows = [_row(record, split=split, index=index) for index, record in enumerate(records)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd", store_schema=False)
    return len(rows)


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
        turns = [message["content"] for message in data["conversation"] if message["role"] == "user"]
        if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
            raise ValueError("there is no user message, or an empty one")
        record = {"turns": turns, **{key: data[key] for key in _KEYS[:4] if data.get(key) is not None}}
        expected = _expected(data, turns)
        if expected is not None:
            record["expected"] = expected
        task_of({"id": "", **record})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"conversation": [{"role": "user", "content": "..."}]}'
        raise UserError(
            f"{where}: {type(error).__name__}: {error}; a line is {form} (docs/reference/dialogues.md)"
        ) from None
    return record


def _expected(data: dict[str, Any], turns: Sequence[str]) -> list[Any] | None:
    at_once = {key: data[key] for key in ("answer", "kind", "needs_tools") if key in data}
    if not at_once:
        return data.get("expected")
    if "expected" in data or len(turns) > 1:
        raise ValueError("answer, kind and needs_tools stand for a single turn; for several write expected, one each")
    return [at_once]


def _row(record: dict[str, Any], *, split: str, index: int) -> dict[str, Any]:
    task = task_of(record)
    return {
        "data_source": task.split,
        "prompt": [{"role": "user", "content": task.user_turns[0]}],
        "ability": ABILITY,
        "reward_model": {"style": "interaction", "ground_truth": task.expected[-1].answer},
        "extra_info": {
            "split": split,
            "index": index,
            "interaction_kwargs": {
                "name": NAME,
                "id": task.id,
                "dialogue": json.dumps(record, ensure_ascii=False),
            },
        },
    }
