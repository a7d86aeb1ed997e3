"""Replays: exact, or not shown."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from report_runs import append, counting_task, dump_line, played, write_counting

from env_tuning.episode import Rules
from env_tuning.report.reading import dumped, read_run
from env_tuning.report.replay import ReferenceCall, Replay, WrongTurn
from env_tuning.report.tasks import NotReplayedError, RunTasks
from env_tuning.task import Task

WRONG_THEN_RIGHT = (["read()", "add(amount=5)"], ["reset(amount=1)", "read()"], ["reset()", "read()"])
"""Adds 5 where 2 is right; fails to reset; resets too late, which makes the last turn right."""


def replayed(folder: Path, data: Path | None = None) -> Mapping[int, WrongTurn]:
    (stage,) = read_run(folder)
    (episode,) = dumped(stage, Counter())
    return Replay(RunTasks(stage, data)).wrong_turns(episode)


def test_a_wrong_turn_has_its_values_the_references_calls_and_the_call_to_look_at(tmp_path: Path) -> None:
    episode = played(counting_task(), *WRONG_THEN_RIGHT)
    assert [verdict.correct for verdict in episode.verdicts] == [False, False, True]
    first, second = replayed(write_counting(tmp_path, episode)).values()
    assert [vars(d) for d in first.differences] == [
        {"where": "counter:Counter.value", "expected": "3", "actual": "6", "since": 0}
    ]
    assert first.strange == (1, 0)
    assert first.reference == (ReferenceCall(text="add(2)", made=False, missing=True),)
    assert [(d.expected, d.actual, d.since) for d in second.differences] == [("0", "6", 0)]
    assert second.strange is None  # what is wrong was wrong before
    assert second.reference == (
        ReferenceCall(text="reset()", made=False, missing=True),
        ReferenceCall(text="read()", made=True, missing=True),
    )


def test_a_call_of_the_reference_made_twice_is_the_one_to_look_at(tmp_path: Path) -> None:
    episode = played(counting_task(), ["add(amount=2)", "add(amount=2)"])
    (only,) = replayed(write_counting(tmp_path, episode)).values()
    assert only.strange == (1, 0) and only.reference[0].made


def test_a_right_episode_needs_no_task(tmp_path: Path) -> None:
    episode = played(counting_task("elsewhere"), ["add(amount=2)"], ["reset()", "read()"], ["read()"])
    assert episode.correct_turns == 3
    assert replayed(write_counting(tmp_path, episode)) == {}


def test_a_tool_that_was_held_back_does_not_run_in_the_replay_either(tmp_path: Path) -> None:
    task = dataclasses.replace(counting_task(), releases={2: ("reset",)})
    episode = played(task, ["add(amount=7)", "reset()"], ["reset()", "read()"], ["read()"])
    found = replayed(write_counting(tmp_path, episode, tasks=[task]))
    assert [d.actual for d in found[0].differences] == ["8"]


def test_validation_is_judged_by_its_own_rules(tmp_path: Path) -> None:
    task = dataclasses.replace(counting_task(), ground_truth=((), ("reset()",), ("read()",)))
    rules = Rules(steps_per_turn=20, official=True)
    episode = played(task, ["add(amount=7)"], [], ["read()"], rules=rules)
    assert [verdict.correct for verdict in episode.verdicts] == [True, False, False]
    found = replayed(write_counting(tmp_path, episode, tasks=[task], phase="validation"))
    assert [(d.actual, d.since) for d in found[1].differences] == [("8", 0)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data["steps"][0]["calls"][0].update(result='{"value": 7}'), "another result"),
        (lambda data: data["steps"][0]["calls"][0].update(arguments={"amount": 3}), "another result"),
        (lambda data: data["verdicts"][0].update(missing_responses=[]), "another verdict"),
        (lambda data: data["verdicts"][1].update(mismatched_classes=["counter:Other"]), "environment fails here"),
        (lambda data: data.update(task_id="count_9"), "do not hold its task"),
        (lambda data: data["verdicts"][0].update(unheard_of=1), "another version"),
    ],
)
def test_a_replay_that_disagrees_with_the_record_shows_nothing(tmp_path: Path, change: Any, reason: str) -> None:
    folder = write_counting(tmp_path)
    data = played(counting_task(), *WRONG_THEN_RIGHT).to_dict()
    assert replayed_dict(folder, data)
    change(data)
    with pytest.raises(NotReplayedError, match=reason):
        replayed_dict(folder, data)


def replayed_dict(folder: Path, data: Mapping[str, Any]) -> Mapping[int, WrongTurn]:
    line = json.loads(dump_line(1, "u", 0, played(counting_task()), 0.0))
    (folder / "rollouts" / "1.jsonl").write_text("")
    append(folder / "rollouts" / "1.jsonl", {**line, "trajectory": data})
    return replayed(folder)


def test_data_files_that_moved_are_found_by_name(tmp_path: Path) -> None:
    folder = write_counting(tmp_path / "run", played(counting_task(), *WRONG_THEN_RIGHT))
    shutil.move(folder / "data", tmp_path / "elsewhere")
    with pytest.raises(NotReplayedError, match="--data FOLDER"):
        replayed(folder)
    assert set(replayed(folder, tmp_path)) == {0, 1}


def test_a_run_without_a_configuration_or_with_rows_of_another_kind_says_so(tmp_path: Path) -> None:
    folder = write_counting(tmp_path, played(counting_task(), *WRONG_THEN_RIGHT))
    (folder / "data" / "counting.parquet").write_bytes(b"no parquet")
    with pytest.raises(NotReplayedError, match="rows of another kind"):
        replayed(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(NotReplayedError, match="do not hold its task"):
        replayed(folder)


def test_every_wrong_turn_of_real_tasks_is_replayed(tmp_path: Path, tasks: Mapping[str, Task]) -> None:
    """Calls of the reference with the last one of every turn left out, on every tenth task without padding."""
    sample = [task for task in tasks.values() if not task.long_context][::10]
    episodes = [played(task, *(calls[:-1] for calls in task.ground_truth)) for task in sample]
    (stage,) = read_run(write_counting(tmp_path, *episodes, tasks=sample))
    replay = Replay(RunTasks(stage))
    found = {e.line["trajectory"]["task_id"]: replay.wrong_turns(e) for e in dumped(stage, Counter())}
    for episode in episodes:
        wrong = {v.turn: v for v in episode.verdicts if not v.correct}
        assert found[episode.task_id].keys() == wrong.keys()
        for turn, verdict in wrong.items():
            behind = found[episode.task_id][turn]
            named = {d.where.partition(".")[0] for d in behind.differences}
            assert named <= set(verdict.mismatched_classes)
            assert bool(named) == bool(verdict.mismatched_classes)
            assert not verdict.expects_calls or not all(call.made for call in behind.reference)
