"""`make bench-check` fails for what it is there to notice."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("now", "names"), [({"a": 8.1, "b": 30.0}, []), ({"a": 7.9, "b": 4.0}, ["a"]), ({"b": 3.1}, ["a", "b"])]
)
def test_a_lost_fifth_and_a_missing_measure_are_regressions(now: dict[str, float], names: list[str]) -> None:
    lines = load("check").losses(now, {"a": 10.0, "b": 4.0})
    assert [line.partition(":")[0] for line in lines] == names


def test_what_is_saved_is_what_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, figures = load("check"), load("figures")
    monkeypatch.setattr(check, "ACCEPTED", tmp_path / "ratios.json")
    found = tmp_path / "sub" / "found.json"

    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["check.py", str(found), *arguments])
        return int(check.main())

    figures.save(found, {"wall": 1.0}, {"turn": 3.0})
    assert run("--accept") == 0
    assert run() == 0
    figures.save(found, {}, {"turn": 2.0})
    assert run() == 1


def test_the_accepted_ratios_are_those_of_leads() -> None:
    ratios = json.loads((BENCH / "ratios.json").read_text(encoding="utf-8"))
    assert ratios
    assert all(ratio > 1 for ratio in ratios.values())
