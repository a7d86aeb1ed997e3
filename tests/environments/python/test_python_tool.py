"""The Python tool as a model meets it, and its other backends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from env_tuning.calls import ToolCall
from env_tuning.environments.environment import CallStatus, Environment
from env_tuning.environments.python.bounds import Bounds, Ending
from env_tuning.environments.python.monty import MontySession
from env_tuning.environments.python.remote import RemoteSession
from env_tuning.environments.python.tool import PythonSettings, PythonTool
from env_tuning.environments.registry import make_environment
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.errors import UserError

NAME = "env_tuning.environments.python.tool:PythonTool"


def program(code: object) -> ToolCall:
    return ToolCall(name="python", arguments={"code": code})


def environment(**config: object) -> Environment:
    return make_environment([NAME], json.dumps({NAME: config}))


@pytest.fixture
def kept() -> Iterator[Environment]:
    made = environment(kept=True, wall_seconds=60, output_characters=100)
    yield made
    made.end_episode()


def test_a_program_is_a_call_with_its_output_as_result(kept):
    assert kept.call(program("x = 20\nprint(x)\nx + 1")) == ("20\n21", CallStatus.OK)
    assert kept.call(program("x * 2")).text == "40"
    assert kept.call(program("pass")).text == "(The program printed nothing.)"


def test_a_failing_program_is_a_failed_call_that_says_why(kept):
    text, status = kept.call(program("print('on')\n1 / 0"))
    assert status is CallStatus.EXCEPTION
    assert text.startswith("Error during execution: on\nTraceback")
    assert text.endswith("ZeroDivisionError: division by zero")
    assert kept.call(program(7)).text == "Error during execution: code must be a string"
    hasty = environment(wall_seconds=0.5)
    assert "The program was stopped after 0.5 seconds" in hasty.call(program("while True: pass")).text


def test_lost_variables_are_told(kept):
    assert kept.call(program("import os\nos._exit(0)")).text.endswith(
        "The program ended its interpreter.\nAll variables are lost."
    )
    alone = environment()
    assert alone.call(program("import os\nos._exit(0)")).text.endswith("The program ended its interpreter.")


def test_an_episode_without_a_program_starts_nothing_and_ends():
    made = environment(kept=True)
    made.end_episode()
    made.end_episode()
    assert made.waits
    assert made.snapshot() == {NAME: {}}


def test_the_model_is_told_of_one_tool():
    (tool,) = tool_docs_of(PythonTool)
    assert (tool.name, list(tool.parameters["properties"])) == ("python", ["code"])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"wall": 1}, "unknown PythonTool keys"),
        ({"wall_seconds": -1}, "wall_seconds is -1"),
        ({"backend": "docker"}, "docker"),
        ({"backend": "http", "kept": True}, "over HTTP nothing is kept"),
    ],
)
def test_settings_that_cannot_be_are_refused(config, said):
    with pytest.raises(ValueError, match=said):
        environment(**config)


class _Server(BaseHTTPRequestHandler):
    """A server that answers as SandboxFusion does, by what the program says."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = {
            "ok": {"status": "Finished", "return_code": 0, "stdout": "a" * 30, "stderr": "a warning"},
            "raises": {"status": "Finished", "return_code": 1, "stdout": "on\n", "stderr": "Traceback: no"},
            "loops": {"status": "TimeLimitExceeded", "return_code": None, "stdout": "", "stderr": ""},
            "broken": None,
        }
        body = {"status": "Success", "message": "queue full", "run_result": answers[request["code"]]}
        assert request["language"] == "python"
        assert request["run_timeout"] == 2
        payload = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/run_code"
    server.shutdown()
    server.server_close()


def test_a_server_runs_programs(url):
    session = RemoteSession(url, Bounds(wall_seconds=2, output_characters=20))
    assert session.run("ok") == (Ending.OK, "a" * 20, 10, "", False)
    assert session.run("raises") == (Ending.RAISED, "on\n", 0, "Traceback: no", False)
    assert session.run("loops").ending is Ending.TIMEOUT
    with pytest.raises(UserError, match="queue full"):
        session.run("broken")
    session.close()


def test_a_server_that_is_not_there_is_the_users_to_fix():
    with pytest.raises(UserError, match="is a SandboxFusion server there"):
        RemoteSession("http://127.0.0.1:9/run_code", Bounds()).run("ok")
    with pytest.raises(UserError, match="url is ''"):
        PythonSettings.read({"backend": "http"}).open()


class TestMonty:
    @pytest.fixture
    def session(self) -> Iterator[MontySession]:
        pytest.importorskip("pydantic_monty", reason="the extra monty is not installed")
        session = MontySession(Bounds(wall_seconds=1, memory_mib=32, output_characters=100), kept=True)
        yield session
        session.close()

    def test_programs_run_and_variables_last(self, session):
        assert session.run("x = 41\nprint('on')") == (Ending.OK, "on\n", 0, "", False)
        assert session.run("x + 1").output == "42\n"
        session.close()
        assert "NameError" in session.run("x").error

    @pytest.mark.parametrize(
        ("code", "ending", "said"),
        [
            ("1 / 0", Ending.RAISED, "ZeroDivisionError"),
            ("f(", Ending.RAISED, "while parsing"),
            ("while True: pass", Ending.TIMEOUT, "time limit"),
            ("'a' * 10**9", Ending.RAISED, "MemoryError"),
            ("open('/etc/passwd').read()", Ending.RAISED, "Error"),
            ("import numpy", Ending.RAISED, "ModuleNotFoundError"),
        ],
    )
    def test_what_it_should_not_do_fails(self, session, code, ending, said):
        run = session.run(code)
        assert run.ending is ending
        assert said in run.error

    def test_output_is_cut(self, session):
        run = session.run("print('a' * 1000)")
        assert (len(run.output), run.dropped) == (100, 901)


def test_monty_without_its_package_is_the_users_to_fix(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydantic_monty", None)
    with pytest.raises(UserError, match=r"pip install 'env-tuning\[monty\]'"):
        MontySession(Bounds(), kept=False, concurrency=17)
