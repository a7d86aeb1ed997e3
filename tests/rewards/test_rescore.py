"""Stored episodes under another reward: the scores, and what a trainer would have done differently."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from letters import episode
from typer.testing import CliRunner

from env_tuning.cli import app
from env_tuning.report.reading import Dumped, dumped_file
from env_tuning.rewards.accuracy import binary, progress
from env_tuning.rewards.format import format_reward
from env_tuning.rewards.rescoring import changes, rescore
from env_tuning.verl_plugin.records import EpisodeRecord

SOLVED, HALF, SPAM, NOTHING = episode("caca", "11", 2), episode("caca", "10", 2), episode("cccc", "00", 2), episode("f")


def dump(*members, reward=format_reward, uid="u", step=3, phase="train"):
    return [
        Dumped(
            stage="stage1",
            phase=phase,
            step=step,
            line={"uid": uid, "group": at, "data_source": "s", "score": reward(member)["score"],
                  "trajectory": member.to_dict()},
        )
        for at, member in enumerate(members)
    ]  # fmt: skip


def change(episodes, reward):
    (found,) = changes(rescore(episodes, reward)).values()
    return found


def test_the_same_reward_changes_nothing():
    same = change(dump(SOLVED, HALF, NOTHING), format_reward)
    assert (same.episodes, same.groups) == (3, 1)
    assert same.before == same.now
    assert (same.moved, same.new_best, same.reordered, same.flipped) == (0, 0, 0.0, 0)


def test_means_are_of_the_stored_and_of_the_new_scores():
    found = change(dump(SOLVED, HALF), progress)
    assert (found.before, found.now, found.moved) == (2.0, 0.75, 2)


def test_a_group_whose_scores_part_is_no_longer_silent():
    found = change(dump(SOLVED, HALF, SPAM), progress)
    assert (found.silent_before, found.silent_now) == (1, 0)
    # Where all were best, the new best is one of the old ones.
    assert found.new_best == 0
    assert change(dump(HALF, SPAM, reward=progress), binary).silent_now == 1


def test_another_best_episode_and_other_signs_are_counted():
    # Format pays the spam 2 and the half solution with one bad message less; progress the other way round.
    marred = episode("fcaca", "10", 2)
    found = change(dump(marred, SPAM), progress)
    assert (found.new_best, found.reordered, found.flipped) == (1, 1.0, 2)


def test_groups_are_compared_apart():
    pair = [*dump(SOLVED, uid="a"), *dump(SPAM, uid="a", step=4)]
    assert change(pair, progress).groups == 0  # one prompt in two steps is two groups of one
    assert change([*dump(SOLVED, HALF, uid="a"), *dump(SOLVED, HALF, uid="b")], progress).groups == 2


def test_a_score_that_went_through_single_precision_has_not_moved():
    line = json.loads(EpisodeRecord(
        uid="u", group=0, data_source="s", score=0.30000001192092896, numbers={}, trained_tokens=1, response_tokens=1,
        trajectory=SOLVED.to_dict(),
    ).line(1))  # fmt: skip
    stored = Dumped(stage="", phase="train", step=1, line=line)
    assert change([stored], lambda trajectory: {"score": 0.1 + 0.2}).moved == 0


def test_splits_stand_apart_and_a_phase_with_several_has_a_sum():
    other = dump(HALF, phase="validation")[0]
    other.line["data_source"] = "z"
    found = changes(rescore([*dump(SOLVED), *dump(SPAM, phase="validation"), other], progress))
    assert list(found) == ["train s", "validation s", "validation z", "validation all"]
    assert found["validation all"].now == 0.25


def test_a_reward_that_raises_names_the_episode():
    with pytest.raises(ValueError, match=r"the reward fails on t \(train step 3\): KeyError: 'x'"):
        rescore(dump(SOLVED), lambda trajectory: {}["x"])
    with pytest.raises(ValueError, match=r"the reward fails on t .*a reward returns a Score"):
        rescore(dump(SOLVED), lambda trajectory: 1.0)


def test_a_trajectory_of_another_kind_is_named():
    broken = dump(SOLVED)
    broken[0].line["trajectory"] = {"task_id": "t"}
    with pytest.raises(ValueError, match="train step 3 holds no trajectory"):
        rescore(broken, progress)


def test_bare_trajectories_are_read_and_have_no_score_before(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text(SOLVED.to_json() + "\n" + HALF.to_json() + '\n{"torn')
    left_out = Counter()
    found = changes(rescore(dumped_file(file, left_out), progress))
    assert left_out == {"torn lines": 1}
    assert (found["results s"].before, found["results s"].now, found["results s"].groups) == (None, 0.75, 0)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A stage's output folder with one group."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "stage1"
    (folder / "rollouts").mkdir(parents=True)
    events = [{"event": "start", "stage": "stage1"}, {"event": "step", "step": 1}]
    (folder / "progress.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    lines = [json.dumps(item.line) for item in dump(SOLVED, SPAM)]
    (folder / "rollouts" / "1.jsonl").write_text("\n".join(lines))
    return folder


def test_the_command_reads_a_run_and_writes_every_episode(run):
    shown = CliRunner().invoke(app, ["rescore", "0.9 progress + 0.1 format", str(run), "--output", "new.jsonl"])
    assert shown.exit_code == 0, shown.output
    assert "train s" in shown.output
    written = [json.loads(line) for line in Path("new.jsonl").read_text().splitlines()]
    assert [(line["before"], line["now"]) for line in written] == [(2.0, pytest.approx(1.1)), (2.0, pytest.approx(0.2))]
    assert written[0]["parts"]["progress/score"] == 1.0


def test_the_command_takes_a_reward_of_the_current_folder(run, monkeypatch):
    Path("own_reward_of_mine.py").write_text("def cost(trajectory):\n    return {'score': -len(trajectory.steps)}\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    shown = CliRunner().invoke(app, ["rescore", "own_reward_of_mine:cost", str(run / "rollouts" / "1.jsonl")])
    assert shown.exit_code == 0, shown.output
    assert "-4.000" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fromat", "outputs/stage1"], "did you mean 'format'"),
        (["progress", "outputs/stage2"], "outputs/stage2 cannot be read"),
        (["progress", "outputs/stage1/rollouts"], "is no output folder"),
        (["progress", "outputs/stage1/progress.jsonl"], "no episodes in .*left out: 2 episodes without a trajectory"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(run, arguments, said):
    shown = CliRunner().invoke(app, ["rescore", *arguments])
    assert isinstance(shown.exception, ValueError)
    with pytest.raises(ValueError, match=said):
        raise shown.exception
