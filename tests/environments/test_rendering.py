"""Results print as the benchmark prints them, whatever of them was printed before."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env_tuning.environments.rendering import FixedList, FixedText, render

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
FIXED = st.lists(SCALARS, max_size=4).map(FixedList) | TEXTS.map(FixedText)
VALUES = st.recursive(
    SCALARS | FIXED, lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3), max_leaves=9
)
KEYS = TEXTS | st.integers() | st.floats() | st.booleans() | st.none()


def plain(value):
    """The value with lists and texts of the ordinary types."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return "".join(value) if isinstance(value, str) else value


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_a_dictionary_is_printed_as_json_dumps_prints_it(record):
    assert render(record) == json.dumps(plain(record))


@given(st.lists(VALUES, max_size=5))
def test_a_list_is_printed_as_str_prints_it(values):
    assert render(values) == str(plain(values))


@pytest.mark.parametrize("odd", [{1, 2}, 2j, b"a", object, {(1,): 1}])
def test_what_has_no_json_form_is_printed_by_str(odd):
    record = {"odd": odd, "list": FixedList((1, "a")), "text": FixedText("b")}
    assert render(record) == str({"odd": odd, "list": [1, "a"], "text": "b"})


def test_a_value_inside_itself_is_printed_by_str():
    record = {"fixed": FixedList((1,))}
    record["self"] = record
    assert render(record) == "{'fixed': [1], 'self': {...}}"
    del record["fixed"]
    assert render(record) == "{'self': {...}}"


@pytest.mark.parametrize("fixed", [FixedList((1.5, "é")), FixedText("é\n")])
def test_fixed_values_survive_being_copied_and_sent_to_another_process(fixed):
    assert fixed.json == json.dumps(plain(fixed))
    for twin in (copy.deepcopy(fixed), pickle.loads(pickle.dumps(fixed))):
        assert type(twin) is type(fixed)
        assert (twin, twin.json) == (fixed, fixed.json)
