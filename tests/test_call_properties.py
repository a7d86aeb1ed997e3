"""The call parser on arbitrary text: it raises one error and no other, and reads back what it writes."""

from __future__ import annotations

import contextlib
import keyword

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from env_tuning import calls
from env_tuning.calls import CallSyntaxError, ToolCall, parse_call
from env_tuning.data.bfcl import tasks_by_id

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


# What the quick reader was written for, and what lies next to it.
PIECES = st.sampled_from(
    [
        *(
            "'a b'",
            '"it\'s"',
            "'\"'",
            "''",
            "'''a'''",
            "'a' 'b'",
            "r'a'",
            "'\\n'",
            "'\t'",
            "'\x01'",
            "'\x7f'",
            "'\xe9'",
        ),
        *("0", "-0", "-5", "+5", "--5", "007", "00", "1_000", "0x1f", "123456789012345678", "9" * 30, "9" * 5000),
        *("1.5", "-0.0", "01.5", "1.", ".5", "1e5", "1.5e3", "1." + "9" * 40, "9" * 400 + ".0", "1.5j", "1.2.3", "- 1"),
        *("True", "False", "None", "true", "NaN", "[]", "[1,2]", "[1 , 2]", "[1,]", "[,]", "['a', 'b']", "[[1], 2]"),
        *("[-1, 2.5, None]", "[1 2]", "{}", "{'a': 1}", "(1, 2)", "(1)", "{1}", "g(1)", "a", "*[1]", "**{}", "# c"),
    ]
)
KEYS = st.sampled_from(
    [
        *("", "x=", "y =", "z= ", "_a1 = ", "x  =", "if=", "None=", "match=", "_=", "__debug__=", "é=", "ﬁ=", "fi="),
        *("1a=", "x:="),
    ]
)
BETWEEN = st.sampled_from([",", ", ", " , ", ",  ", "", ",,", ";", "\n", ",\n", ",\t"])
HEADS = st.sampled_from(
    ["f(", "f (", " f(", "if(", "None(", "print(", "match(", "__debug__(", "ﬁ(", "a.b(", "f((", "("]
)
TAILS = st.sampled_from([")", ",)", ", )", " )", ") ", ")\n", "", "))", ")()", ") # end", ";)", "\n)", ").x"])


@st.composite
def nearly_usual(draw: st.DrawFn) -> str:
    text = draw(HEADS)
    for number, (key, piece) in enumerate(draw(st.lists(st.tuples(KEYS, PIECES), max_size=4))):
        text += (draw(BETWEEN) if number else "") + key + piece
    return text + draw(TAILS)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = str(draw(CALLS))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 3)))
    return text[:start] + draw(st.text(max_size=2) | st.sampled_from("'\"\\,=[)\n")) + text[end:]


@settings(max_examples=600, deadline=None)
@given(nearly_usual() | damaged() | CALLS.map(str) | FRAGMENTS.map(lambda text: f"f({text})") | st.text())
def test_the_quick_reader_reads_nothing_that_python_reads_otherwise(text):
    quick = calls._read_usual(text)
    if quick is not None:
        # repr: 1 is 1.0 and True for ==, and -0.0 is 0.0.
        assert repr(quick) == repr(calls._read_any(text))


@pytest.mark.parametrize("text", ["f()", "f(a='b')", "f('a b', -1, 2.5)", "f(x = [1,2], y=['a', \"b's\"], z=None)"])
def test_the_quick_reader_reads_what_it_is_for(text):
    assert calls._read_usual(text) == calls._read_any(text)


def test_both_readers_agree_on_every_call_of_the_benchmark(benchmark):
    texts = [text.strip() for task in tasks_by_id(benchmark).values() for turn in task.ground_truth for text in turn]
    quick = {text: calls._read_usual(text) for text in texts}
    left = [text for text in texts if quick[text] is None]
    assert len(left) < len(texts) / 50
    assert all(call is None or repr(call) == repr(calls._read_any(text)) for text, call in quick.items())
