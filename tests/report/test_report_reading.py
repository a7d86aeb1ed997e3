"""Reading runs: whatever is torn, lost or missing is left out and counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from report_runs import append, dump_line, step_event, trajectory, write_stage

from env_tuning.errors import UserError
from env_tuning.report.curves import curves_of
from env_tuning.report.episodes import index_row, turns
from env_tuning.report.reading import Dumped, dumped, read_run


def test_a_running_stage_with_torn_lines_and_no_outcome_is_read(tmp_path: Path) -> None:
    folder = write_stage(tmp_path / "stage1", "stage1", steps=2, ended=False)
    for file in (folder / "progress.jsonl", folder / "rollouts" / "2.jsonl"):
        file.write_bytes(file.read_bytes()[:-40])
    (stage,) = read_run(folder)
    left_out: Counter[str] = Counter()
    found = list(dumped(stage, left_out))
    assert (stage.outcome, stage.last_step) == (None, 2)
    assert curves_of([stage]).spans[0].state == "running or stopped"
    assert len(found) == 8 + 7 + 2
    assert left_out == {"torn lines": 1}


def test_an_outcome_that_is_no_json_counts_as_none(tmp_path: Path) -> None:
    folder = write_stage(tmp_path, "stage1", steps=1)
    (folder / "outcome.json").write_text("{")
    assert read_run(folder)[0].outcome is None


def test_steps_that_were_lost_are_neither_drawn_nor_listed(tmp_path: Path) -> None:
    folder = write_stage(tmp_path, "stage1", steps=3, ended=False)
    append(folder / "progress.jsonl", {"event": "ready", "step": 1, "total": 3}, step_event(2, 3, 0.9))
    (stage,) = read_run(folder)
    left_out: Counter[str] = Counter()
    assert {episode.step for episode in dumped(stage, left_out) if episode.phase == "train"} == {1, 2}
    assert left_out == {"episodes of steps that were lost or have not ended": 8 + 1}
    reward = next(panel for panel in curves_of([stage]).panels if panel.title == "Reward")
    assert reward.lines[0].pieces == (((1, pytest.approx(1 / 3)), (2, 0.9)),)


def test_every_n_keeps_the_last_step_and_validations_and_says_what_it_left(tmp_path: Path) -> None:
    (stage,) = read_run(write_stage(tmp_path, "stage1", steps=5))
    left_out: Counter[str] = Counter()
    found = list(dumped(stage, left_out, every=2))
    assert sorted({episode.step for episode in found if episode.phase == "train"}) == [2, 4, 5]
    assert sum(episode.phase == "validation" for episode in found) == 2
    assert left_out == {"episodes between the steps of --every 2": 16}


def test_a_curriculum_puts_stages_one_after_the_other_in_the_order_of_its_record(tmp_path: Path) -> None:
    write_stage(tmp_path / "b", "first", steps=3)
    write_stage(tmp_path / "a", "second", steps=2, ended=False)
    (tmp_path / "curriculum.json").write_text(json.dumps({"stages": [{"name": "b"}, {"name": "a"}]}))
    curves = curves_of(read_run(tmp_path))
    assert [(span.name, span.first, span.last, span.state) for span in curves.spans] == [
        ("first", 0, 3, "advance"),
        ("second", 3, 5, "running or stopped"),
    ]
    reward = next(panel for panel in curves.panels if panel.title == "Reward")
    assert [[x for x, _ in piece] for piece in reward.lines[0].pieces] == [[1, 2, 3], [4, 5]]
    assert [(gate.x, gate.verdict) for gate in curves.gates] == [
        (0, "continue"),
        (3, "advance"),
        (3, "continue"),
        (5, "continue"),
    ]
    assert {
        "Reward",
        "Reward parts",
        "KL",
        "Entropy",
        "Gradient norm",
        "Stop reasons",
        "Validation: turns correct, per split",
    } <= {panel.title for panel in curves.panels}


def test_a_folder_without_a_run_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no output folder"):
        read_run(tmp_path)


def test_turns_have_their_request_their_verdict_and_the_first_call_that_failed() -> None:
    first, second, third = turns(trajectory("t", right=False, turns=3).to_dict(), {})
    assert (first["request"], first["suspect"]) == ("The first request plain", None)  # a right turn has nobody to blame
    assert (second["request"], second["suspect"]) == ("The second request", (0, 0))
    assert second["verdict"]["mismatched_classes"] == ["GorillaFileSystem"]
    assert (third["request"], third["steps"], third["verdict"]) == (None, [], None)


def test_the_index_says_what_filters_ask_for() -> None:
    line = json.loads(dump_line(4, "u", 2, trajectory("t", right=False, turns=3), 0.25))
    row = index_row(Dumped(stage="s", phase="train", step=4, line=line))
    assert row == (
        "s",
        "train",
        4,
        "multi_turn_base",
        "t",
        "u",
        2,
        0.25,
        "response_length",
        1,
        3,
        ["never_closed", "state"],
    )
