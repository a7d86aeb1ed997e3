"""The whole chain with real verl: killed at random moments, it ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("verl")
from running import toy_environment, toy_overrides

from env_tuning.curriculum.results import read_result
from env_tuning.verl_plugin.progress import lasting, read_events

STAGES = ("stage1", "stage2", "stage3", "stage4")
KILLS = 20
SECONDS = 1800
"""The outer limit of the killed chain: a hang must not hang the suite."""

MARK = "ENV_TUNING_KILL_TEST"
"""Variable that every process of a chain inherits, so that a test kills its own alone."""

VICTIMS = ("runner", "runner", "driver", "driver", "worker", "server", "raylet", "gcs_server")


def start(folder: Path, output: Path, mark: str) -> subprocess.Popen[bytes]:
    """`env-tuning curriculum --local` over four toy stages of two steps each."""
    command = [
        *(sys.executable, "-m", "env_tuning.cli", "curriculum", "--local", *toy_overrides(folder)),
        *(
            "env_tuning.deterministic=true",
            "trainer.total_training_steps=3",
            "trainer.save_freq=1",
            "trainer.test_freq=2",
        ),
        *(f"curriculum.output_dir={output}", "curriculum.retries=100"),
    ]
    environment = {**toy_environment(), MARK: mark, "MODEL": str(folder / "model")}
    with (folder / f"{output.name}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)


def processes(mark: str) -> list[psutil.Process]:
    """Everything that belongs to a chain."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def victim(kind: str, runner: subprocess.Popen[bytes], mark: str) -> psutil.Process | None:
    """One living process of a kind, None if there is none at the moment."""
    if kind == "runner":
        return psutil.Process(runner.pid)
    for process in processes(mark):
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if {
                "driver": "env_tuning.verl_plugin.main" in words and process.ppid() == runner.pid,
                "worker": "WorkerDict" in words,
                "server": "TransformersServer" in words,
            }.get(kind, process.name() == kind):
                return process
    return None


def end(mark: str) -> None:
    for process in processes(mark):
        with contextlib.suppress(psutil.Error):
            process.kill()


def figures(output: Path) -> Mapping[str, Any]:
    """What a chain came to: rewards, losses, norms, validations and weights of every stage."""
    found: dict[str, Any] = {}
    for stage in STAGES:
        events = lasting(read_events(output / stage / "progress.jsonl"))
        steps = [
            [event["step"], event["reward"], event["loss"], event["grad_norm"], event["kl"]]
            for event in events
            if event["event"] == "step"
        ]
        validations = [[event["step"], event["score"]] for event in events if event["event"] == "validation"]
        result = read_result(output / stage)
        assert result is not None
        found[stage] = {"steps": steps, "validations": validations, "weights": result.weights_sha256}
    return found


@pytest.mark.slow
def test_a_chain_killed_at_random_moments_ends_as_an_unbroken_one(folder: Path) -> None:
    mark = uuid.uuid4().hex
    unbroken = start(folder, folder / "unbroken", mark)
    try:
        assert unbroken.wait(timeout=SECONDS) == 0, (folder / "unbroken.log").read_text()[-4000:]
    finally:
        end(mark)
    killed, output = _killed_chain(folder, mark)
    assert sum(killed.values()) == KILLS
    print("killed:", killed)
    assert figures(output) == figures(folder / "unbroken")
    record = json.loads((output / "curriculum.json").read_text())["stages"]
    assert [(stage["name"], stage["status"]) for stage in record] == [(name, "done") for name in STAGES]
    for before, after in itertools.pairwise(record):
        assert after["started_from"] == {
            "model": before["result"]["folder"],
            "weights_sha256": before["result"]["weights_sha256"],
            "stage": before["name"],
        }
    shutil.rmtree(output)


def _killed_chain(folder: Path, mark: str) -> tuple[dict[str, int], Path]:
    """Run the chain, killing something now and then; returns what was killed how often, and the output folder."""
    output, dice = folder / "killed", random.Random(7)
    killed: dict[str, int] = {}
    deadline = time.monotonic() + SECONDS
    runner = start(folder, output, mark)
    try:
        while True:
            more = sum(killed.values()) < KILLS
            pause = dice.uniform(1.0, 15.0) if more else max(1.0, deadline - time.monotonic())
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = runner.wait(timeout=pause)
                assert status in (0, -9), (folder / "killed.log").read_text(errors="replace")[-4000:]
                if status == 0:
                    break
            assert time.monotonic() < deadline, "the chain does not end"
            kind = dice.choice(VICTIMS)
            if runner.poll() is None and more and (target := victim(kind, runner, mark)) is not None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    target.kill()
                    killed[kind] = killed.get(kind, 0) + 1
            if runner.poll() is not None or kind == "runner":
                runner.wait()
                runner = start(folder, output, mark)
    finally:
        end(mark)
        runner.wait()
    return killed, output
