"""Conversations in files: the column-oriented JSON of the recipe's document, and parquet.

Owns: both formats and errors that name the line. Refuses: what the conversations say. In parquet, messages and tools
are JSON text: as nested columns every call would get the arguments of all the other calls, filled with nulls, and a
chat template renders those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from env_tuning.atomic import replace_text
from env_tuning.errors import UserError, refuse_unknown
from env_tuning.sft.conversations import Conversation, Tool, read_conversation

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("messages", "tools", "domain", "flow")
_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


def write_json(conversations: Sequence[Conversation], path: Path) -> None:
    """Write one JSON object of columns, one row of a column per line, so that a line number names a row."""
    columns: dict[str, list[Any]] = {
        "messages": [list(row.messages) for row in conversations],
        "tools": [list(row.tools) for row in conversations],
        "domain": [row.domain for row in conversations],
        "flow": [row.flow for row in conversations],
    }
    parts = []
    for name, values in columns.items():
        lines = ",\n".join(json.dumps(value, ensure_ascii=False) for value in values)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, "{" + ",\n".join(parts) + "}\n")


def read_json(path: Path, *, default_tools: Sequence[Tool] = ()) -> list[Conversation]:
    """Read a JSON object of columns; only ``messages`` is needed.

    Args:
        path: the file.
        default_tools: the tools of rows that name none.

    Raises:
        UserError: no such file, no JSON, or a bad row; the message names the line and the reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    columns: dict[str, list[tuple[int, Any]]] = {}
    try:
        for name, line, value in _cells(text):
            columns.setdefault(name, [])
            if line:
                columns[name].append((line, value))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
    refuse_unknown(f"{path}: column", columns, COLUMNS)
    if "messages" not in columns:
        raise UserError(f'{path} has no column "messages"; expected {{"messages": [[{{"role": ...}}, ...], ...]}}')
    rows = len(columns["messages"])
    for name, cells in columns.items():
        if len(cells) != rows:
            raise UserError(f"{path}: column {name} has {len(cells)} rows, column messages has {rows}")
    found = []
    for number, (line, messages) in enumerate(columns["messages"]):
        rest = {name: columns[name][number][1] for name in COLUMNS[1:] if name in columns}
        try:
            found.append(read_conversation(messages, **rest, default_tools=default_tools))
        except ValueError as error:
            raise UserError(f"{path}, line {line}, row {number}: {error}") from None
    return found


def write_parquet(conversations: Sequence[Conversation], path: Path) -> None:
    """Write rows with messages and tools as JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "messages": [json.dumps(row.messages, ensure_ascii=False) for row in conversations],
        "tools": [json.dumps(row.tools, ensure_ascii=False) for row in conversations],
        "domain": [row.domain for row in conversations],
        "flow": [row.flow for row in conversations],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    pq.write_table(pa.table(columns, schema=schema), path)


def read_parquet(path: Path) -> list[Conversation]:
    """Read what `write_parquet` wrote.

    Raises:
        UserError: no such file, or a row that is no conversation.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: pa.Table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise UserError(f"{path} has no columns {missing}; write it with: env-tuning sft data")
    return [_from_text(path, number, row) for number, row in enumerate(table.select(COLUMNS).to_pylist())]


def read_conversations(path: Path, *, default_tools: Sequence[Tool] = ()) -> list[Conversation]:
    """Read a file of either format, by its ending.

    Raises:
        UserError: as the readers do, and for an empty file.
    """
    rows = read_parquet(path) if path.suffix == ".parquet" else read_json(path, default_tools=default_tools)
    if not rows:
        raise UserError(f"{path} holds no conversation")
    return rows


def _from_text(path: Path, number: int, row: Mapping[str, Any]) -> Conversation:
    try:
        messages, tools = json.loads(row["messages"]), json.loads(row["tools"])
        return read_conversation(messages, tools, domain=row["domain"] or "", flow=row["flow"] or "")
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}, row {number}: {error}") from None


def _cells(text: str) -> Iterator[tuple[str, int, Any]]:
    """Column, line and value of every cell, column by column; an empty column gives one cell at line 0.

    Written out because Python's reader does not tell where a value stands.
    """
    place = _expect(text, 0, "{")
    line, counted = 1, 0
    while True:
        name, place = _value(text, place)
        if not isinstance(name, str):
            raise json.JSONDecodeError("expected the name of a column", text, place)
        place = _expect(text, _expect(text, place, ":"), "[")
        if text[_skip(text, place) : _skip(text, place) + 1] == "]":
            yield name, 0, None
        else:
            while True:
                place = _skip(text, place)
                line, counted = line + text.count("\n", counted, place), place
                value, place = _value(text, place)
                yield name, line, value
                place = _skip(text, place)
                if text[place : place + 1] != ",":
                    break
                place += 1
        place = _skip(text, _expect(text, place, "]"))
        if text[place : place + 1] != ",":
            break
        place += 1
    place = _skip(text, _expect(text, place, "}"))
    if place != len(text):
        raise json.JSONDecodeError("something follows the object of columns", text, place)


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place


def _expect(text: str, place: int, sign: str) -> int:
    place = _skip(text, place)
    if text[place : place + 1] != sign:
        raise json.JSONDecodeError(f"expected {sign!r}", text, min(place, len(text)))
    return place + 1


def _value(text: str, place: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, _skip(text, place))
