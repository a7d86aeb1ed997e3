"""Demonstrations for the tiny model are episodes of the training rows, perfect or with a doubt to unlearn."""

import pytest

pytest.importorskip("transformers")

from env_tuning.function_calling.episode import Rules
from env_tuning.function_calling.families import family
from env_tuning.function_calling.model import DOUBTFUL, demonstrations
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.function_calling.prepare import prepare
from env_tuning.function_calling.retrieval import BM25, Missing


@pytest.mark.parametrize("questioning", [True, False])
def test_demonstrations_play_every_row_once(tmp_path, questioning):
    made = prepared(tmp_path)
    shown = demonstrations(tmp_path / "train.parquet", family("plain"), Rules(questioning=questioning))
    assert made.train == len(shown) == 42
    for messages in shown:
        assert [message["role"] for message in messages[:2]] == ["system", "user"]
        assert [message["role"] for message in messages[2:]] == ["assistant", "user"] * ((len(messages) - 3) // 2) + [
            "assistant"
        ]
    asked = any(message["content"].startswith("ask: ") for messages in shown for message in messages)
    assert asked is questioning


def test_doubt_shows_as_often_as_it_is_asked_for(tmp_path):
    prepared(tmp_path)
    said = [
        message["content"]
        for messages in demonstrations(tmp_path / "train.parquet", family("plain"), Rules(), doubt=0.5)
        for message in messages
        if message["role"] == "assistant"
    ]
    assert 0.3 < said.count(DOUBTFUL) / len(said) < 0.7
    assert DOUBTFUL not in [
        message["content"]
        for messages in demonstrations(tmp_path / "train.parquet", family("plain"), Rules())
        for message in messages
    ]


def prepared(folder):
    tools = offline_tools()
    return prepare(
        folder, offline_dialogues(43), tools, retriever=BM25(tools), source="offline", missing=Missing.INJECT,
        validation=1,
    )  # fmt: skip
