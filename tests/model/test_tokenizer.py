"""The tokenizer: lossless, one id per tag, and a template that never rewrites the past."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from env_tuning.data.demonstrations import demonstration
from env_tuning.data.splits import Category
from env_tuning.model.tokenizer import MESSAGE_END, SPECIAL_TOKENS, TAG_TOKENS, train_tokenizer
from env_tuning.model.warm_start import NO_LOSS, encode


@pytest.fixture(scope="session")
def messages(tasks):
    return demonstration(tasks[Category.BASE.task_id(0)])


@pytest.fixture(scope="session")
def tokenizer(messages):
    return train_tokenizer([message["content"] for message in messages], pieces=600)


def ids(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, return_dict=False, **options)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_encoding_and_decoding(tokenizer, text):
    if not any(token in text for token in SPECIAL_TOKENS):
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_the_parser_sees_tags_and_no_special_tokens(tokenizer):
    text = '<think>a</think><tool_call>[{"name": "ls", "arguments": {}}]</tool_call><answer></answer>'
    encoded = tokenizer.encode(text + MESSAGE_END)
    assert tokenizer.decode(encoded, skip_special_tokens=True) == text
    assert [tokenizer.convert_ids_to_tokens(i) for i in encoded].count("<think>") == 1
    assert all(len(tokenizer.encode(tag)) == 1 for tag in TAG_TOKENS)


def test_ids_have_no_gaps_and_the_vocabulary_keeps_to_its_limit(tokenizer):
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    assert len(tokenizer) <= 600
    assert tokenizer.eos_token == MESSAGE_END
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_every_rendered_prefix_is_a_prefix_of_the_whole(tokenizer, messages):
    whole = ids(tokenizer, messages)
    for length in range(1, len(messages)):
        prefix = ids(tokenizer, messages[:length])
        assert whole[: len(prefix)] == prefix
        if messages[length]["role"] == "assistant":
            prompt = ids(tokenizer, messages[:length], add_generation_prompt=True)
            assert whole[: len(prompt)] == prompt


def test_labels_cover_exactly_what_the_assistant_writes(tokenizer, messages):
    example = encode(tokenizer, messages)
    assert example["input_ids"] == ids(tokenizer, messages)
    written = tokenizer.decode([label for label in example["labels"] if label != NO_LOSS])
    assert written == "".join(m["content"] + MESSAGE_END for m in messages if m["role"] == "assistant")


def test_a_newline_is_one_token_as_the_boundary_of_messages_needs(tokenizer):
    assert len(tokenizer.encode("\n")) == 1


def test_training_twice_gives_the_same_files(messages, tmp_path):
    for name in ("a", "b"):
        train_tokenizer([message["content"] for message in messages], pieces=500).save_pretrained(tmp_path / name)
    files = [sorted((path.name, path.read_text()) for path in (tmp_path / name).iterdir()) for name in ("a", "b")]
    assert files[0] == files[1]


def test_loading_keeps_pieces_tags_and_template(tokenizer, messages, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    # AutoTokenizer would take Qwen's own class, with another splitting of texts, if it went by the model type alone.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert ids(loaded, messages) == ids(tokenizer, messages)
    assert loaded.eos_token_id == tokenizer.eos_token_id and len(loaded) == len(tokenizer)
    assert loaded.decode(loaded.encode("<think> x"), skip_special_tokens=True) == "<think> x"
