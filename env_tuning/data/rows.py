"""One `Task` as one parquet row, and parquet files of such rows read back.

Owns: the schema of our parquet files (docs/reference/columns.md) and its checks. Refuses: knowing where the tasks
come from.

Structures without a fixed shape (tools, releases, initial configuration) are JSON text: parquet would give every
record of a column the fields of all the others, filled with nulls.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from env_tuning.protocols.base import PromptVersion, Protocol, ToolListing
from env_tuning.task import Task

INTERACTION = "multi_turn_tool_call"
"""The name under which the agent loop finds the interaction of a row."""

ABILITY = "multi_turn_function_calling"

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_CALLS_BY_TURN = pa.list_(pa.list_(pa.string()))

_INTERACTION_KWARGS = pa.struct(
    [
        ("name", pa.string()),
        ("id", pa.string()),
        ("initial_config", pa.string()),
        ("involved_classes", pa.list_(pa.string())),
        ("ground_truth", _CALLS_BY_TURN),
        ("processed_question", pa.list_(pa.string())),
        ("question", pa.list_(_MESSAGES)),
        ("split", pa.string()),
        ("tools", pa.string()),
        ("releases", pa.string()),
        ("prompt_version", pa.string()),
        ("long_context", pa.bool_()),
    ]
)

SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", _MESSAGES),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", _CALLS_BY_TURN)])),
        (
            "extra_info",
            pa.struct(
                [
                    ("split", pa.string()),
                    ("index", pa.int64()),
                    ("original_id", pa.string()),
                    ("dataset_type", pa.string()),
                    ("interaction_kwargs", _INTERACTION_KWARGS),
                ]
            ),
        ),
    ]
)


def task_row(task: Task, protocol: Protocol, *, version: PromptVersion, split: str, index: int) -> dict[str, Any]:
    """The row of a task.

    Args:
        task: what the row holds.
        protocol: writes the system prompt and the text of turns that release tools.
        version: which system prompt.
        split: ``train``, ``val`` or ``test``.
        index: the row's number in its file.
    """
    system = protocol.system_prompt(task.visible_tools(0), listing=ToolListing.JSON, version=version)
    calls = [list(turn) for turn in task.ground_truth]
    return {
        "data_source": task.split,
        "prompt": [_message("system", system), _message("user", task.user_turns[0])],
        "ability": ABILITY,
        "reward_model": {"style": "interaction", "ground_truth": calls},
        "extra_info": {
            "split": split,
            "index": index,
            "original_id": task.id,
            "dataset_type": task.split,
            "interaction_kwargs": {
                "name": INTERACTION,
                "id": task.id,
                "initial_config": task.initial_config,
                "involved_classes": list(task.tool_classes),
                "ground_truth": calls,
                "processed_question": [
                    protocol.request(task, turn, listing=ToolListing.JSON) for turn in range(1, task.turns)
                ],
                "question": [[_message("user", text)] if text else [] for text in task.user_turns],
                "split": task.split,
                "tools": _json([tool.as_dict() for tool in task.tools]),
                "releases": _json({str(turn): list(names) for turn, names in task.releases.items()}),
                "prompt_version": version.value,
                "long_context": task.long_context,
            },
        },
    }


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as a parquet file whose bytes depend on the rows and on the pyarrow version alone."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    pq.write_table(table, path, compression="zstd", version="2.6", row_group_size=len(rows), store_schema=False)


def load_tasks(path: Path) -> list[Task]:
    """The tasks of a parquet file, in row order.

    Raises:
        ValueError: the file is missing, no parquet file, or of another schema; the message names the fix.
    """
    table = _read(path)
    difference = _difference(pa.struct(list(SCHEMA)), pa.struct(list(table.schema)), "")
    if difference:
        raise ValueError(f"{path}: {difference}; run: env-tuning prepare")
    return [Task.from_row(extra["interaction_kwargs"]) for extra in table.column("extra_info").to_pylist()]


def interaction_names(path: Path) -> set[str]:
    """The names of the interactions that the rows of a parquet file ask for.

    Raises:
        ValueError: the file is missing, no parquet file, or its rows name no interaction.
    """
    return _kinds(path, "name")


def prompt_versions(path: Path) -> set[PromptVersion]:
    """The system prompts that the task rows of a parquet file ask for.

    Raises:
        ValueError: the file is missing, no parquet file, or its rows are no tasks.
    """
    return {PromptVersion(name) for name in _kinds(path, "prompt_version")}


def agent_names(path: Path) -> frozenset[str | None]:
    """The agent loops that the rows of a parquet file name, None for rows that name none; empty without the column.

    Raises:
        ValueError: the file is missing or no parquet file.
    """
    table = _read(path)
    return (
        frozenset(pc.unique(table.column("agent_name")).to_pylist())
        if "agent_name" in table.column_names
        else frozenset()
    )


def column_names(path: Path) -> frozenset[str]:
    """The columns of a parquet file.

    Raises:
        ValueError: the file is missing or no parquet file.
    """
    return frozenset(_read(path).column_names)


def row_count(path: Path) -> int:
    """Number of rows of a parquet file, from its footer."""
    return int(pq.read_metadata(path).num_rows)


def _kinds(path: Path, key: str) -> set[str]:
    """The different values of one text field of ``interaction_kwargs``."""
    table = _read(path)
    try:
        kwargs = pc.struct_field(table.column("extra_info"), "interaction_kwargs")
        return set(pc.unique(pc.struct_field(kwargs, key)).to_pylist())
    except (KeyError, pa.ArrowException):
        raise ValueError(f"{path} has no column extra_info.interaction_kwargs.{key}; run: env-tuning prepare") from None


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise ValueError(f"{path} does not exist; run: env-tuning prepare")
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a whole parquet file ({reason}); run: env-tuning prepare") from None


def _difference(expected: pa.DataType, actual: pa.DataType, column: str) -> str | None:
    """The first column that is missing or of another kind; further columns are the user's own business."""
    if pa.types.is_struct(expected):
        if not pa.types.is_struct(actual):
            return f"column {column} is {actual}, expected a struct"
        for field in expected:
            path = f"{column}.{field.name}".lstrip(".")
            at = actual.get_field_index(field.name)
            found = f"column {path} is missing" if at < 0 else _difference(field.type, actual.field(at).type, path)
            if found:
                return found
        return None
    if pa.types.is_list(expected):
        if not (pa.types.is_list(actual) or pa.types.is_large_list(actual)):
            return f"column {column} is {actual}, expected a list"
        return _difference(expected.value_type, actual.value_type, column)
    same = expected == actual or (pa.types.is_string(expected) and pa.types.is_large_string(actual))
    return None if same else f"column {column} is {actual}, expected {expected}"


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
