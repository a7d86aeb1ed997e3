import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from env_tuning.calls import ToolCall
from env_tuning.protocols import (
    Answer,
    Malformed,
    PromptVersion,
    ThinkAnswer,
    ToolListing,
    UseTools,
    protocol,
    think_answer,
)
from env_tuning.protocols.base import signature
from env_tuning.task import ToolDoc

SPEAK = ThinkAnswer()


def calls(body: object) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return f"<think>t</think><tool_call>{text}</tool_call>"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<think>t</think><answer>done</answer>", Answer("done", "t")),
        ("\n<think>\nt\n</think>\n\n<answer>\ndone\n</answer>\n", Answer("done", "t")),
        # Strictness decided as in the original (its conformance row 11): order and emptiness are free.
        ("<answer>done</answer><think>t</think>", Answer("done", "t")),
        ("<think></think><answer></answer>", Answer("", "")),
        ("<think>a lone <tool_call> tag</think><answer>x</answer>", Answer("x", "a lone <tool_call> tag")),
        (calls([{"name": "ls", "arguments": {}}]), UseTools((ToolCall(name="ls"),), "t")),
        (calls({"name": "ls", "arguments": {}}), UseTools((ToolCall(name="ls"),), "t")),
        (
            calls([{"name": "cd", "arguments": '{"folder": "a"}', "id": 7}]),
            UseTools((ToolCall(name="cd", arguments={"folder": "a"}),), "t"),
        ),
    ],
)
def test_well_formed_messages_are_read(text, action):
    assert SPEAK.parse(text) == action


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "<think>...</think> block is missing"),
        ("<answer>x</answer>", "<think>...</think> block is missing"),
        ("<thinking>t</thinking><answer>x</answer>", "<think>...</think> block is missing"),
        ("<think>a</think><think>b</think><answer>x</answer>", "more than one <think>"),
        ("<think>a</think><tool_call>[]</tool_call><tool_call>[]</tool_call>", "more than one <tool_call>"),
        ("<think>a</think><answer>x</answer><answer>y</answer>", "more than one <answer>"),
        ("<think>a</think><tool_call>[]</tool_call><answer>x</answer>", "both <tool_call> and <answer>"),
        ("<think>a</think>", "neither"),
        ("<think>a</think> so <answer>x</answer>", "text outside the tags"),
        ("<think>a</think><answer>x</answer> bye", "text outside the tags"),
        # A whole pair inside the thought counts as a pair (original's row 12).
        ("<think><answer>x</answer></think><answer>y</answer>", "more than one <answer>"),
        (calls("{not json"), "is not JSON"),
        (calls("[" * 100_000), "is not JSON"),
        (calls("9" * 5000), "is not JSON"),
        (calls('[{"name": "f", "arguments": {"a": ' + "[" * 500 + "]" * 500 + "}}]"), "nested deeper than 40 levels"),
        (calls([{"name": "f", "arguments": "[" * 500 + "]" * 500}]), '"arguments" that are not a JSON object'),
        (calls([]), "holds no call"),
        (calls("hello"), "is not JSON"),
        (calls('"hello"'), "call 1 is not an object"),
        (calls([{"name": "ls"}]), 'call 1 has no "arguments"'),
        (calls([{"name": "ls", "parameters": {}}]), 'call 1 has no "arguments"'),
        (calls([{"name": "ls", "arguments": {}}, {"nome": 1}]), 'call 2 has no "name"'),
        (calls([{"name": "", "arguments": {}}]), 'call 1 has no "name"'),
        (calls([{"name": "ls", "arguments": [1]}]), '"arguments" that are not a JSON object'),
        (calls([{"name": "ls", "arguments": "[1]"}]), '"arguments" that are not a JSON object'),
        (calls([{"name": "ls", "arguments": None}]), '"arguments" that are not a JSON object'),
    ],
)
def test_broken_messages_get_one_line_of_feedback(text, said):
    action = SPEAK.parse(text)
    assert isinstance(action, Malformed)
    assert said in action.feedback
    assert "\n" not in SPEAK.format_feedback(action)


def test_brackets_in_a_string_are_not_depth():
    action = SPEAK.parse(calls([{"name": "echo", "arguments": {"content": "[" * 500}}]))
    assert isinstance(action, UseTools)


TAGS = st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>", "[", "{", '"'])


@given(st.lists(st.one_of(TAGS, st.text(max_size=8)), max_size=20).map("".join))
def test_parsing_never_raises_on_any_text(text):
    assert isinstance(SPEAK.parse(text), Answer | UseTools | Malformed)


WHOLE = st.sampled_from(
    ["<think>t</think>", '<tool_call>[{"name": "f", "arguments": {}}]</tool_call>', "<answer>x</answer>"]
)


@given(st.lists(st.one_of(WHOLE, TAGS, st.text(max_size=3)), max_size=6).map("".join))
def test_the_quick_way_through_agrees_with_the_full_check(text):
    quick = SPEAK.parse(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(think_answer, "_usual_form", lambda text: None)
        assert SPEAK.parse(text) == quick


@given(st.lists(st.text(), max_size=4))
@example(["a" * 1000, 'a\\"é\x7f\u2028\ud800' * 300, '\n"\\' * 1000, "\x1f" + " " * 1000])
def test_results_are_shown_as_json(results):
    shown = SPEAK.observation(results).removeprefix("Results of your calls: ").rpartition("\nIf the request")[0]
    assert shown == json.dumps(results, ensure_ascii=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def tagless(text: str) -> bool:
    return "<" not in text


@given(
    st.lists(
        st.builds(
            lambda name, arguments: ToolCall(name=name, arguments=arguments),
            st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
            st.dictionaries(st.text(), JSON, max_size=3),
        ).filter(lambda call: tagless(json.dumps(dict(call.arguments)))),
        min_size=1,
        max_size=4,
    )
)
def test_written_calls_are_read_back(listed):
    assert SPEAK.parse(SPEAK.write_calls(listed, "because")) == UseTools(tuple(listed), "because")


@given(st.text().filter(tagless), st.text().filter(tagless))
def test_written_answers_are_read_back(text, thought):
    assert SPEAK.parse(SPEAK.write_answer(text, thought)) == Answer(text.strip(), thought.strip())


def test_a_long_run_of_open_tags_takes_linear_time():
    # 400,000 characters: a quadratic scan would take minutes, and the suite would hang.
    assert isinstance(SPEAK.parse("<think>" * 60_000), Malformed)
    assert isinstance(SPEAK.parse("<think></think><answer>" * 20_000), Malformed)


TOOL = ToolDoc(
    name="sort",
    description="Sort a file.",
    parameters={
        "type": "dict",
        "properties": {
            "file_name": {"type": "string", "description": "which"},
            "keys": {"type": "array", "items": {"type": "integer"}, "default": None},
        },
        "required": ["file_name"],
    },
)


def test_both_listings_name_the_same_tools():
    compact = SPEAK.system_prompt([TOOL], listing=ToolListing.SIGNATURES, version=PromptVersion.V1)
    full = SPEAK.system_prompt([TOOL], listing=ToolListing.JSON, version=PromptVersion.V1)
    assert "sort(file_name: string, keys: array[integer] = null)" in compact
    assert json.dumps([TOOL.as_dict()]) in full


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "array[array[integer]]"),
        ({"type": "dict", "properties": {"a": {"type": "string"}}}, "{a: string}"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object[integer]"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer | null"),
        ({"enum": ["up", "down"]}, '"up" | "down"'),
        ({}, "any"),
    ],
)
def test_a_signature_keeps_nested_types(schema, shown):
    tool = ToolDoc(name="f", description="", parameters={"properties": {"x": schema}, "required": ["x"]})
    assert signature(tool) == f"f(x: {shown})"


def test_the_second_prompt_version_only_adds_notes():
    first = SPEAK.system_prompt([TOOL], listing=ToolListing.JSON, version=PromptVersion.V1)
    second = SPEAK.system_prompt([TOOL], listing=ToolListing.JSON, version=PromptVersion.V2)
    assert second.startswith(first)
    assert "resourceful" in second
    assert "never invent a call" in second


def test_the_prompts_own_examples_parse():
    prompt = SPEAK.system_prompt([TOOL], listing=ToolListing.JSON, version=PromptVersion.V2)
    examples = [line for line in prompt.splitlines() if line.startswith("<think>")]
    assert [type(SPEAK.parse(example)) for example in examples] == [UseTools, Answer]


def test_an_unknown_protocol_names_the_known_ones():
    assert protocol("think_answer").name == "think_answer"
    with pytest.raises(ValueError, match="think_answer"):
        protocol("morse")
