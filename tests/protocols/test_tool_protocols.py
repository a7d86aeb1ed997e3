"""What the two protocols of tool episodes read, write and show."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from env_tuning.calls import ToolCall
from env_tuning.protocols import (
    PROTOCOLS,
    Answer,
    Hermes,
    Malformed,
    PromptVersion,
    PythonBlock,
    ToolListing,
    UseTools,
)
from env_tuning.task import ToolDoc

BOTH = pytest.mark.parametrize("speak", [Hermes(), PythonBlock()], ids=lambda speak: speak.name)


def block(name: str, **arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def program(code: str) -> ToolCall:
    return call("python", code=code)


@BOTH
def test_several_calls_of_one_message_keep_their_order_and_the_words_before_them(speak):
    text = f"先算一下。\n{block('calculator', expression='25 * 37')}\n{block('weather_query', city='北京')}\n"
    assert speak.parse(text) == UseTools(
        (call("calculator", expression="25 * 37"), call("weather_query", city="北京")), "先算一下。"
    )


@BOTH
@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("25 * 37 等于 925。", Answer("25 * 37 等于 925。")),
        ("<think>easy</think>\n925", Answer("925", "easy")),
        ("easy</think>\n925", Answer("925", "easy")),
        ("", Answer("")),
        (f"<think>t</think>{block('f')}", UseTools((call("f"),), "t")),
        ("<think>never closed", Malformed("Format error: <think> is not closed; write </think>.")),
    ],
)
def test_answers_and_thoughts(speak, text, action):
    assert speak.parse(text) == action


@BOTH
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<tool_call>{'name': 'f', 'arguments': {}}</tool_call>", "is not JSON"),
        (f"{block('f')}<tool_call>oops</tool_call>", "block 2 of 2; no call was run"),
        ('<tool_call>{"name": "f"}</tool_call>', 'has no "arguments"'),
        ("<tool_call></tool_call>", "is not JSON"),
        ("<tool_call>[]</tool_call>", "holds no call"),
        ('I call <tool_call>{"name": "f", "arguments": {}}', "is not closed"),
        (f"<tool_call>{block('f')}", "is not closed"),
        (f"{block('f')}</tool_call>", "stands alone"),
    ],
)
def test_a_call_that_cannot_be_read_is_answered_and_never_vanishes(speak, text, said):
    action = speak.parse(text)
    assert isinstance(action, Malformed)
    assert said in action.feedback
    assert action.feedback in speak.format_feedback(action)
    assert "\n" not in action.feedback


def test_programs_and_calls_mix_in_the_order_of_the_text():
    text = f"First.\n```python\nx = 1\n\nprint(x)\n```\nthen {block('search', query='pi')}\n```py\nprint(2)\n```\ndone"
    assert PythonBlock().parse(text) == UseTools(
        (program("x = 1\n\nprint(x)"), call("search", query="pi"), program("print(2)")), "First."
    )


UNCLOSED = Malformed("Format error: the ```python block is not closed; write ``` on a line of its own.")


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("so \\boxed{4}", Answer("so \\boxed{4}")),
        ("```\nno program\n```", Answer("```\nno program\n```")),
        ("```python\nprint(1)", UNCLOSED),
        ("inline ```python``` is none", Answer("inline ```python``` is none")),
        ("```python\n```", UseTools((program(""),))),
        ("  ```Python\n  print(1)\n  ```", UseTools((program("  print(1)"),))),
    ],
)  # fmt: skip
def test_what_is_a_program(text, action):
    assert PythonBlock().parse(text) == action


def test_results_read_as_the_document_writes_them():
    assert Hermes().observation(["1053", "错误: x"], ["calculator", "search"]) == (
        "<tool_result>\n工具: calculator\n结果: 1053\n</tool_result>\n\n"
        "<tool_result>\n工具: search\n结果: 错误: x\n</tool_result>"
    )


def test_output_cannot_close_its_own_fence():
    assert PythonBlock().observation(["1", "a\n```\nb"]) == "```output\n1\n```\n````output\na\n```\nb\n````"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(
    lambda name, arguments: ToolCall(name=name, arguments=arguments),
    st.sampled_from(["f", "python", "查询"]),
    st.dictionaries(st.sampled_from(["code", "城市"]), JSON, max_size=2),
)
TRICKY = ToolCall(name="python", arguments={"code": "print('''\n```\n</tool_call><tool_call>'''"})


@BOTH
@given(calls=st.lists(CALLS, min_size=1, max_size=3))
@example(calls=[TRICKY, TRICKY])
@example(calls=[ToolCall(name="python", arguments={"code": "\n1\n"})])
def test_written_calls_are_read_back(speak, calls):
    assert speak.parse(speak.write_calls(calls, "because")) == UseTools(tuple(calls), "because")


@BOTH
@given(text=st.text(alphabet=st.characters(exclude_characters="<`")), thought=st.text().filter(lambda t: "<" not in t))
def test_written_answers_are_read_back(speak, text, thought):
    assert speak.parse(speak.write_answer(text, thought)) == Answer(text.strip(), thought.strip())


PIECES = st.sampled_from(
    ["<think>", "</think>", "<tool_call>", "</tool_call>", "```python\n", "\n```\n", "```", '{"name": "f"', "}", "x"]
)  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
@given(pieces=st.lists(PIECES, max_size=20))
def test_parsing_never_raises(name, pieces):
    assert isinstance(PROTOCOLS[name]().parse("".join(pieces)), Answer | UseTools | Malformed)


@BOTH
def test_long_runs_of_tags_and_fences_take_linear_time(speak):
    # A quadratic scan of half a million characters would hang the suite.
    assert isinstance(speak.parse("<tool_call>" * 50_000), Malformed)
    assert isinstance(speak.parse("<think>" * 50_000), Malformed)
    assert isinstance(speak.parse("```python\nx\n```\n" * 20_000), Answer | UseTools)


TOOLS = [
    ToolDoc(name="python", description="Run.", parameters={"properties": {"code": {"type": "string"}}}),
    ToolDoc(name="search", description="Look.", parameters={"properties": {"query": {"type": "string"}}}),
]


@pytest.mark.parametrize("listing", ToolListing)
def test_prompts_show_how_to_speak(listing):
    hermes = Hermes().system_prompt(TOOLS, listing=listing, version=PromptVersion.V1)
    assert isinstance(Hermes().parse(hermes[hermes.index("<tool_call>\n") :]), Malformed | UseTools)
    assert "python(code" in hermes or '"name": "python"' in hermes
    python = PythonBlock().system_prompt(TOOLS, listing=listing, version=PromptVersion.V1)
    assert "python(code" not in python
    assert '"name": "python"' not in python
    assert "search" in python
    assert isinstance(PythonBlock().parse(python), UseTools)
    assert "<tool_call>" not in PythonBlock().system_prompt(TOOLS[:1], listing=listing, version=PromptVersion.V1)
