"""What a family writes it reads back, and no message breaks a parser."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env_tuning.calls import ToolCall
from env_tuning.function_calling.families import FAMILIES, Calls, Fault, Names, Question, family

EVERY = sorted(FAMILIES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = st.lists(st.dictionaries(st.text(max_size=6), JSON, max_size=3), min_size=1, max_size=3)
NAMES = st.lists(st.from_regex(r"[a-z_]{2,8}", fullmatch=True), unique=True, max_size=4)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=40, deadline=None)
@given(ARGUMENTS)
def test_calls_are_read_back(name, arguments):
    speak = family(name)
    read = speak.read_filling("tool", speak.write_calls("tool", arguments))
    assert read == Calls(tuple(ToolCall(name="tool", arguments=one) for one in arguments))


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=40, deadline=None)
@given(NAMES)
def test_names_and_questions_are_read_back(name, names):
    speak = family(name)
    if "none" not in names:
        assert speak.read_selection(speak.write_names(names)) == Names(tuple(names))
    if names:
        assert speak.read_filling("tool", speak.write_question(names)) == Question(tuple(names))


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.sampled_from('[]{}":, \n`<>/|｜▁abtool_cask;none1'), max_size=60) | st.text(max_size=40))
def test_any_text_is_read(name, text):
    speak = family(name)
    assert isinstance(speak.read_selection(text), Names | Fault)
    assert isinstance(speak.read_filling("tool", text), Calls | Question | Fault)


@pytest.mark.parametrize("name", EVERY)
def test_thoughts_are_skipped(name):
    speak = family(name)
    assert speak.read_selection("<think>a or b?</think>\n a") == Names(("a",))
    assert isinstance(speak.read_selection("<think>a or b?"), Fault)
    calls = speak.write_calls("tool", [{"a": 1}])
    assert speak.read_filling("tool", f"<think>ask: b</think>{calls}") == Calls(
        (ToolCall(name="tool", arguments={"a": 1}),)
    )


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, '{"a":' * 100_000, "a " * 100_000, "<tool_call>" * 20_000, "<｜tool▁call▁begin｜>" * 20_000],
)
def test_hostile_messages_are_faults(name, text):
    speak = family(name)
    assert isinstance(speak.read_filling("tool", text), Fault)
    assert isinstance(speak.read_selection(text), Fault | Names)


def test_families_write_calls_in_their_own_way():
    written = {name: family(name).write_calls("f", [{"a": 1}, {"a": 2}]) for name in EVERY}
    assert written["plain"] == '[{"a": 1}, {"a": 2}]'
    assert written["qwen"].count("</tool_call>") == 2
    assert written["llama"] == '{"name": "f", "parameters": {"a": 1}}; {"name": "f", "parameters": {"a": 2}}'
    assert written["deepseek"].startswith(
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
    )
    for name in EVERY:
        assert family(name).call_syntax() in family(name).system_prompt(questioning=False)


def test_deepseek_without_a_fence_is_read():
    text = '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
    assert family("deepseek").read_filling("f", text) == Calls((ToolCall(name="f", arguments={"a": 1}),))


def test_llama_after_its_tag_is_read():
    text = '<|python_tag|>{"name": "f", "parameters": {"a": 1}}\n{"name": "f", "parameters": {"a": 2}}'
    read = family("llama").read_filling("f", text)
    assert isinstance(read, Calls)
    assert [call.arguments for call in read.calls] == [{"a": 1}, {"a": 2}]


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="known: deepseek, llama, plain, qwen"):
        family("gpt")
