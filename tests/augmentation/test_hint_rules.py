"""What every rule must keep to, and what the generic rules say; and that no failure makes a rule raise or dawdle."""

from __future__ import annotations

import re
import time
from typing import Any, Literal

import pytest
from hinting import hint_after, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from env_tuning.augmentation import generic, wording
from env_tuning.augmentation.book import HintBook, format_hint
from env_tuning.augmentation.coverage import coverage
from env_tuning.augmentation.registry import RULE_MODULES, rule_table, rules_of
from env_tuning.augmentation.rules import (
    HINT_CHARACTERS,
    ErrorCategory,
    Failure,
    HintKind,
    HintRule,
    find_hint,
)
from env_tuning.calls import ToolCall
from env_tuning.environments.environment import CallStatus, ToolResult
from env_tuning.environments.registry import tool_class
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.environments.tool_class import ToolClass
from env_tuning.protocols import Malformed, ThinkAnswer
from env_tuning.task import ToolDoc

BFCL = [rule for name in RULE_MODULES for rule in rules_of(name)]
EVERY = [*BFCL, *generic.RULES, *generic.UNKNOWN, *wording.RULES]
TOOLS = frozenset(tool for name in RULE_MODULES for tool in tool_class(name).tools)
COMMON = frozenset(tool for tool in TOOLS if tool == tool.lower() and "_" not in tool)
SENTENCES = [(rule.name, text) for rule in EVERY for text in (rule.text, rule.plain) if isinstance(text, str) and text]


class Library(ToolClass):
    """Books, for the generic rules."""

    def lend(self, title: str, days: Literal[7, 14] = 14, notes: list[str] | None = None) -> dict:
        """Lend a book.

        Args:
            title: the book's title.
            days: how long.
            notes: what to remember.
        """
        return {"due": len(title) + days}

    def take_back(self, count: int) -> dict:
        """Take books back.

        Args:
            count: how many.
        """
        return {"left": 10 - count}

    def close(self) -> dict:
        """Close for the day."""
        return {}


NAME = f"{__name__}:Library"
TASK = task_of(NAME, {doc.name: doc for doc in tool_docs_of(Library)})


@pytest.mark.parametrize(
    ("call", "rule", "says"),
    [
        (("lend_book", {}), "generic.unknown_tool", "`lend`"),
        (("takeback", {}), "generic.unknown_tool", "`take_back`"),
        (("weather", {}), "generic.unknown_tool", "Use only the tools in your list"),
        (("lend", {"title": "Emma", "weeks": 2}), "generic.unexpected_argument", "`title`, `days`, `notes`"),
        (("close", {"now": True}), "generic.unexpected_argument", "no arguments at all"),
        (("lend", {}), "generic.missing_argument", "`title`"),
        (("lend", {"title": None}), "generic.wrong_type", "`title` must be a text in quotes"),
        (("lend", {"title": "Emma", "days": "7"}), "generic.wrong_type", "`days` must be one of 7, 14"),
        (("take_back", {"count": "two"}), "generic.wrong_type", "`count` must be a whole number"),
        (("take_back", {"count": "$count"}), "generic.placeholder", "`count` holds a placeholder"),
        (("take_back", {"count": "{number of books}"}), "generic.placeholder", "`count` holds a placeholder"),
        (("take_back", {"count": "<count>"}), "generic.placeholder", "`count` holds a placeholder"),
        (("lend", {"title": "x" * 200_000}), "generic.too_much", "too large"),
    ],
)
def test_every_environment_has_hints_for_free(call, rule, says):
    result, hint = hint_after(TASK, call)
    assert result.status is CallStatus.EXCEPTION
    assert hint.rule == rule
    assert says in hint.text


def test_a_call_that_works_gets_no_hint():
    result, hint = hint_after(TASK, ("lend", {"title": "Emma"}))
    assert (result.status, hint) == (CallStatus.OK, None)


def test_the_nearest_names_are_the_likeliest():
    names = ("get_stock_info", "get_symbol_by_name", "trading_login", "place_order", "cancel_order")
    known = tuple((name, "") for name in names)
    assert generic.nearest("getStockInfo", known)[0] == "get_stock_info"
    assert generic.nearest("order_place", known)[0] == "place_order"
    assert generic.nearest("login", known) == ("trading_login",)
    assert generic.nearest("qqq", known) == ()
    assert generic.nearest("", known) == ()


def test_a_name_that_says_what_a_tool_does_is_near_it():
    class_of = "This tool belongs to the file system, which has files and directories. Tool description: "
    known = (
        ("ls", f"{class_of}List the contents of the current directory."),
        ("mkdir", f"{class_of}Make a new directory."),
        ("rm", f"{class_of}Remove a file."),
    )
    assert generic.nearest("list_dir", known)[0] == "ls"
    assert generic.nearest("delete_everything", known) == ()
    assert generic.nearest("removeFile", known) == ("rm",)


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (1, {"type": "integer"}, True),
        (True, {"type": "integer"}, False),
        (1.0, {"type": "integer"}, False),
        (1, {"type": "float"}, True),
        ("1", {"type": "float"}, False),
        (None, {"type": "null"}, True),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, False),
        ([1, 2], {"type": "array", "items": {"type": "integer"}}, True),
        ({}, {"type": "dict"}, True),
        ("a", {"enum": ["a", "b"]}, True),
        (["a"], {"enum": ["a", "b"]}, False),
        (None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, False),
        (object(), {}, True),
        ("a", {"type": "no such type"}, True),
        ("a", "no schema", True),
    ],
)
def test_types_are_those_of_the_document(value, schema, fits):
    assert generic.fits(value, schema) is fits


CALL = '<think>t</think><tool_call>[{"name": "a", "arguments": {}}]</tool_call>'


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (CALL.replace('"', "'"), "format.single_quotes"),
        (CALL.replace("{}", '{"x": True}'), "format.python_words"),
        (CALL.replace("[{", "```json\n[{"), "format.fence"),
        (CALL.replace('[{"name": "a", "arguments": {}}]', "a(x=1)"), "format.python_call"),
        (CALL.replace("}]", "},]"), "format.trailing_comma"),
        (CALL.replace("}]", "}"), "format.brackets"),
        (CALL.replace("[", "").replace("]", ', {"name": "b"}'), "format.several_values"),
        (CALL.replace("{}", '{"x": "a\nb"}'), "format.control_character"),
        (CALL.replace("arguments", "parameters"), "format.arguments_key"),
        (CALL.replace('"name"', '"function"'), "format.name_key"),
        (CALL.replace("think>", "thinking>"), "format.think_tag"),
        (CALL.replace("</tool_call>", ""), "format.open_block"),
    ],
)
def test_broken_messages_are_explained(message, rule):
    protocol = ThinkAnswer()
    action = protocol.parse(message)
    assert isinstance(action, Malformed)
    assert format_hint(message, protocol.format_feedback(action)).rule == rule


def test_what_the_protocol_says_well_enough_is_not_said_again():
    protocol = ThinkAnswer()
    for message in ("", "hello", "<think>a</think><think>b</think><answer>c</answer>", f"{CALL} and more"):
        assert format_hint(message, protocol.format_feedback(protocol.parse(message))) is None


def test_rule_names_are_unique_over_all_classes():
    names = [rule.name for rule in EVERY]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("rule", "text"), SENTENCES)
def test_hints_are_whole_short_sentences_without_code(rule, text):
    assert 30 < len(text) <= 300
    assert text[0].isupper()
    assert text.endswith(".")
    assert not re.search(r"\w\(|\{|\}", text) or rule.startswith("format.")


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_a_rule_declares_the_tools_that_it_names(rule):
    if not isinstance(rule.text, str):
        return
    words = set(re.findall(r"\w+", rule.text))
    # Common words that are tools as well are not to be used at all: a task may hold such a tool back.
    assert words & COMMON == set()
    assert words & TOOLS == set(rule.names)
    assert set(re.findall(r"\w+", rule.plain)) & TOOLS == set()
    assert bool(rule.plain) is bool(rule.names)


def _rule(**changes: Any) -> HintRule:
    given = {
        "name": "a",
        "pattern": "x",
        "category": ErrorCategory.FORMAT_MISMATCH,
        "kind": HintKind.CORRECT_FORMAT,
        "text": "Do otherwise.",
    }
    return HintRule(**{**given, **changes})


def _failure(**changes: Any) -> Failure:
    return Failure(**{"tool": "t", "arguments": {}, "error": "x", "visible": {}, **changes})


def test_the_first_rule_that_has_something_to_say_answers():
    rules = (
        _rule(name="other", pattern="y"),
        _rule(name="when", when=lambda failure: False),
        _rule(name="silent", text=lambda failure: None),
        _rule(name="hidden", names=("secret",)),
        _rule(name="said", text="Said."),
        _rule(name="late"),
    )
    assert find_hint(_failure(), rules).rule == "said"
    assert find_hint(_failure(error="z"), rules) is None


def test_a_hint_names_a_tool_only_where_it_is_visible():
    rule = _rule(text="Use `secret`.", names=("secret",), plain="Use another.")
    doc = ToolDoc(name="secret", description="", parameters={})
    assert find_hint(_failure(), [rule]).text == "Use another."
    assert find_hint(_failure(visible={"secret": doc}), [rule]).text == "Use `secret`."


def test_a_long_hint_is_cut():
    assert len(find_hint(_failure(), [_rule(text="a" * 10_000)]).text) == HINT_CHARACTERS


class WithBadHints(Library):
    hints = (_rule(tools=("nosuch",)),)


class WithTwins(Library):
    hints = (_rule(), _rule())


class WithStrings(Library):
    hints = ("Do otherwise.",)


class WithTool(Library):
    def hints(self) -> dict:
        """A tool of this name."""
        return {}


@pytest.mark.parametrize(
    ("name", "says"),
    [("WithBadHints", "no tools of the class"), ("WithTwins", "two rules"), ("WithStrings", "no HintRule")],
)
def test_rules_that_do_not_fit_their_class_are_refused_by_name(name, says):
    with pytest.raises(ValueError, match=says):
        rules_of(f"{__name__}:{name}")


def test_a_tool_named_hints_is_a_tool():
    assert rules_of(f"{__name__}:WithTool") == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["$x", "a/b", "..", "{{y}}"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ERRORS = [sample for name in RULE_MODULES for row in coverage(name) for sample in row.site.samples] + [
    "Error during execution: name 'x' is not defined",
    "Error during execution: A.b() got an unexpected keyword argument 'x'",
    "Error during execution: A.b() missing 1 required positional argument: 'x'",
    "Error during execution: '<' not supported between instances of 'str' and 'int'",
    "Format error: the <tool_call> block is not JSON (Extra data).",
]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_failure_makes_a_rule_raise_and_the_same_failure_gets_the_same_hint(tasks, data):
    task = tasks[data.draw(st.sampled_from(sorted(tasks)))]
    visible = {doc.name: doc for doc in task.visible_tools(0)}
    tool = data.draw(st.sampled_from(sorted(visible)) | st.text())
    parameters = list(visible[tool].parameters["properties"]) if tool in visible else []
    names = st.sampled_from(parameters) | st.text() if parameters else st.text()
    failure = Failure(
        tool=tool,
        arguments=data.draw(st.dictionaries(names, VALUES, max_size=6)),
        error=data.draw(st.sampled_from(ERRORS) | st.text()),
        visible=visible,
        message=data.draw(st.text()),
    )
    hints = [find_hint(failure, [rule]) for rule in EVERY]
    assert hints == [find_hint(failure, [rule]) for rule in EVERY]
    assert all(hint is None or 0 < len(hint.text) <= HINT_CHARACTERS for hint in hints)


HOSTILE = {
    "long text": {"title": "a" * 99_000, "days": "b" * 99_000},
    "long name": {"c" * 99_000: 1},
    "many names": {f"name_{number}": number for number in range(5_000)},
    "long list": {"notes": [1] * 9_000},
    "deep": {"notes": [[[[[[[[[["x"]]]]]]]]]]},
}


@pytest.mark.parametrize("arguments", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("tool", ["lend", "nosuch" * 10_000])
@pytest.mark.parametrize(
    "error", ["Ticket with ID " * 30_000, "Error during execution: name '" * 20_000, "{" * 400_000]
)
def test_no_failure_costs_more_than_a_moment(arguments, tool, error):
    call, result = ToolCall(name=tool, arguments=arguments), ToolResult(error, CallStatus.ERROR)
    books = [HintBook(TASK), HintBook(task_of("TicketAPI", {}))]
    start = time.process_time()
    for book in books:
        book.hint(0, call, result)
    for rule in BFCL:
        find_hint(_failure(tool=tool, arguments=arguments, error=error[:4_000]), [rule])
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    "message", ["<tool_call>" + " " * 99_000, "<tool_call>" * 9_000, "," + " " * 99_000, "[" * 99_000]
)
def test_no_broken_message_costs_more_than_a_moment(message):
    start = time.process_time()
    for feedback in (
        "Format error: the <tool_call> block is not JSON (x).",
        'call 1 has no "name"',
        "neither <tool_call>",
    ):
        format_hint(message, feedback)
    assert time.process_time() - start < 0.5


def test_the_table_of_an_environment_is_built_once():
    assert rule_table(("TicketAPI",)) is rule_table(("TicketAPI",))
