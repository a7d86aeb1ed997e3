"""The AST check on literal calls; `tests/parity/test_ast.py` holds it against the benchmark's own."""

import pytest

from env_tuning.calls import ToolCall
from env_tuning.metrics.ast_match import Fault, as_possible, calls_fault
from env_tuning.task import ToolDoc

TOOLS = (
    ToolDoc(
        name="book",
        description="",
        parameters={
            "type": "dict",
            "properties": {
                "city": {"type": "string"},
                "nights": {"type": "integer"},
                "price": {"type": "float"},
                "extras": {"type": "array", "items": {"type": "string"}},
                "guest": {"type": "dict"},
                "quiet": {"type": "boolean"},
            },
            "required": ["city"],
        },
    ),
    ToolDoc(name="cancel", description="", parameters={"type": "dict", "properties": {}, "required": []}),
)
BOOK = {
    "book": {
        "city": ["New York", "NYC"],
        "nights": [2, ""],
        "price": [90.0, ""],
        "extras": [["tea", "sea-view"], ""],
        "guest": [{"name": ["Mira"], "age": [30, ""]}, ""],
        "quiet": [True, ""],
    }
}


def book(**arguments):
    return ToolCall(name="book", arguments={"city": "NYC", **arguments})


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({}, None),
        ({"city": "new york."}, None),
        ({"city": "Boston"}, Fault.VALUE),
        ({"city": 1}, Fault.TYPE),
        ({"nights": 2}, None),
        ({"nights": 2.0}, Fault.TYPE),
        ({"nights": True}, Fault.TYPE),
        ({"nights": 3}, Fault.VALUE),
        ({"price": 90}, None),
        ({"price": "90"}, Fault.TYPE),
        ({"extras": ["Tea", "sea view"]}, None),
        ({"extras": ["sea-view", "tea"]}, Fault.VALUE),
        ({"extras": [1]}, Fault.VALUE),
        ({"guest": {"name": "mira"}}, None),
        ({"guest": {"age": 30}}, Fault.VALUE),
        ({"guest": {"name": "Mira", "pet": "cat"}}, Fault.VALUE),
        ({"quiet": 1}, Fault.TYPE),
        ({"colour": "red"}, Fault.UNEXPECTED),
    ],
)
def test_values_are_compared_as_the_benchmark_compares_them(arguments, fault):
    assert calls_fault([book(**arguments)], [BOOK], TOOLS) is fault


def test_what_is_not_given_is_missing_unless_it_may_be_left_out():
    assert calls_fault([ToolCall(name="book", arguments={"nights": 2})], [BOOK], TOOLS) is Fault.MISSING
    strict = {"book": {"city": ["NYC"], "nights": [2]}}
    assert calls_fault([book()], [strict], TOOLS) is Fault.LEFT_OUT
    assert calls_fault([book(nights=2)], [strict], TOOLS) is None


def test_calls_match_in_any_order_and_in_number():
    two = [{"book": {"city": ["NYC"]}}, {"book": {"city": ["Lima"]}}]
    assert calls_fault([book(city="Lima"), book()], two, TOOLS) is None
    assert calls_fault([book(), book()], two, TOOLS) is Fault.VALUE
    assert calls_fault([book()], two, TOOLS) is Fault.COUNT
    assert calls_fault([ToolCall(name="cancel")], [BOOK], TOOLS) is Fault.NAME
    assert calls_fault([], [], TOOLS) is None


def test_a_call_is_the_only_right_answer_to_itself():
    call = book(guest={"name": "Mira"}, extras=["tea"], nights=2)
    assert calls_fault([call], [as_possible(call)], TOOLS) is None
    assert calls_fault([book(guest={"name": "Vera"}, extras=["tea"], nights=2)], [as_possible(call)], TOOLS)
    assert calls_fault([book(guest={"name": "Mira"}, extras=["tea"])], [as_possible(call)], TOOLS) is Fault.LEFT_OUT


def test_a_possible_answer_without_a_document_is_named():
    with pytest.raises(ValueError, match="'fly', which is none of the tools"):
        calls_fault([book()], [{"fly": {}}], TOOLS)
