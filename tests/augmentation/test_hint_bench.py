"""The benchmark of hints measures what it says: failing calls that all get hints, and the solutions' own calls."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "bench" / "hints.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_hints", FILE)
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks its module up while it is made.
    sys.modules["bench_hints"] = module
    spec.loader.exec_module(module)
    return module


def test_failing_calls_all_get_a_hint_and_are_repeatable(bench, tasks):
    works = dict(bench.make_works(tasks["multi_turn_base_0"], None))
    failing, succeeding = works["failing"], works["succeeding"]
    for _ in range(2):
        environment = failing.prepared.environment()
        assert tuple(environment.call(call) for call in failing.calls) == failing.results
    assert len(failing.calls) >= bench.CALLS_PER_EPISODE
    assert all(failing.book.hint(0, call, result) for call, result in zip(failing.calls, failing.results, strict=True))
    assert not any(succeeding.book.hint(0, *pair) for pair in zip(succeeding.calls, succeeding.results, strict=True))
    assert all(figure > 0 for figure in bench.measure([failing, succeeding], rounds=1).values())
