"""`env-tuning hints propose` against a server that speaks the protocol, and misbehaves in every way that servers do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from parking import (
    LEAVE_HINT,
    NAME,
    Status,
    completion,
    garage_tasks,
    is_judge,
    judged,
    site_of,
    stub,
    write_run,
    written,
)
from typer.testing import CliRunner

from env_tuning.augmentation.proposals.proposing import Ledger, Outcome, propose_all
from env_tuning.augmentation.proposals.rollouts import RolloutReader, rollout_files
from env_tuning.augmentation.proposals.sites import ErrorSite, error_sites
from env_tuning.augmentation.rule_file import read_entries
from env_tuning.cli import app
from env_tuning.endpoint.client import Endpoint
from env_tuning.errors import UserError

KEY = "sk-not-to-be-seen"


@pytest.fixture
def sites(tmp_path: Path) -> tuple[ErrorSite, ...]:
    run = write_run(tmp_path / "run")
    return error_sites(RolloutReader(tasks=garage_tasks()).failed_calls(rollout_files([run])))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hints.yaml"


def propose(url: str, sites, file: Path, *, concurrency: int = 1, said=None, **settings) -> Ledger:
    endpoint = Endpoint(base_url=url, key=KEY, **{"pause": 0.01, "timeout": 5, "tries": 3, **settings})
    lines = [] if said is None else said
    return asyncio.run(propose_all(endpoint, sites, file, concurrency=concurrency, attempts=3, report=lines.append))


def good(body, number):
    return judged() if is_judge(body) else written()


def scripted(*answers):
    """One answer after the other; the last one for ever."""
    return lambda body, number: answers[min(number, len(answers) - 1)]


def test_a_good_answer_becomes_a_hint_to_review(sites, file):
    said = []
    with stub(good) as server:
        ledger = propose(server.url, sites[:1], file, said=said)
    (entry,) = read_entries(file)["hints"]
    assert (entry["text"], entry["reviewed"], entry["attempts"]) == (LEAVE_HINT, False, 1)
    assert ledger.outcomes == {Outcome.ACCEPTED: 1}
    assert ledger.counts == {"requests": 2, "prompt_tokens": 200, "completion_tokens": 20}
    assert said == ['[1/1] Garage.leave: {"error": "‹plate›: no such car."} (5x): accepted after 1 attempt']
    assert server.requests[0]["model"] == "stub"
    assert server.requests[0]["response_format"]["json_schema"]["schema"]["required"][0] == "reasoning"
    assert server.keys == [f"Bearer {KEY}"] * 2


def test_the_writer_never_reads_the_solution_and_the_judge_does(sites, file):
    with stub(good) as server:
        propose(server.url, sites[:1], file)
    assert "ZX 77" not in server.writers[0].replace('"zx 77"', "")
    assert "leave(plate='ZX 77')" in server.judges[0]


def test_bad_json_twice_and_then_a_good_answer(sites, file):
    with stub(scripted(completion("I think that..."), completion('{"hint": '), written(), judged())) as server:
        propose(server.url, sites[:1], file)
    (entry,) = read_entries(file)["hints"]
    assert entry["attempts"] == 3
    assert [refused["problem"] for refused in entry["refused"]] == ["the answer holds no JSON object"] * 2
    assert "holds no JSON object" in server.writers[1]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (completion(None, refusal="I cannot help with that."), "the model refused"),
        (completion("{}", finish="content_filter"), "the model refused"),
        (completion("{", finish="length"), "cut off at the limit of tokens"),
        (completion(""), "an empty answer"),
        ({"choices": []}, "an answer without a message"),
        (written(error_category="luck"), "not the form that was asked for: 'luck'"),
    ],
)
def test_an_answer_that_is_none_is_an_attempt_and_the_site_stays_open(sites, file, answer, problem):
    with stub(scripted(answer)) as server:
        ledger = propose(server.url, sites[:1], file)
        (entry,) = read_entries(file)["no_hint"]
        assert (ledger.outcomes, entry["outcome"], entry["attempts"]) == ({Outcome.FAILED: 1}, "failed", 3)
        assert problem in entry["refused"][0]["problem"]
        assert len(server.requests) == 3
    with stub(good) as server:
        assert propose(server.url, sites[:1], file).outcomes == {Outcome.ACCEPTED: 1}
    assert read_entries(file)["no_hint"] == []


def test_a_rate_limit_is_waited_for_as_long_as_the_server_asks(sites, file):
    slow_down = Status(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.4"})
    started = time.monotonic()
    with stub(scripted(slow_down, written(), judged())) as server:
        ledger = propose(server.url, sites[:1], file)
    assert time.monotonic() - started >= 0.4
    assert (ledger.outcomes[Outcome.ACCEPTED], ledger.counts["retries"], len(server.requests)) == (1, 1, 3)


def test_no_server_makes_us_wait_for_ever(sites, file):
    date = Status(503, {}, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})
    with stub(scripted(date)) as server:
        ledger = propose(server.url, sites[:1], file, longest_pause=0.05)
        (entry,) = read_entries(file)["no_hint"]
    assert "status 503" in entry["refused"][0]["problem"]
    assert (ledger.outcomes, len(server.requests)) == ({Outcome.FAILED: 1}, 3)


def test_a_timeout_is_tried_again(sites, file):
    def late_at_first(body, number):
        if number == 0:
            time.sleep(0.6)
        return good(body, number)

    with stub(late_at_first) as server:
        ledger = propose(server.url, sites[:1], file, timeout=0.3)
    assert (ledger.outcomes[Outcome.ACCEPTED], ledger.counts["retries"]) == (1, 1)


def test_a_server_that_is_not_there_is_reported_per_site(sites, file):
    said = []
    ledger = propose("http://127.0.0.1:9/v1", sites, file, model="m", said=said)
    assert ledger.outcomes == {Outcome.FAILED: 3}
    assert all("no connection" in line for line in said)
    with pytest.raises(UserError, match="no connection"):
        propose("http://127.0.0.1:9/v1", sites, file)


def test_the_judge_rejects_and_the_writer_is_told_why(sites, file):
    objection = judged(actionable=False, reason="Say what to look at.")
    with stub(
        scripted(written(hint="The plate that was given is not right."), objection, written(), judged())
    ) as server:
        propose(server.url, sites[:1], file)
    (entry,) = read_entries(file)["hints"]
    assert entry["refused"] == [
        {
            "hint": "The plate that was given is not right.",
            "problem": "the judge: it does not say what to do. Say what to look at.",
        }
    ]
    assert "Say what to look at." in server.writers[1]
    assert entry["text"] == LEAVE_HINT


def test_a_judge_that_stammers_is_asked_again_about_the_same_hint(sites, file):
    with stub(scripted(written(), completion("fine"), judged())) as server:
        propose(server.url, sites[:1], file)
    (entry,) = read_entries(file)["hints"]
    assert (entry["attempts"], len(server.judges)) == (1, 2)


def test_our_own_check_refuses_a_leak_that_no_judge_ever_sees(sites, file):
    leak = written(hint="The car with the plate ZX 77 is the one that is parked.")
    with stub(lambda body, number: judged() if is_judge(body) else leak) as server:
        ledger = propose(server.url, sites[:1], file)
    entries = read_entries(file)
    assert (ledger.outcomes, server.judges, entries["hints"]) == ({Outcome.REJECTED: 1}, [], [])
    assert "a value of the solution" in entries["no_hint"][0]["refused"][0]["problem"]


def test_finished_sites_are_not_asked_again(sites, file):
    def one_is_down(body, number):
        if site_of(body) == "park":
            return Status(500)
        if is_judge(body):
            return judged()
        return written(need_augmentation=False) if site_of(body) == "weigh" else written()

    with stub(one_is_down) as server:
        ledger = propose(server.url, sites, file, concurrency=2)
    assert ledger.outcomes == {Outcome.ACCEPTED: 1, Outcome.NOT_NEEDED: 1, Outcome.FAILED: 1}
    rows = written(
        hint="Rows above a limit are closed; choose one nearer to the entrance.", error_contains=["is closed"]
    )
    with stub(lambda body, number: judged() if is_judge(body) else rows) as server:
        ledger = propose(server.url, sites, file)
        assert {site_of(request) for request in server.requests} == {"park"}
        assert (ledger.done_before, ledger.outcomes) == (2, {Outcome.ACCEPTED: 1})
        propose(server.url, sites, file)
        assert len(server.requests) == 2
    entries = read_entries(file)
    assert [entry["name"] for entry in entries["hints"]] == ["garage.leave.no_such_car", "garage.park.is_closed_row"]
    assert [entry["outcome"] for entry in entries["no_hint"]] == ["not_needed"]


def test_no_more_sites_are_asked_about_at_a_time_than_allowed(sites, file):
    lock, now, most = threading.Lock(), [0], [0]

    def watched(body, number):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return written(need_augmentation=False)

    with stub(watched) as server:
        propose(server.url, sites, file, concurrency=2)
    assert most[0] == 2


@pytest.mark.parametrize("refused", ["response_format", "temperature", "max_tokens"])
def test_what_a_server_does_not_take_is_left_out(sites, file, refused):
    def picky(body, number):
        if refused in body:
            return Status(400, {"error": {"message": f"Unsupported parameter: {refused}"}})
        return good(body, number)

    with stub(picky) as server:
        ledger = propose(server.url, sites[:1], file)
    assert ledger.outcomes == {Outcome.ACCEPTED: 1}
    assert [refused in request for request in server.requests] == [True, False, False]


def test_a_request_that_is_refused_whatever_is_left_out_fails_and_changes_nothing_for_others(sites, file):
    def too_long(body, number):
        if site_of(body) == "leave":
            return Status(400, {"error": {"message": "too long"}})
        return written(need_augmentation=False)

    with stub(too_long) as server:
        ledger = propose(server.url, sites[:2], file)
    assert ledger.outcomes == {Outcome.FAILED: 1, Outcome.NOT_NEEDED: 1}
    assert "response_format" in server.requests[-1]


@pytest.mark.parametrize(("code", "words"), [(401, "does not accept the key"), (404, "knows no such address or model")])
def test_an_endpoint_that_answers_nobody_ends_the_run_and_the_key_is_not_repeated(sites, file, code, words):
    def closing(body, number):
        if site_of(body) == "leave":
            return good(body, number)
        return Status(code, {"error": {"message": f"Incorrect key {KEY}"}})

    with stub(closing) as server, pytest.raises(UserError, match=words) as error:
        propose(server.url, sites, file)
    assert KEY not in str(error.value)
    assert "***" in str(error.value)
    assert len(read_entries(file)["hints"]) == 1


def test_a_server_of_several_models_needs_a_choice(sites, file):
    with stub(good, models=("a", "b")) as server, pytest.raises(UserError, match="offers a, b; choose a model"):
        propose(server.url, sites, file)


def test_the_key_is_in_no_file_and_no_representation(sites, file):
    with stub(lambda body, number: Status(500, {"error": KEY})) as server:
        propose(server.url, sites, file)
    assert KEY not in file.read_text(encoding="utf-8")
    assert KEY not in repr(Endpoint(base_url="http://x", key=KEY))


# The command.


def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: str):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    arguments = ["hints", "propose", str(tmp_path / "run"), "--tasks", NAME, "--file", str(tmp_path / "hints.yaml")]
    return CliRunner().invoke(app, [*arguments, *more])


def test_a_dry_run_lists_the_sites_and_asks_nobody(sites, tmp_path, monkeypatch):
    result = command(tmp_path, monkeypatch, "--dry-run", "--limit", "2", "--base-url", "http://127.0.0.1:9/v1")
    assert result.exit_code == 0, result.output
    assert "3 error sites, 2 chosen" in result.output
    assert "5 calls     2 tasks  Garage.leave" in result.output
    assert "weigh" not in result.output
    assert not (tmp_path / "hints.yaml").exists()


def test_the_command_asks_writes_and_says_what_it_cost(sites, tmp_path, monkeypatch):
    def answer(body, number):
        return good(body, number) if site_of(body) == "leave" else completion("?")

    with stub(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        result = command(tmp_path, monkeypatch)
    assert result.exit_code == 1, result.output
    assert "1 accepted, 0 not_needed, 0 rejected, 2 failed, 0 done before" in result.output
    assert "800 prompt tokens, 80 completion tokens" in result.output
    assert KEY not in result.output + json.dumps(read_entries(tmp_path / "hints.yaml"))
    assert server.keys[0] == f"Bearer {KEY}"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_goes_on_where_it_was(sites, tmp_path, how):
    stopped = threading.Event()

    def hangs_after_the_first_site(body, number):
        if site_of(body) != "leave" and not stopped.is_set():
            stopped.wait(30)
        return good(body, number) if site_of(body) == "leave" else written(need_augmentation=False)

    file = tmp_path / "hints.yaml"
    with stub(hangs_after_the_first_site) as server:
        command = [sys.executable, "-m", "env_tuning.cli", "hints", "propose", str(tmp_path / "run"), "--tasks", NAME]
        command += ["--file", str(file), "--base-url", server.url, "--concurrency", "2"]
        rooms = os.pathsep.join(str(folder) for folder in Path(__file__).parents[:2])
        surroundings = {**os.environ, "PYTHONPATH": rooms}
        first = subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        first.send_signal(how)
        said, _ = first.communicate(timeout=30)
        stopped.set()
        assert "Traceback" not in said
        assert len(read_entries(file)["hints"]) == 1
        before = len(server.judges)
        second = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=60)
        assert second.returncode == 0, second.stdout + second.stderr
        assert len(server.judges) == before == 1
    assert "2 not_needed, 0 rejected, 0 failed, 1 done before" in second.stdout
