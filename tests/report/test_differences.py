"""Where two states differ, in few short lines."""

from __future__ import annotations

from typing import Any

import pytest

from env_tuning.report.differences import EXCERPT, Difference, differences


def found(expected: Any, actual: Any) -> list[tuple[str, str, str]]:
    return [(d.where, d.expected, d.actual) for d in differences("C", expected, actual)]


@pytest.mark.parametrize(
    ("expected", "actual", "lines"),
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1.0, "b": [1, 2]}, []),
        ({"a": {"b c": 1}}, {"a": {"b c": 2}}, [('C.a["b c"]', "1", "2")]),
        ({"a": 1}, {"b": None}, [("C.a", "1", ""), ("C.b", "", "null")]),
        ({7: "x"}, {7: "y"}, [("C[7]", '"x"', '"y"')]),
        # One entry too many, in the middle, is one difference.
        ([1, 2, 3], [1, 9, 2, 3], [("C[1]", "", "9")]),
        ([{"id": 1}, {"id": 2}], [{"id": 1}, {"id": 3}], [("C[1].id", "2", "3")]),
        ([], {}, [("C", "[]", "{}")]),
        ({"a": float("nan")}, {"a": float("nan")}, [("C.a", "NaN", "NaN")]),
        ({(1, 2): {3}}, {(1, 2): {3}}, []),
    ],
)
def test_the_innermost_values_that_differ_are_named(expected: Any, actual: Any, lines: list[Any]) -> None:
    assert found(expected, actual) == lines


def test_an_excerpt_of_a_long_text_shows_the_place_where_it_differs() -> None:
    text = "x" * 5000
    [(_, expected, actual)] = found({"a": text + "left" + text}, {"a": text + "right" + text})
    assert "left" in expected and "right" in actual
    assert len(expected) <= EXCERPT + 2 and expected[0] == expected[-1] == "…"


def test_what_is_no_json_is_shown_all_the_same() -> None:
    assert found({"a": {1: {(1, 2): 3}}}, {"a": 0}) == [("C.a", "{1: {(1, 2): 3}}", "0")]
    cycle: list[Any] = []
    cycle.append(cycle)
    assert list(differences("C", {"a": cycle}, {})) == [Difference(where="C.a", expected="[[...]]", actual="")]
