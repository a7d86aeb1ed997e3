"""`env-tuning serve` as a user starts it: one process, one line that says where, mistakes in one line."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from nano import make_nano
from typer.testing import CliRunner

from env_tuning.cli import app

SECONDS = 120


@pytest.mark.slow
def test_one_command_starts_a_server_that_answers_until_it_is_interrupted(tmp_path: Path):
    folder = make_nano(tmp_path / "tiny", ["Where is the car?"])
    command = [sys.executable, "-u", "-m", "env_tuning.cli", "serve", str(folder), "--port", "0", "--max-tokens", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"tiny answers at (http://\S+)", server.stdout.readline())
            assert found is not None
            body = {"model": "tiny", "messages": [{"role": "user", "content": "Where?"}]}
            answer = httpx.post(f"{found[1]}/chat/completions", json=body, timeout=SECONDS)
            assert answer.json()["usage"]["completion_tokens"] <= 4
            server.send_signal(signal.SIGINT)
            assert server.wait(SECONDS) == 0
        finally:
            server.kill()


def problem(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert isinstance(done.exception, ValueError), done.output
    return str(done.exception)


def test_mistakes_end_in_one_line(tmp_path):
    assert "there is no such folder, and it is no hub id" in problem("nowhere")
    assert "is no model: it has no config.json" in problem(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} cannot be listened on" in problem(str(tmp_path), "--port", str(port))
    assert "cannot be loaded" in problem(str(tmp_path), "--port", "0")
