"""Our tool classes against the official package: every result, and every class's public state after every turn."""

from __future__ import annotations

from pathlib import Path

import corpora
import pytest
from canonical import canonical_state
from corpora import Script
from official import differences, is_error, run_official, run_ours

from env_tuning.data.sources import Benchmark
from env_tuning.environments.bfcl.file_system import Directory, File

SHOWN = 5


@pytest.mark.slow
def test_ground_truth_gives_the_official_results_and_states(official: Path, benchmark: Benchmark):
    scripts = corpora.ground_truth(benchmark)
    assert len(scripts) == 800
    assert (sum(len(script.turns) for script in scripts), sum(script.calls for script in scripts)) == (3336, 4625)
    assert_parity(scripts, official, benchmark)


@pytest.mark.slow
def test_the_composite_category_gives_the_official_errors(official: Path, benchmark: Benchmark):
    scripts = corpora.composite(official)
    # Of 1,262 calls 373 fail in the package, 17 of them because they are no Python: those do not even parse here.
    assert sum(script.calls for script in scripts) == 1262 - 17
    failed = assert_parity(scripts, official, benchmark)
    assert failed == 373 - 17


@pytest.mark.parametrize(
    "pair",
    [
        (5, 5.0),
        (True, 1),
        ([1], (1,)),
        ({1: "a"}, {"1": "a"}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (File("x"), File("y")),
        ({1, 2}, [1, 2]),
    ],
    ids=str,
)
def test_canonical_form_tells_apart_what_a_result_would(pair: tuple):
    left, right = (canonical_state({"value": value}) for value in pair)
    assert left != right


def test_canonical_form_of_a_directory_inside_itself_ends():
    directory = Directory("d")
    directory.contents["d"] = directory
    assert '"number": 0' in canonical_state({"root": directory})


def test_a_single_wrong_character_is_reported_with_its_neighbourhood():
    turn = {"results": ["one two three"], "states": {"A": "{}"}}
    wrong = {"results": ["one twO three"], "states": {"A": "{}"}}
    (line,) = differences({"id": "t", "turns": [turn]}, {"id": "t", "turns": [wrong]})
    assert "t turn 0 call 0" in line
    assert "at character 6" in line


def assert_parity(scripts: list[Script], official: Path, benchmark: Benchmark) -> int:
    """Fail with the first differences, if there are any; the number of results that are errors on both sides."""
    different = failed = 0
    shown: list[str] = []
    for script, theirs in zip(scripts, run_official(scripts, official), strict=True):
        ours = run_ours(script, benchmark)
        assert theirs["id"] == ours["id"] == script.id
        found = list(differences(ours, theirs))
        different += len(found)
        shown += found[: SHOWN - len(shown)]
        failed += sum(is_error(result) for turn in theirs["turns"] for result in turn["results"])
    assert not different, f"{different} differences; the first are:\n" + "\n".join(shown)
    return failed
