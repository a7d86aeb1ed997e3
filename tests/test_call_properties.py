"""The call parser on arbitrary text: it raises one error and no other, and reads back what it writes."""

from __future__ import annotations

import contextlib
import keyword

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from env_tuning.calls import CallSyntaxError, ToolCall, parse_call

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=5), below, max_size=4),
    max_leaves=12,
)
CALLS = st.builds(
    ToolCall,
    name=NAMES,
    arguments=st.dictionaries(NAMES, VALUES, max_size=4),
    positional=st.lists(VALUES, max_size=3).map(tuple),
)
# Python warns of some of the text below before it refuses it.
pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *"()[]{},=:'\"\\ \n#*+-.@~<>&|%^!?",
            "f(",
            "f",
            "x=",
            "1",
            "0x" + "f" * 300,
            "1e999",
            "1j",
            "'a'",
            "b'a'",
            "f'{x}'",
            "None",
            "True",
            "lambda: 0",
            "**",
            "...",
            "__import__('os')",
            "if",
            "else",
            "for",
            "yield",
            "await",
            ":=",
            "\x00",
            "\ud800",
            "é",
            "1_0",
        ]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.text() | FRAGMENTS | FRAGMENTS.map(lambda text: f"f({text})"))
@example("f(0x" + "f" * 300 + " + 1j)")
def test_anything_is_a_call_or_a_call_syntax_error(text):
    with contextlib.suppress(CallSyntaxError):
        call = parse_call(text)
        assert call.name.isidentifier()
        str(call)


@settings(max_examples=300, deadline=None)
@given(CALLS)
def test_a_call_of_json_like_values_is_read_back_as_it_was_written(call):
    assert parse_call(str(call)) == call


@settings(max_examples=200, deadline=None)
@given(FRAGMENTS.map(lambda text: f"f({text})"))
def test_what_is_accepted_and_written_again_is_the_same_call(text):
    with contextlib.suppress(CallSyntaxError):
        call = parse_call(text)
        # Infinity has no literal of its own.
        if "inf" not in str(call):
            assert parse_call(str(call)) == call
