"""The differential fuzzer: finds what it should, and finds nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from deviations import left_out, normalise
from fuzz import Report, chains, compare, describe, shrink

from env_tuning.data.sources import Benchmark
from env_tuning.environments import environment
from env_tuning.environments.bfcl.vehicle import VehicleControlAPI


def assert_no_difference(report: Report, benchmark: Benchmark, official: Path) -> None:
    assert not report.different, "\n".join(describe(report, benchmark, official))
    # Too slow in the official package: allowed, but not as a way to compare nothing.
    assert len(report.too_slow) <= report.scripts // 200


@pytest.mark.slow
def test_two_thousand_hostile_calls_give_the_official_results_and_states(benchmark: Benchmark, official: Path):
    report = compare(chains(benchmark, official, seed=0, calls=2000), benchmark, official)
    assert report.calls >= 2000
    assert report.errors > 500
    assert_no_difference(report, benchmark, official)


@pytest.mark.slow
def test_a_hundred_thousand_hostile_calls_give_the_official_results_and_states(benchmark: Benchmark, official: Path):
    report = compare(chains(benchmark, official, seed=1, calls=100_000), benchmark, official)
    assert report.calls >= 100_000
    names = {doc.name for docs in benchmark.tool_docs.values() for doc in docs}
    assert len(names) == 128
    assert min(report.calls_of[name] for name in names) >= 100
    assert_no_difference(report, benchmark, official)


@pytest.mark.slow
def test_a_wrong_tool_is_found_and_shrunk_to_the_calls_that_show_it(
    benchmark: Benchmark, official: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    # Dispatch tables are built once per combination of classes.
    environment._dispatch.cache_clear()
    request.addfinalizer(environment._dispatch.cache_clear)

    def press(self, pedalPosition):
        self.brakePedalStatus = "pressed"
        self._brakePedalForce = 999
        return {"brakePedalStatus": "pressed", "brakePedalForce": float(pedalPosition) * 1000}

    monkeypatch.setattr(
        VehicleControlAPI, "tools", {**VehicleControlAPI.tools, "pressBrakePedal": press, "releaseBrakePedal": press}
    )
    script = next(
        script for script in chains(benchmark, official, seed=0, calls=10**6) if "VehicleControlAPI" in script.classes
    )
    before, after = ("fillFuelTank(fuelAmount=1)",) * 3, ("get_current_speed()",) * 3
    calls = (*before, "pressBrakePedal(pedalPosition=1)", *before, "displayCarStatus(option='brakePedal')", *after)
    script = replace(script, turns=(calls,))
    report = compare(iter([script]), benchmark, official)
    assert len(report.different) == 1
    minimal, lines = shrink(script, benchmark, official)
    assert minimal.turns == (("pressBrakePedal(pedalPosition=1)",), ("displayCarStatus(option='brakePedal')",))
    assert "999" in lines[0]


@pytest.mark.slow
def test_the_same_seed_makes_the_same_calls(benchmark: Benchmark, official: Path):
    first, second = (list(chains(benchmark, official, seed=7, calls=500)) for _ in range(2))
    assert first == second
    assert first != list(chains(benchmark, official, seed=8, calls=500))


@pytest.mark.parametrize(
    "pair",
    [
        ('{"error": "Invalid fields for update: b, a"}', '{"error": "Invalid fields for update: a, b"}'),
        ("Must be one of {'first', 'economy'}", "Must be one of {'economy', 'first'}"),
        ("maximum recursion depth exceeded in comparison", "maximum recursion depth exceeded"),
    ],
)
def test_results_that_differ_by_hash_seed_or_version_are_equal_when_normalised(pair: tuple[str, str]):
    assert pair[0] != pair[1]
    assert normalise(pair[0]) == normalise(pair[1])


def test_any_other_result_is_compared_as_it_is():
    assert normalise("{'b', 'a'}") == "{'b', 'a'}"
    assert normalise("Invalid fields: b, a") == "Invalid fields: b, a"


@pytest.mark.parametrize(
    ("text", "is_left_out"),
    [
        ("ls()", False),
        ("no_such_tool(a=(1, 2))", False),
        ("echo(content='see report (final)')", True),
        ("open('x')", True),
        ("kill(1)", True),
        ("__import__('os')", True),
        ("power(base=2, exponent=10000)", True),
        ("add(a=2, b=10000)", False),
        ("f(g(1))", True),
    ],
)
def test_calls_without_a_counterpart_are_left_out(text: str, is_left_out: bool):
    assert (left_out(text) is not None) is is_left_out
