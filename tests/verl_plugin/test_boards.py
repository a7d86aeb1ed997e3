"""Histograms and samples, written to real TensorBoard files and to what W&B's module is called with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from env_tuning.errors import UserError
from env_tuning.trajectory import StepOutcome, StepRecord, StopReason, Trajectory, TurnFailure, TurnVerdict
from env_tuning.verl_plugin.boards import ALWAYS, TEXT_LIMIT, as_markdown, boards_of, histograms, sampled, show
from env_tuning.verl_plugin.records import EpisodeRecord


def record(score: float, text: str = "<answer>done</answer>") -> EpisodeRecord:
    trajectory = Trajectory(
        task_id=f"task_{score:g}",
        split="base",
        turns=2,
        steps=(
            StepRecord(0, text, StepOutcome.ANSWER, observation="And now?", closed_turn=True),
            StepRecord(1, "", StepOutcome.CUT),
        ),
        verdicts=(TurnVerdict(0, False, TurnFailure.STATE, mismatched_classes=("TicketAPI",)),),
        stop=StopReason.RESPONSE_LENGTH,
        first_request="First.",
    )
    return EpisodeRecord(
        uid=f"{score:g}", group=0, data_source="base", score=score, numbers={"turns": 1.0, "steps": 2.0},
        trained_tokens=3, response_tokens=5, prompt_tokens=7, trajectory=trajectory.to_dict(),
    )  # fmt: skip


RECORDS = [record(0.0), record(1.0), record(0.25), record(0.5)]


@pytest.mark.parametrize(
    ("named", "environ", "installed", "names"),
    [
        (None, {}, True, ALWAYS),
        (None, {"WANDB_API_KEY": ""}, True, ALWAYS),
        (None, {"WANDB_API_KEY": "k"}, True, (*ALWAYS, "wandb")),
        (["tensorboard"], {"WANDB_API_KEY": "k"}, True, ("tensorboard",)),
        ("wandb", {}, True, ("wandb",)),
    ],
)
def test_a_key_adds_wandb_unless_boards_are_named(named: Any, environ: Any, installed: bool, names: Any) -> None:
    assert boards_of(named, environ, wandb_installed=installed) == (names, "")


def test_a_key_without_the_package_is_a_warning_and_a_name_without_it_an_error() -> None:
    names, warning = boards_of(None, {"WANDB_API_KEY": "k"}, wandb_installed=False)
    assert names == ALWAYS and "pip install wandb" in warning
    with pytest.raises(UserError, match="pip install wandb"):
        boards_of(["wandb"], {}, wandb_installed=False)


def test_tensorboard_gets_histograms_and_samples_in_the_file_that_is_open(tmp_path: Path) -> None:
    torch_boards = pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = torch_boards.SummaryWriter(str(tmp_path))
    for step in (1, 2):
        show({"tensorboard": SimpleNamespace(writer=writer)}, RECORDS, step, place="episodes", samples=2)
    writer.close()
    found = EventAccumulator(str(tmp_path), {"histograms": 0, "tensors": 0})
    found.Reload()
    assert len(list(tmp_path.iterdir())) == 1
    first, second = found.Histograms("episodes/score")
    assert (first.step, second.step) == (1, 2)
    assert (first.histogram_value.num, first.histogram_value.min, first.histogram_value.max) == (4, 0.0, 1.0)
    assert first.histogram_value.sum == pytest.approx(1.75)
    for name, value in {"turns": 1, "steps": 2, "prompt_tokens": 7, "response_tokens": 5, "trained_tokens": 3}.items():
        assert found.Histograms(f"episodes/{name}")[0].histogram_value.max == value
    best, worst = (found.Tensors(f"episodes/sample_{rank}/text_summary") for rank in (1, 2))
    assert b"**task_1**" in best[1].tensor_proto.string_val[0] and best[1].step == 2
    assert b"**task_0**" in worst[0].tensor_proto.string_val[0]


def test_wandb_gets_them_at_the_step_of_verls_numbers() -> None:
    logged: list[Any] = []
    wandb = SimpleNamespace(
        Histogram=lambda values: sorted(values),
        Table=lambda columns, data: [dict(zip(columns, row, strict=True)) for row in data],
        log=lambda data, step: logged.append((step, data)),
    )
    show({"wandb": wandb}, RECORDS, 7, place="val_episodes", samples=1)
    [(step, data)] = logged
    assert step == 7 and data["val_episodes/score"] == [0.0, 0.25, 0.5, 1.0]
    [row] = data["val_episodes/samples"]
    assert {**row, "trajectory": ""} == {
        "step": 7, "task": "task_1", "split": "base", "reward": 1.0, "turns right": "0 of 2",
        "stopped": "response_length", "trajectory": "",
    }  # fmt: skip


@pytest.mark.parametrize("loggers", [{}, {"console": object()}])
def test_other_boards_are_left_alone(loggers: Any) -> None:
    show(loggers, RECORDS, 1, place="episodes", samples=2)
    assert histograms([]) == {} and sampled([], 2) == []


@pytest.mark.parametrize(
    ("count", "scores"), [(0, []), (1, [1.0]), (2, [1.0, 0.0]), (3, [1.0, 0.5, 0.0]), (9, [1.0, 0.5, 0.25, 0.0])]
)
def test_samples_reach_from_the_highest_reward_to_the_lowest(count: int, scores: list[float]) -> None:
    hidden = dataclasses.replace(record(9.0), trajectory=None)
    assert [chosen.score for chosen in sampled([*RECORDS, hidden], count)] == scores


def test_a_number_that_is_not_finite_is_left_out_of_its_histogram() -> None:
    assert histograms([record(float("nan")), record(2.0)])["score"] == [2.0]


def test_what_a_model_wrote_stays_in_its_block_whatever_it_wrote() -> None:
    text = as_markdown(record(0.5, text="```\n# no heading\n\n**no bold**"))
    assert "    ```\n    # no heading\n    \n    **no bold**" in text
    assert "*turn 1: wrong (state, TicketAPI)*" in text and text.endswith("    (empty)")


def test_a_long_trajectory_is_cut_and_says_so() -> None:
    text = as_markdown(record(0.5, text="x" * 3 * TEXT_LIMIT))
    assert len(text) < TEXT_LIMIT + 100 and "more characters are in the dump" in text
