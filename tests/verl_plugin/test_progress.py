"""The record of a run: what a kill in the middle of a line leaves, and which steps stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from env_tuning.verl_plugin.progress import PREFIX, Progress, lasting, line, read_events, validations


def test_events_come_back_in_order(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "run")
    progress.tell("step", step=1, total=2, reward=0.5, splits={"base": {"score": 1.0}})
    progress.tell("recovered", step=None, removed=("global_step_4",))
    assert [event["event"] for event in read_events(progress.file)] == ["step", "recovered"]
    assert read_events(progress.file)[0]["splits"] == {"base": {"score": 1.0}}


@pytest.mark.parametrize("torn", ['{"event": "step", "st', '{"event": "step"', "\u00e9"[:1] * 3, '"text"', "12"])
def test_a_torn_line_is_left_out_and_ends_before_the_next_event(tmp_path: Path, torn: str) -> None:
    progress = Progress(tmp_path)
    progress.tell("step", step=1, total=2)
    with progress.file.open("a") as file:
        file.write(torn)
    assert [event["step"] for event in read_events(progress.file)] == [1]
    progress.tell("step", step=2, total=2)
    assert [event["step"] for event in read_events(progress.file)] == [1, 2]


def test_a_line_cut_inside_a_character_is_left_out(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    progress.tell("done")
    with progress.file.open("ab") as file:
        file.write("{é".encode()[:-1])
    assert len(read_events(progress.file)) == 1


def test_no_file_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "progress.jsonl") == []


def test_what_was_told_after_the_checkpoint_that_is_resumed_is_void() -> None:
    told = [
        {"event": "ready", "step": 0},
        {"event": "validation", "step": 0, "score": 0.0},
        *({"event": "step", "step": step} for step in (1, 2, 3)),
        {"event": "validation", "step": 3, "score": 0.1},
        {"event": "ready", "step": 2},
        {"event": "step", "step": 3},
        {"event": "validation", "step": 3, "score": 0.2},
    ]
    assert [event["step"] for event in lasting(told) if event["event"] == "step"] == [1, 2, 3]
    assert {step: event["score"] for step, event in validations(told).items()} == {0: 0.0, 3: 0.2}


def test_a_gate_that_lets_training_go_on_is_recorded_but_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(tmp_path)
    progress.tell("gate", verdict="continue", reason="fewer than 20 steps", step=5, best_step=5, figures={})
    assert capsys.readouterr().out == ""
    progress.tell("gate", verdict="advance", reason="a plateau", step=30, best_step=25, figures={"gain": 0.0})
    assert capsys.readouterr().out == f"{PREFIX}gate at step 30: advance, a plateau\n"
    assert [json.loads(text)["figures"] for text in progress.file.read_text().splitlines()] == [{}, {"gain": 0.0}]


def test_numbers_that_json_cannot_hold_become_null() -> None:
    assert line({"event": "step", "step": 1, "total": 2, "reward": None}) == "step 1/2:  (0.000 s)"
