"""Candidates: BM25, embeddings, recall, and what happens when a needed tool is not among them."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env_tuning.errors import UserError
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.function_calling.prepare import prepare
from env_tuning.function_calling.records import Tool
from env_tuning.function_calling.retrieval import BM25, Embeddings, Missing, inject, recall, retriever, words

TOOLS = {
    name: Tool(name=name, description=description)
    for name, description in {
        "get_weather": "Weather of a city",
        "bookHotel": "Reserve a room",
        "查询天气": "查询一个城市的天气",
        "other": "Nothing like it at all",
    }.items()
}


def test_words_of_identifiers_and_of_chinese_are_taken_apart():
    assert words("get_weather bookHotel2 Ölpreis") == ["get", "weather", "book", "hotel2", "ölpreis"]
    assert words("天气 in Oslo") == ["天", "气", "in", "oslo"]


def test_bm25_finds_names_and_descriptions():
    ranked = BM25(TOOLS)
    assert ranked.rank("What is the weather in the city?", 1) == ["get_weather"]
    assert ranked.rank("a hotel please", 1) == ["bookHotel"]
    assert ranked.rank("今天的天气", 1) == ["查询天气"]


def test_ties_are_broken_by_the_order_of_the_inventory():
    assert BM25(TOOLS).rank("xyz", 3) == ["get_weather", "bookHotel", "查询天气"]
    assert BM25(TOOLS).rank("", 9) == list(TOOLS)


def test_a_rare_word_counts_more_than_a_common_one():
    tools = {n: Tool(name=n, description=d) for n, d in {"a": "map map", "b": "map lynx", "c": "map owl"}.items()}
    assert BM25(tools).rank("map lynx", 1) == ["b"]


class Axes:
    """An encoder whose vectors count two letters, of any length."""

    def encode(self, texts):
        return [[text.count("w") * 3.0, text.count("r") * 3.0] for text in texts]


def test_embeddings_are_compared_by_angle():
    tools = {n: Tool(name=n, description=d) for n, d in {"x": "rrrrrrrr", "y": "w", "z": "none"}.items()}
    assert Embeddings(tools, Axes()).rank("w w w r", 3) == ["y", "x", "z"]


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r"pip install 'env-tuning\[retrieval\]', or use bm25"):
        retriever(TOOLS, "some/model")
    assert isinstance(retriever(TOOLS, "bm25"), BM25)


NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_injected_candidates_hold_all_that_is_needed(candidates, needed):
    injected = inject(candidates, needed)
    assert recall(injected, needed) == 1.0
    assert len(injected) == len(set(injected)) == max(len(candidates), len(needed))
    kept = [name for name in injected if name in candidates]
    assert kept == [name for name in candidates if name in kept]


def test_recall_counts_needed_tools():
    assert recall(["a", "b"], ["a", "c"]) == 0.5
    assert recall([], []) == 1.0


@pytest.mark.parametrize("missing", list(Missing))
def test_every_policy_says_what_it_did(tmp_path, missing):
    tools, dialogues = offline_tools(), offline_dialogues(60)
    made = prepare(
        tmp_path, dialogues, tools, retriever=BM25(tools), source="offline", k=3, missing=missing, seed=5, validation=6
    )
    lacking = round((1 - made.complete) * 60)
    assert 0 < lacking < 60
    assert (made.left_out, made.injected, made.incomplete) == tuple(
        lacking if missing is one else 0 for one in (Missing.RESAMPLE, Missing.INJECT, Missing.KEEP)
    )
    assert made.train + made.validation == 60 - made.left_out
    assert 0.5 < made.recall < 1.0


def test_preparing_twice_gives_the_same_files(tmp_path):
    tools, dialogues = offline_tools(), offline_dialogues(30)
    for folder in ("one", "two"):
        prepare(tmp_path / folder, dialogues, tools, retriever=BM25(tools), source="offline", validation=5)
    for name in ("train.parquet", "val.parquet", "preparation.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_dialogue_is_trained_on_or_validated_with(tmp_path):
    import pyarrow.parquet as pq

    tools = offline_tools()
    prepare(
        tmp_path,
        offline_dialogues(50),
        tools,
        retriever=BM25(tools),
        source="offline",
        missing=Missing.KEEP,
        validation=5,
    )
    train, validation = (
        {row["interaction_kwargs"]["dialogue"] for row in pq.read_table(tmp_path / name)["extra_info"].to_pylist()}
        for name in ("train.parquet", "val.parquet")
    )
    assert (len(train), len(validation)) == (45, 5)
    assert not train & validation


@pytest.mark.parametrize("settings", [{"k": 0}, {"validation": 0}])
def test_numbers_out_of_range_are_refused(tmp_path, settings):
    tools = offline_tools()
    with pytest.raises(UserError, match="at least 1"):
        prepare(tmp_path, offline_dialogues(5), tools, retriever=BM25(tools), source="offline", **settings)


def test_too_few_dialogues_are_named(tmp_path):
    tools = offline_tools()
    with pytest.raises(UserError, match="no more than the 64 to validate with"):
        prepare(tmp_path, offline_dialogues(20), tools, retriever=BM25(tools), source="offline")
