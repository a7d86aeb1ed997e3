"""From the benchmark's records to `Task`s.

Owns: how a question record, its ground truth and the tool documents become one task. Refuses: files, prompts.

The records are odd in places, and stay so, because the tool classes are at parity with the benchmark's reading of
them: initial configurations of a class that is not involved, involved classes without one, inboxes and tickets of
many shapes. ``path`` and ``excluded_function`` are read by nothing in the benchmark and dropped here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from env_tuning.data.sources import Benchmark
from env_tuning.data.splits import Category
from env_tuning.task import Task, ToolDoc


def tasks_by_id(benchmark: Benchmark) -> dict[str, Task]:
    """All 800 tasks by id, in the order of `Category` and then of scenario number."""
    tasks = [
        read_task(question, answer, benchmark.tool_docs, category)
        for category in Category
        for question, answer in zip(benchmark.questions[category], benchmark.answers[category], strict=True)
    ]
    return {task.id: task for task in tasks}


def read_task(
    question: Mapping[str, Any],
    answer: Mapping[str, Any],
    docs: Mapping[str, tuple[ToolDoc, ...]],
    category: Category,
) -> Task:
    """One task from its question record, its ground-truth record and the documents of every tool class.

    Raises:
        ValueError: the two records are not of the same task.
    """
    if question["id"] != answer["id"]:
        raise ValueError(f"question {question['id']} is paired with the ground truth of {answer['id']}")
    classes = tuple(question["involved_classes"])
    return Task(
        id=question["id"],
        split=category.value,
        user_turns=tuple("\n".join(message["content"] for message in turn) for turn in question["question"]),
        initial_config=json.dumps(question["initial_config"], ensure_ascii=False),
        tool_classes=classes,
        tools=tuple(doc for name in classes for doc in docs[name]),
        ground_truth=tuple(tuple(turn) for turn in answer["ground_truth"]),
        releases={int(turn): tuple(names) for turn, names in question.get("missed_function", {}).items()},
        long_context=category is Category.LONG_CONTEXT,
    )
