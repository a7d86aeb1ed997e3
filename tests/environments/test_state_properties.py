"""Snapshot and comparison of every tool class are an equivalence relation, whatever was called before."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from env_tuning.calls import ToolCall, parse_call
from env_tuning.environments.environment import Environment
from env_tuning.environments.registry import TOOL_CLASSES, make_environment, tool_class
from env_tuning.environments.schemas import tool_docs_of

LIMITED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
# NaN differs from itself, in the benchmark's comparison as in ours; `float` reads it from text, too.
TEXTS = st.text(max_size=6).filter(lambda text: "nan" not in text.lower())
SCALARS = st.none() | st.booleans() | st.integers(-5, 200) | st.floats(-1e6, 1e6) | TEXTS
ANYTHING = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3), max_leaves=6
)


@pytest.fixture(scope="module", params=TOOL_CLASSES)
def world(request, tasks):
    """A class, a real initial configuration of it, and the calls that reference solutions make."""
    name = request.param
    using = [task for task in tasks.values() if task.tool_classes == (name,)] or [
        task for task in tasks.values() if name in task.tool_classes
    ]
    task = max(using[:40], key=lambda task: len(task.initial_config))
    reference = [parse_call(call) for task in using[:20] for turn in task.ground_truth for call in turn]
    known = [call for call in reference if call.name in tool_class(name).tools]
    config = json.dumps({name: json.loads(task.initial_config).get(name, {})})
    return name, config, known


def calls_of(name: str, known: list[ToolCall], config: str) -> st.SearchStrategy[list[ToolCall]]:
    words = sorted({word for word in json.loads(json.dumps(config)).replace('"', " ").split() if word.isalnum()})
    values = {
        "string": st.sampled_from([*words[:40], "d", "e", ".", ".."]) | TEXTS,
        "integer": st.integers(-2, 20),
        "number": st.floats(-100, 1e5),
        "boolean": st.booleans(),
    }

    @st.composite
    def random_call(draw: st.DrawFn) -> ToolCall:
        doc = draw(st.sampled_from(tool_docs_of(tool_class(name))))
        arguments = {
            parameter: draw(values.get(schema.get("type"), ANYTHING) if draw(st.booleans()) else ANYTHING)
            for parameter, schema in doc.parameters["properties"].items()
        }
        return ToolCall(name=doc.name, arguments=arguments)

    return st.lists(random_call() | st.sampled_from(known) if known else random_call(), max_size=12)


def after(name: str, config: str, calls: list[ToolCall]) -> Environment:
    environment = make_environment([name], config)
    for call in calls:
        environment.call(copy.deepcopy(call))
    return environment


def equal(left: Environment, right: Environment) -> bool:
    return left.mismatches(right.snapshot()) == ()


@LIMITED
@given(data=st.data())
def test_equal_states_are_an_equivalence_relation(world, data):
    name, config, known = world
    some = data.draw(calls_of(name, known, config))
    more = data.draw(calls_of(name, known, config))
    scripts = [some, some, data.draw(st.sampled_from([some, more, some + more])), more]
    worlds = [after(name, config, script) for script in scripts]
    assert equal(worlds[0], worlds[1]), "the same calls led to different states"
    for one in worlds:
        assert equal(one, one), "not reflexive"
        for other in worlds:
            assert equal(one, other) == equal(other, one), "not symmetric"
            for third in worlds:
                assert not (equal(one, other) and equal(other, third)) or equal(one, third), "not transitive"


@LIMITED
@given(data=st.data())
def test_a_snapshot_stays_what_it_was_while_the_episode_goes_on(world, data):
    name, config, known = world
    some = data.draw(calls_of(name, known, config))
    more = data.draw(calls_of(name, known, config))
    environment = after(name, config, some)
    snapshot = environment.snapshot()
    for call in more:
        environment.call(copy.deepcopy(call))
    assert after(name, config, some).mismatches(snapshot) == ()


@pytest.mark.parametrize(
    "calls",
    [
        ["mkdir('d')", "cp('d', 'd')"],
        ["mkdir('d')", "cp('d', 'd')", "cp('d', 'e')", "mv('e', 'd')"],
        ["mkdir('a')", "cp('a', 'b')", "cp('a', 'b')", "mv('b', 'a')"],
    ],
)
def test_states_with_cycles_and_shared_directories_are_comparable(calls):
    parsed = [parse_call(call) for call in calls]
    first, second = (after("GorillaFileSystem", "{}", parsed) for _ in range(2))
    assert equal(first, second)
    assert equal(second, first)
    assert not equal(first, after("GorillaFileSystem", "{}", parsed[:-1]))
