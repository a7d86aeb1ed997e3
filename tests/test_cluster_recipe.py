"""The Slurm script refuses what it cannot run, and waits until all nodes are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "cluster"
sys.path.insert(0, str(RECIPE))
import wait_for_nodes  # noqa: E402


class Dashboard(BaseHTTPRequestHandler):
    """Ray's list of nodes: one more alive at every question, and a dead one always."""

    token = "right"
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self.send_error(401)
            return
        states = ["DEAD", *["ALIVE"] * self.asked]
        body = json.dumps({"data": {"result": {"result": [{"state": state} for state in states]}}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def dashboard() -> Iterator[str]:
    Dashboard.asked = 0
    server = HTTPServer(("127.0.0.1", 0), Dashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_it_waits_until_all_nodes_are_alive(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", Dashboard.token)
    wait_for_nodes.wait(dashboard, 2, seconds=30)
    assert Dashboard.asked == 2


def test_nodes_that_do_not_come_are_an_error_with_their_number(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", Dashboard.token)
    with pytest.raises(SystemExit, match="1 of 9 Ray nodes"):
        wait_for_nodes.wait(dashboard, 9, seconds=0)


def test_a_wrong_token_is_an_error_at_once(dashboard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(SystemExit, match="RAY_AUTH_TOKEN"):
        wait_for_nodes.wait(dashboard, 1)


@pytest.mark.parametrize(
    ("variables", "said"),
    [({}, "submit this file with sbatch"), ({"SLURM_SUBMIT_DIR": "/"}, "submit from the checkout")],
)
def test_the_slurm_script_says_how_to_submit_it(variables: dict[str, str], said: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    done = subprocess.run(
        ["bash", str(RECIPE / "stages.slurm")], env=clean | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert said in done.stderr
