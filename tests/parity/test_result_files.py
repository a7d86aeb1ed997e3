"""Evaluations, scored a second time: by the benchmark's own evaluation, from the result files that we write."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from official import HERE, official_process
from oracle import Answer, Oracle, completion, oracle_of, said, serving, spoken

from env_tuning.calls import ToolCall
from env_tuning.endpoint.client import Endpoint
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.evaluation.models import EndpointModel
from env_tuning.evaluation.running import Evaluation, Plan, evaluate
from env_tuning.evaluation.settings import Mode, Settings
from env_tuning.evaluation.sources import Data
from env_tuning.protocols import PromptVersion
from env_tuning.task import Task


class Nobody:
    def begin(self, evaluation: Evaluation) -> None: ...

    def done(self, result: Any) -> None: ...


def official_scores(folder: Path, official: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    (place,) = (folder / "official" / "result").glob("*/multi_turn")
    script = HERE / "official_scoring.py"
    with official_process(script, official, scratch, arguments=[str(place)], stdout=subprocess.PIPE) as scoring:
        assert scoring.stdout is not None
        scores = [json.loads(line) for line in scoring.stdout]
    assert scoring.returncode == 0, "the official package failed; its message is above"
    return {score["id"]: score for score in scores}


def played(tasks: Sequence[Task], mode: Mode, padding: LongContext, output: Path, *, faults: bool) -> Evaluation:
    # Seeds tell the oracle which task is meant: some tasks begin alike.
    settings = Settings(mode=mode, temperature=0.5)
    oracle = oracle_of(tasks, settings, keep=False)
    if faults:
        oracle.intrude = lambda body, number: faulty(oracle, body)
    with serving(oracle):
        data = Data(tasks=tuple(tasks), files=(), version=PromptVersion.V1, padding=padding)
        model = EndpointModel(Endpoint(base_url=oracle.url, model="oracle"))
        return asyncio.run(evaluate(model, data, settings, Plan(output=output, concurrency=8), Nobody()))


def faulty(oracle: Oracle, body: dict[str, Any]) -> Answer | None:
    """Of six tasks one is played right; the others lack a call, call too much, change a state, loop, or are cut off."""
    truth, at, dice = oracle.truth(body), said(body), body["seed"]
    kind, place = dice % 6, dice // 6 % len(truth)
    if kind == 4 and at >= place:
        return spoken((ToolCall(name="pwd"),), body)
    if at >= len(truth):
        return spoken((), body)
    if kind == 1 and at == place:
        return spoken(truth[at][1:], body)
    if kind == 2 and at == place:
        return spoken((*truth[at], ToolCall(name="no_such_tool", arguments={"text": "a (b) 'c'"})), body)
    if kind == 3 and at == place:
        return spoken((*truth[at], ToolCall(name="mkdir", arguments={"dir_name": "extra"})), body)
    if kind == 5 and at >= place:
        return completion({"role": "assistant", "content": "<think>so"}, finish="length")
    return None


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
def test_the_truth_is_right_on_all_tasks_by_our_metric_and_by_the_official_one(
    tasks: dict[str, Task], benchmark, official: Path, tmp_path: Path, mode: Mode
):
    evaluation = played(list(tasks.values()), mode, benchmark.long_context, tmp_path / "out", faults=False)
    scores = official_scores(tmp_path / "out", official, tmp_path)
    assert len(evaluation.results) == len(scores) == 800
    assert [result.task_id for result in evaluation.results if not result.correct] == []
    assert [score for score in scores.values() if not score["valid"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
def test_a_faulty_model_gets_the_same_numbers_from_both(
    tasks: dict[str, Task], benchmark, official: Path, tmp_path: Path, mode: Mode
):
    chosen = list(tasks.values())[::4]
    evaluation = played(chosen, mode, benchmark.long_context, tmp_path / "out", faults=True)
    scores = official_scores(tmp_path / "out", official, tmp_path)
    ours = {result.task_id: result.correct for result in evaluation.results}
    assert ours == {task: score["valid"] for task, score in scores.items()}
    # Both outcomes and several ways to fail, or agreement would say little.
    assert 30 < sum(ours.values()) < 170
    assert len(Counter(score["error_type"] for score in scores.values())) >= 4
    assert {result.stop for result in evaluation.results} >= {"completed", "steps_per_turn", "message_length"}
