"""Cards side by side: what may be compared, and what is said of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from env_tuning.cli import app
from env_tuning.errors import UserError
from env_tuning.evaluation.card import Prices, Subject, make_card, write_card
from env_tuning.evaluation.compare import difference, notes, read_sheets
from env_tuning.evaluation.results import TaskResult
from env_tuning.evaluation.settings import Settings

MODEL = {"kind": "endpoint", "base_url": "http://localhost/v1", "name": "m"}


def result(number: int, *turns: bool) -> TaskResult:
    return TaskResult(
        task_id=f"multi_turn_base_{number}",
        split="multi_turn_base",
        turns=turns,
        failure="" if all(turns) else "state",
        stop="completed",
        numbers={"coverage": 1.0, "steps": 3.0, "prompt_tokens": 1e6, "completion_tokens": 5e5, "seconds": 2.0},
    )


def card_of(*results: TaskResult, settings: Settings | None = None, tasks_sha256: str = "a" * 64) -> dict[str, Any]:
    subject = Subject(
        model=MODEL,
        settings=(settings or Settings()).as_dict(),
        files=({"name": "test.parquet", "sha256": "b" * 64, "rows": len(results)},),
        tasks_sha256=tasks_sha256,
    )
    return make_card(subject, results, Prices(prompt=2.0, completion=10.0))


def folder(place: Path, card: dict[str, Any]) -> Path:
    place.mkdir()
    write_card(place, card)
    return place


BASE = [result(number, True, number < 8) for number in range(20)]
BETTER = [result(number, True, number in range(2, 18)) for number in range(20)]


def test_a_card_counts_tasks_turns_failures_and_money():
    card = card_of(*BASE)
    overall = card["overall"]
    assert (overall["tasks"], overall["correct"], overall["accuracy"], overall["progress"]) == (20, 8, 0.4, 0.7)
    assert overall["accuracy_interval"] == pytest.approx([0.2188, 0.6134], abs=5e-5)
    assert [turn["accuracy"] for turn in overall["by_turn"]] == [1.0, 0.4]
    assert (overall["failures"], overall["stops"]) == ({"state": 12}, {"completed": 20})
    assert card["tokens"] == {"prompt": 20_000_000, "completion": 10_000_000}
    assert card["cost"]["total"] == 20 * 2 + 10 * 10
    assert card["packages"].keys() >= {"python", "env-tuning", "verl"}
    assert json.loads(json.dumps(card)) == card


def test_turns_that_only_longer_tasks_have_are_shares_of_those_tasks():
    card = card_of(result(0, True), result(1, True, False, True))
    assert [turn["turns"] for turn in card["overall"]["by_turn"]] == [2, 1, 1]
    assert [turn["correct"] for turn in card["overall"]["by_turn"]] == [2, 0, 1]


def test_tasks_are_paired_by_id_in_whatever_order(tmp_path):
    first = folder(tmp_path / "a", card_of(*BASE))
    second = folder(tmp_path / "b", card_of(*reversed(BETTER)))
    found = difference(*read_sheets([first, second]))
    # Right before: 0 to 7; right now: 2 to 17.
    assert (found.gained, found.lost, found.accuracy) == (10, 2, 0.4)
    # Twice the chance of at most 2 heads in 12 tosses: 2 * (1 + 12 + 66) / 4096.
    assert found.p == pytest.approx(158 / 4096)
    assert found.progress.mean == pytest.approx(0.2)


def test_a_card_against_itself_differs_in_nothing(tmp_path):
    place = folder(tmp_path / "a", card_of(*BASE))
    found = difference(*read_sheets([place, place / "card.json"]))
    assert (found.gained, found.lost, found.p, found.progress.p) == (0, 0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (card_of(*BASE, tasks_sha256="c" * 64), "over different tasks .20 of test.parquet and 20 of test.parquet."),
        (card_of(*BASE, settings=Settings(protocol="hermes")), "protocol is think_answer and hermes"),
        (
            {**card_of(*BASE), "settings": {**Settings().as_dict(), "mode": "native"}},
            "not played the same way: mode is prompt and native; evaluate both with the same",
        ),
    ],
)
def test_cards_of_other_tasks_or_modes_are_refused(tmp_path, other, words):
    first, second = folder(tmp_path / "a", card_of(*BASE)), folder(tmp_path / "b", other)
    with pytest.raises(UserError, match=words):
        read_sheets([first, second])


def test_what_may_differ_is_noted(tmp_path):
    card = copy.deepcopy(card_of(*BASE, settings=Settings(temperature=0.6)))
    card["packages"]["verl"] = "0.0"
    card["not_taken_by_server"] = ["seed"]
    sheets = read_sheets([folder(tmp_path / "a", card_of(*BASE)), folder(tmp_path / "b", card)])
    told = "\n".join(notes(sheets))
    assert "temperature differs: 0.0, 0.6" in told
    assert "version of verl differs: 0.9.1, 0.0" in told
    assert "did not take seed" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "holds no card.json"), ("{", "is no JSON"), ("[]", "no result card"), ('{"format": 0}', "no result card")],
)
def test_what_is_no_card_is_refused_in_a_line(tmp_path, text, words):
    place = tmp_path / "a"
    place.mkdir()
    if text is not None:
        (place / "card.json").write_text(text)
    with pytest.raises(UserError, match=words) as refused:
        read_sheets([place, place])
    assert "\n" not in str(refused.value)


def test_the_command_prints_every_card_against_the_first(tmp_path):
    places = [folder(tmp_path / name, card_of(*results)) for name, results in (("a", BASE), ("b", BETTER), ("c", BASE))]
    printed = CliRunner().invoke(app, ["eval", "compare", *map(str, places)])
    assert printed.exit_code == 0, printed.output
    rows = [[cell.strip() for cell in line.split("│")] for line in printed.output.splitlines() if "│" in line]
    by_name = {row[1]: row[2:-1] for row in rows}
    assert by_name["accuracy, overall"][:2] == ["40.0 % (21.9 to 61.3)", "80.0 % (58.4 to 91.9)"]
    assert by_name["tasks gained, lost"] == ["", "10, 2", "0, 0"]
    assert by_name["accuracy against 0"] == ["", "+40.0 points", "+0.0 points"]
    assert by_name["p (exact McNemar)"] == ["", "0.039", "1.000"]
    assert "not corrected for several comparisons" in printed.output
