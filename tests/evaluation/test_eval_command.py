"""`env-tuning eval` as a user types it: a checkpoint on disk, an endpoint, and everything that can be mistyped."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from oracle import Status, oracle_of, serving
from players import write_tasks
from typer.testing import CliRunner

from env_tuning.cli import app
from env_tuning.errors import UserError
from env_tuning.evaluation.settings import tasks_sha256
from env_tuning.evaluation.sources import read_data
from env_tuning.protocols import PromptVersion
from env_tuning.report.curves import curves_of
from env_tuning.report.reading import dumped, read_run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A model of a hundred thousand random weights: it answers nonsense, at once."""
    import torch
    from transformers import Qwen3ForCausalLM

    from env_tuning.model.tiny import SIZES, tiny_config
    from env_tuning.model.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("model") / "nano"
    tokenizer = train_tokenizer(["<think>Move the file.</think><answer>done</answer>", "abc xyz 0123"], pieces=600)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen3ForCausalLM(tiny_config(SIZES["nano"], tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def evaluate(*arguments: object):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def local(file: Path, checkpoint: Path, processed_data: Path, output: Path, *more: object):
    short = ("--tool-listing", "signatures", "--max-tokens", "6", "--steps-per-turn", "2")
    return evaluate(file, "--model", checkpoint, "--data", processed_data, "--output", output, *short, *more)


def test_a_checkpoint_is_played_and_a_report_reads_what_it_leaves(few, file_of, processed_data, checkpoint, tmp_path):
    out = tmp_path / "out"
    done = local(file_of(few), checkpoint, processed_data, out, "--prompt-price", 3)
    assert done.exit_code == 0, (done.output, done.exception)
    card = json.loads((out / "card.json").read_text())
    assert card["model"]["folder"] == str(checkpoint)
    assert len(card["model"]["weights_sha256"]) == 64
    assert card["overall"]["tasks"] == len(few)
    assert card["overall"]["stops"] == {"message_length": 5}
    assert card["tokens"]["completion"] == 6 * len(few)
    assert card["cost"]["total"] == pytest.approx(3 * card["tokens"]["prompt"] / 1e6)
    assert (out / "card.md").read_text() in done.output
    (stage,) = read_run(out)
    left_out: Counter[str] = Counter()
    assert [item.line["uid"] for item in dumped(stage, left_out)] == [task.id for task in few]
    assert not left_out
    assert {line.name for panel in curves_of([stage]).panels for line in panel.lines} >= {task.split for task in few}
    again = local(file_of(few), checkpoint, processed_data, out)
    assert again.exit_code == 0, (again.output, again.exception)
    assert "5 tasks are done already" in again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.parquet", "--model", "m"], "nowhere.parquet does not exist"),
        (["FILE", "--model", "nowhere"], "the model nowhere does not exist; give a Hugging Face folder, or --base-url"),
        (["FILE", "--model", "EMPTY"], "is no model: it has no config.json"),
        (["FILE", "--model", "WEIGHTLESS"], "has a config.json but no weights"),
        (["FILE", "--model", "GARBAGE"], "cannot be loaded: "),
        (["FILE"], "what to evaluate"),
        (["FILE", "--model", "EMPTY", "--mode", "native"], "--mode native needs --base-url"),
        (["FILE", "--model", "EMPTY", "--mode", "chat"], "--mode chat: known are prompt, native"),
        (["FILE", "--model", "EMPTY", "--protocol", "morse"], "no protocol named 'morse'"),
        (["FILE", "--base-url", "localhost:8000", "--model", "m"], "is no address such as"),
        (["FILE", "FILE", "--model", "EMPTY"], "is there twice"),
        (["JSON", "--model", "EMPTY"], "is not a whole parquet file"),
    ],
)
def test_mistakes_end_in_one_line(few, file_of, processed_data, tmp_path, arguments, words):
    for name in ("EMPTY", "WEIGHTLESS", "GARBAGE"):
        (tmp_path / name).mkdir()
    (tmp_path / "WEIGHTLESS" / "config.json").write_text("{}")
    (tmp_path / "GARBAGE" / "config.json").write_text('{"model_type": "qwen3"}')
    (tmp_path / "GARBAGE" / "model.safetensors").write_bytes(b"garbage")
    places = {name: tmp_path / name for name in ("EMPTY", "WEIGHTLESS", "GARBAGE")}
    places |= {"FILE": file_of(few), "JSON": tmp_path / "GARBAGE" / "config.json"}
    given = [places.get(argument, argument) for argument in arguments]
    done = evaluate(*given, "--data", processed_data, "--output", tmp_path / "out")
    assert isinstance(done.exception, ValueError), done.output
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_interrupted_and_called_again_it_goes_on(few, file_of, processed_data, tmp_path):
    arguments = [str(file_of(few)), "--data", str(processed_data), "--output", str(tmp_path / "out")]
    oracle, asked, leave = oracle_of(few), threading.Event(), threading.Event()

    def intrude(body, number):
        if number > 15:
            asked.set()
            leave.wait(300)

    oracle.intrude = intrude
    with serving(oracle):
        command = [sys.executable, "-m", "env_tuning.cli", "eval", *arguments]
        command += ["--base-url", oracle.url, "--concurrency", "1"]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert asked.wait(300)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
        leave.set()
        assert running.returncode == 130, said
        assert "the same command goes on" in said
        assert "Traceback" not in said
        oracle.intrude = lambda body, number: None
        kept = len((tmp_path / "out" / "validation" / "0.jsonl").read_text().splitlines())
        again = evaluate(*arguments, "--base-url", oracle.url)
    assert 0 < kept < len(few)
    assert f"{kept} tasks are done already" in again.output
    assert "| all | 5 | 100.0 % |" in again.output


def test_two_processes_do_not_share_a_folder(few, file_of, processed_data, checkpoint, tmp_path):
    out = tmp_path / "out"
    assert local(file_of(few), checkpoint, processed_data, out).exit_code == 0
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = local(file_of(few), checkpoint, processed_data, out)
    assert "another process evaluates into" in str(refused.exception)


def test_what_an_endpoint_leaves_unanswered_is_said_and_is_status_1(few, file_of, processed_data, tmp_path):
    def intrude(body, number):
        return Status(422, "no thanks") if body["messages"][1]["content"] == few[1].user_turns[0] else None

    with serving(oracle_of(few, intrude=intrude)) as oracle:
        arguments = [file_of(few), "--data", processed_data, "--output", tmp_path / "out", "--base-url", oracle.url]
        done = evaluate(*arguments, "--concurrency", 1)
        assert done.exit_code == 1, done.exception
        assert f"1 of 5 tasks have no answer ({few[1].id}: status 422: no thanks)" in done.output
        assert evaluate(*arguments, "--unanswered-wrong").exit_code == 0


def test_the_same_tasks_have_the_same_hash_in_any_file(few, tmp_path, processed_data):
    first = read_data([str(write_tasks(tmp_path / "a.parquet", few))], processed_data)
    halves = [write_tasks(tmp_path / "b.parquet", few[:2]), write_tasks(tmp_path / "c.parquet", few[2:])]
    second = read_data([str(file) for file in halves], processed_data)
    assert tasks_sha256(first.tasks) == tasks_sha256(second.tasks)
    assert tasks_sha256(first.tasks[:-1]) != tasks_sha256(first.tasks)
    assert [file["rows"] for file in second.files] == [2, 3]
    changed = [replace(few[0], ground_truth=(*few[0].ground_truth[:-1], ())), *few[1:]]
    assert tasks_sha256(changed) != tasks_sha256(few)


def test_a_limit_takes_tasks_from_everywhere_in_a_file(processed_data):
    data = read_data(["val"], processed_data, limit=4)
    assert [task.split.removeprefix("multi_turn_") for task in data.tasks] == [
        "base", "miss_func", "miss_param", "long_context"
    ]  # fmt: skip


def test_files_with_different_prompts_are_refused(few, tmp_path, processed_data):
    files = [
        write_tasks(tmp_path / "a.parquet", few[:1], PromptVersion.V1),
        write_tasks(tmp_path / "b.parquet", few[1:], PromptVersion.V2),
    ]
    with pytest.raises(UserError, match="ask for different system prompts"):
        read_data([str(file) for file in files], processed_data)
