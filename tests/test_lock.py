"""The lock that keeps two processes from one folder; what trains and evaluates under it is tried where it is used."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from env_tuning.errors import UserError
from env_tuning.launch import PARENT_VARIABLE
from env_tuning.lock import sole_holder


@pytest.fixture
def orphaned(monkeypatch) -> None:
    """This process as one whose launcher is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    monkeypatch.setenv(PARENT_VARIABLE, str(process.pid))


def test_a_second_holder_is_refused_in_the_words_of_its_room_until_the_first_lets_go(tmp_path):
    file = tmp_path / ".lock"
    with (
        sole_holder(file, refusal="one is here"),
        pytest.raises(UserError, match="one is here"),
        sole_holder(file, refusal="one is here", patience=60.0),
    ):
        pytest.fail("two holders")
    with sole_holder(file, refusal="nobody is here"):
        pass


def test_only_who_has_patience_waits_for_an_orphan(tmp_path, orphaned):
    file, leave, held = tmp_path / ".lock", threading.Event(), threading.Event()

    def orphan() -> None:
        with sole_holder(file, refusal=""):
            held.set()
            leave.wait(60.0)

    thread = threading.Thread(target=orphan)
    thread.start()
    assert held.wait(60.0)
    with pytest.raises(UserError, match="busy"), sole_holder(file, refusal="busy"):
        pytest.fail("two holders")
    threading.Timer(0.3, leave.set).start()
    with sole_holder(file, refusal="busy", patience=60.0):
        assert leave.is_set()
    thread.join()
