"""Files of conversations: nothing is lost, nothing is invented, and a bad row is named."""

import json

import pyarrow.parquet as pq
import pytest

from env_tuning.errors import UserError
from env_tuning.sft.files import read_conversations, read_json, read_parquet, write_json, write_parquet
from env_tuning.sft.mixing import DataSettings, generate, read_split, write_splits
from env_tuning.sft.rendering import render
from env_tuning.sft.tiny import TOOL_TEMPLATE
from env_tuning.sft.transcript import OPTIONAL_FLOWS

ASKS = {"role": "user", "content": "Set a timer for 22 minutes."}
ANSWERS = {"role": "assistant", "content": "It is running."}


def calls(name="start_timer", **arguments):
    return {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def written(tmp_path, *rows, **columns):
    file = tmp_path / "rows.json"
    lines = ",\n".join(json.dumps(row) for row in rows)
    rest = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in columns.items())
    file.write_text(f'{{"messages": [\n{lines}\n]{rest}}}')
    return file


@pytest.fixture(scope="module")
def rows():
    settings = DataSettings(domains=("assistant", "payments", "mixed"), rows=60, test_rows=1, flows=OPTIONAL_FLOWS)
    return generate(settings).train


def test_both_formats_give_back_what_was_written(rows, tmp_path):
    write_json(rows, tmp_path / "rows.json")
    write_parquet(rows, tmp_path / "rows.parquet")
    assert tuple(read_json(tmp_path / "rows.json")) == rows
    assert tuple(read_parquet(tmp_path / "rows.parquet")) == rows


def test_the_rendered_text_holds_no_argument_and_no_property_that_the_row_has_not(rows, tmp_path):
    from env_tuning.model.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["text"], pieces=300)
    # JSON documents of tools, where a null would show.
    tokenizer.chat_template = TOOL_TEMPLATE.replace("signature(tool.function)", "(tool | tojson)")
    write_parquet(rows, tmp_path / "rows.parquet")
    for before, after in zip(rows, read_parquet(tmp_path / "rows.parquet"), strict=True):
        text = render(tokenizer, after.messages, after.tools, prompt=False)
        assert text == render(tokenizer, before.messages, before.tools, prompt=False)
        assert "null" not in text
    assert any("paymentMethod" in json.dumps(row.messages) for row in rows)
    assert any("duration" in json.dumps(row.messages) for row in rows)


def test_parquet_holds_text_where_structs_would_grow_nulls(rows, tmp_path):
    write_parquet(rows, tmp_path / "rows.parquet")
    assert {str(field.type) for field in pq.read_schema(tmp_path / "rows.parquet")} == {"string"}


def test_the_documents_layout_is_read_without_tools_and_without_contents(tmp_path):
    file = written(
        tmp_path, [ASKS, calls(duration=1320), {"role": "tool", "name": "start_timer", "content": "1320"}, ANSWERS]
    )
    (row,) = read_conversations(file)
    assert row.messages[1]["content"] == "" and row.request == ASKS["content"] and row.tools == ()


def test_arguments_written_as_text_are_decoded(tmp_path):
    call = calls()
    call["tool_calls"][0]["function"]["arguments"] = '{"duration": 60}'
    (row,) = read_json(written(tmp_path, [ASKS, call, {"role": "tool", "content": "60"}, ANSWERS]))
    assert row.messages[1]["tool_calls"][0]["function"]["arguments"] == {"duration": 60}


GOOD = [ASKS, ANSWERS]
TOOL = {"type": "function", "function": {"name": "start_timer", "parameters": {
    "type": "object", "properties": {"duration": {"type": "integer"}}, "required": ["duration"]}}}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([], "at least one message"),
        ("hello", "no list"),
        ([ASKS], "last message must be an assistant's"),
        ([ASKS, {"role": "robot", "content": "x"}], "role 'robot'"),
        ([ASKS, {"role": "assistant", "content": " "}], "neither speaks nor calls"),
        ([{"role": "user"}, ANSWERS], "content is no text"),
        ([ASKS, calls(duration=60), ANSWERS], "has no answer"),
        ([ASKS, {"role": "tool", "content": "60"}, ANSWERS], "no call is open"),
        ([ASKS, calls(duration=60), {"role": "tool", "name": "other", "content": ""}, ANSWERS], "answer of other"),
        ([ASKS, calls(duration="long"), {"role": "tool", "content": ""}, ANSWERS], 'duration="long" does not fit'),
        ([ASKS, calls(duration=True), {"role": "tool", "content": ""}, ANSWERS], "does not fit"),
        ([ASKS, calls(), {"role": "tool", "content": ""}, ANSWERS], "without duration"),
        ([ASKS, calls(duration=1, unit="s"), {"role": "tool", "content": ""}, ANSWERS], "no parameter unit"),
        ([ASKS, calls("stop"), {"role": "tool", "content": ""}, ANSWERS], "stop is none of the tools"),
    ],
)
def test_a_bad_row_is_named_by_its_line_with_the_reason(row, reason, tmp_path):
    file = written(tmp_path, GOOD, GOOD, row, tools=[[TOOL]] * 3)
    with pytest.raises(UserError, match=r"line 4, row 2: .*") as caught:
        read_json(file)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"messages": [\n[{]]}', "line 2"),
        ("[]", "line 1: expected '{'"),
        ('{"messages": []} x', "something follows"),
        ('{"rows": []}', "unknown"),
        ('{"tools": []}', 'no column "messages"'),
        ('{"messages": [[]], "tools": []}', "column tools has 0 rows"),
        ('{"messages": []}', "holds no conversation"),
    ],
)
def test_a_file_that_is_no_object_of_columns_is_refused_in_one_line(text, reason, tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises((UserError, ValueError), match=r"rows\.json") as caught:
        read_conversations(file)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_folder_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="env-tuning sft data"):
        read_split(tmp_path, "train")


def test_splits_are_read_back_by_name(tmp_path):
    splits = generate(DataSettings(rows=20, test_rows=2))
    write_splits(splits, tmp_path)
    assert tuple(read_split(tmp_path, "validation")) == splits.validation
    (tmp_path / "test.parquet").unlink()
    assert tuple(read_split(tmp_path, "test")) == splits.test
