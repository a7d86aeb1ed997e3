"""`DialogueInteraction`: requests that end with a final answer, tools on the way, and what is known of the answer.

Owns: the form of such a task in a row, and the short names of the tool classes that rows choose. Refuses: the rules of
an episode (`episode.py`), judging answers (`judge.py`), verl imports. It is `MultiTurnToolInteraction` with other rows
and other defaults.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from env_tuning.environments.registry import tool_class
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.errors import refuse_unknown
from env_tuning.interaction.multi_turn import MultiTurnToolInteraction
from env_tuning.protocols import Hermes
from env_tuning.task import AnswerKind, Expected, Task

NAME = "dialogue"
"""What rows carry in ``interaction_kwargs.name``."""

TOOLS: Mapping[str, str] = MappingProxyType(
    {
        "assistant": "env_tuning.environments.assistant:Assistant",
        "python": "env_tuning.environments.python.tool:PythonTool",
    }
)
"""Short names of tool classes; any other is a path such as ``package.module:Class``."""

STEPS_PER_TURN, CALLS_PER_STEP = 5, 3
_RULES = MappingProxyType({"steps_per_turn": STEPS_PER_TURN, "calls_per_step": CALLS_PER_STEP})


class DialogueInteraction(MultiTurnToolInteraction):
    """Hosts episodes that are judged by their final answers.

    Configuration keys: those of `MultiTurnToolInteraction`, with the protocol ``hermes`` and at most 5 messages for a
    request and 3 calls in a message by default, in training and in validation alike, and

        tools: for rows that choose none, the tool classes (default ``[assistant]``).
        tool_config: tool class, or its short name, to its configuration; a row's own keys win.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Check the configuration; an unknown key is a `ValueError`."""
        mine = {key: value for key, value in config.items() if key not in ("tools", "tool_config")}
        rules = {**_RULES, **(config.get("rules") or {})}
        super().__init__(
            {
                "protocol": Hermes.name,
                **mine,
                "rules": rules,
                "eval_rules": {**rules, "official": False, **(config.get("eval_rules") or {})},
            }
        )
        self._tools = tuple(config.get("tools") or ("assistant",))
        self._tool_config = {class_path(name): dict(keys) for name, keys in (config.get("tool_config") or {}).items()}
        for name in self._tools:
            tool_class(class_path(name))

    def read_task(self, row: Mapping[str, Any]) -> Task:
        """The task in a row's field ``dialogue``, a JSON object (`task_of`)."""
        if "dialogue" not in row:
            raise ValueError("the row has no interaction_kwargs.dialogue; write it with env_tuning.data.conversations")
        record = json.loads(row["dialogue"])
        given = {class_path(name): keys for name, keys in (record.get("tool_config") or {}).items()}
        merged = {
            name: {**self._tool_config.get(name, {}), **given.get(name, {})} for name in self._tool_config | given
        }
        return task_of({"tools": list(self._tools), **record, "tool_config": merged})


def class_path(name: str) -> str:
    """The path of a tool class that may be given by its short name."""
    return TOOLS.get(name, name)


def task_of(record: Mapping[str, Any]) -> Task:
    """The task of a record with plain JSON values.

    Args:
        record: ``id``, ``turns`` (what the user says); and, if wanted, ``split``, ``tools`` (names of tool classes),
            ``tool_config`` and ``expected`` (for every turn an object with ``answer``, ``kind``, ``needs_tools``, or
            null).

    Raises:
        ValueError: a part is missing or wrong.
    """
    refuse_unknown("dialogue", record, ("id", "turns", "split", "tools", "tool_config", "expected"))
    try:
        turns = tuple(str(turn) for turn in record["turns"])
        expected = record.get("expected") or [None] * len(turns)
        classes = tuple(class_path(name) for name in record.get("tools") or ())
        config = {class_path(name): keys for name, keys in (record.get("tool_config") or {}).items()}
        return Task(
            id=str(record["id"]),
            split=str(record.get("split") or NAME),
            user_turns=turns,
            initial_config=json.dumps({name: config[name] for name in classes if name in config}, sort_keys=True),
            tool_classes=classes,
            tools=tuple(doc for name in classes for doc in _documents(name)),
            ground_truth=((),) * len(turns),
            expected=tuple(map(_expected, expected)),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"dialogue {record.get('id', '?')!r} is not whole ({error!r}); see docs/reference/dialogues.md"
        ) from None


def _expected(record: Mapping[str, Any] | None) -> Expected:
    if record is None:
        return Expected()
    refuse_unknown("expected", record, Expected._fields)
    answer, needs = record.get("answer"), record.get("needs_tools")
    if needs not in (None, True, False):
        raise ValueError(f"needs_tools is {needs!r}; it must be true, false or null")
    return Expected(
        answer=None if answer is None else str(answer),
        kind=AnswerKind(record.get("kind") or AnswerKind.WORDS.value),
        needs_tools=needs,
    )


@functools.cache
def _documents(name: str) -> tuple[Any, ...]:
    return tuple(tool_docs_of(tool_class(name)))
