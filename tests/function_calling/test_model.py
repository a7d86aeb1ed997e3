"""Demonstrations for the tiny model are perfect episodes of the training rows, several in one."""

import pytest

pytest.importorskip("transformers")

from env_tuning.function_calling.episode import Rules
from env_tuning.function_calling.families import family
from env_tuning.function_calling.model import demonstrations
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.function_calling.prepare import prepare
from env_tuning.function_calling.retrieval import BM25, Missing


@pytest.mark.parametrize("questioning", [True, False])
def test_demonstrations_play_every_row_once(tmp_path, questioning):
    tools = offline_tools()
    made = prepare(
        tmp_path, offline_dialogues(43), tools, retriever=BM25(tools), source="offline", missing=Missing.INJECT,
        validation=1,
    )  # fmt: skip
    shown = demonstrations(tmp_path / "train.parquet", family("plain"), Rules(questioning=questioning), together=4)
    assert made.train == 42
    assert len(shown) == 11
    requests = [text for messages in shown for text in messages if text["content"].startswith("Request: ")]
    assert len(requests) >= 42
    for messages in shown:
        assert [message["role"] for message in messages[:2]] == ["system", "user"]
        assert [message["role"] for message in messages[2:]] == ["assistant", "user"] * ((len(messages) - 3) // 2) + [
            "assistant"
        ]
    asked = any(message["content"].startswith("ask: ") for messages in shown for message in messages)
    assert asked is questioning
