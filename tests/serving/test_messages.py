"""Messages on the wire: what a template gets of them, and what a client gets of a text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env_tuning.serving.messages import CALL_MARK, read_messages, read_written, safe_length
from env_tuning.serving.refusals import RequestRefused


def call(name: str, number: str, arguments: str = "{}"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(number: str, content: str):
    return {"role": "tool", "tool_call_id": number, "content": content}


USER = {"role": "user", "content": "Park the car."}
TWO_CALLS = {"role": "assistant", "content": None, "tool_calls": [call("park", "a", '{"x": 1}'), call("find", "b")]}


def test_calls_are_decoded_and_results_stand_in_the_order_of_the_calls():
    read = read_messages([USER, TWO_CALLS, result("b", "found"), result("a", "parked"), {**USER, "name": None}])
    assert [entry["function"]["arguments"] for entry in read[1]["tool_calls"]] == [{"x": 1}, {}]
    assert [(message["name"], message["content"]) for message in read[2:4]] == [("park", "parked"), ("find", "found")]
    assert (read[1]["content"], read[4]) == ("", USER)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([USER, TWO_CALLS, result("a", "parked"), USER], "message 3: the call b has no result before it"),
        ([USER, TWO_CALLS, result("a", "parked")], "the call b has no result"),
        ([USER, TWO_CALLS, result("a", "x"), result("a", "x")], "its tool_call_id 'a' is no open call"),
        ([USER, result("a", "x")], "message 1: its tool_call_id 'a' is no open call"),
        ([{**USER, "tool_calls": [call("park", "a")]}], "only an assistant calls tools"),
        ([{**TWO_CALLS, "tool_calls": [call("park", "a"), call("find", "a")]}], "an id of its own"),
        ([{**TWO_CALLS, "tool_calls": [call("park", None)]}], "an id of its own"),
        ([{**TWO_CALLS, "tool_calls": [call("park", "a", "{")]}], "the arguments of park are no JSON"),
        ([{**TWO_CALLS, "tool_calls": [call("park", "a", "[]")]}], "the arguments of park are no object"),
        ([{**TWO_CALLS, "tool_calls": "park"}], "tool_calls is no list"),
        ([{"role": "assistant", "content": None}], "its content must be text"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place(messages, reason):
    with pytest.raises(RequestRefused) as refused:
        read_messages(messages)
    assert reason in str(refused.value) and refused.value.parameter == "messages"


WRITTEN = 'I look.\n<tool_call>\n{"name": "find", "arguments": {"what": "car"}}\n</tool_call>'


def test_calls_of_a_text_become_tool_calls_and_the_rest_content():
    written = read_written(WRITTEN, with_tools=True)
    (entry,) = written.message["tool_calls"]
    assert (written.content, entry["function"]["name"]) == ("I look.", "find")
    assert json.loads(entry["function"]["arguments"]) == {"what": "car"}
    assert read_written(WRITTEN[8:], with_tools=True).message["content"] is None


@pytest.mark.parametrize("text", ["no call", WRITTEN[:-3], "<tool_call>\n{}\n</tool_call>", ""])
def test_what_is_no_readable_call_stays_text(text):
    assert read_written(text, with_tools=True).message == {"role": "assistant", "content": text}


def test_nothing_is_a_call_if_no_tools_were_offered():
    assert read_written(WRITTEN, with_tools=False).message == {"role": "assistant", "content": WRITTEN}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I look", "I look"),
        ("I look.\n", "I look."),
        ("I look. <tool", "I look."),
        (WRITTEN, "I look."),
        ("a < b", "a < b"),
        ("caf\ufffd", "caf"),
        ("one EN", "one"),
        ("EN", ""),
        ("one END two", "one"),
        ("E<", "E"),
    ],
)
def test_a_growing_text_is_shown_up_to_what_may_become_a_mark(text, shown):
    assert text[: safe_length(text, [CALL_MARK, "END"])] == shown


@given(st.text(alphabet="<tol_ca>EN x", max_size=40))
def test_what_was_shown_is_never_taken_back(text):
    marks = [CALL_MARK, "END"]
    whole = text[: min([len(text), *(text.find(mark) for mark in marks if mark in text)])]
    for end in range(len(text) + 1):
        assert whole.startswith(text[: safe_length(text[:end], marks)])
