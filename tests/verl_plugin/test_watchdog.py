"""A run that lost a process ends in bounded time, and one that lost none is left alone."""

from __future__ import annotations

import threading
import time

import pytest

from env_tuning.verl_plugin.watchdog import watched


class Ends:
    """In the place of the process's end."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.told = threading.Event()

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)
        self.told.set()


def test_a_block_that_hangs_after_a_death_is_ended_with_the_name_of_the_dead() -> None:
    ends = Ends()
    with watched(lambda: ["the process Queue (pid 7) died"], poll=0.01, grace=0.05, give_up=ends):
        assert ends.told.wait(5)
    assert ends.reasons == [
        "the process Queue (pid 7) died; run the same command again to continue from the last checkpoint"
    ]


def test_a_block_that_ends_in_time_is_left_alone_though_its_actors_go_with_it() -> None:
    ends = Ends()
    with watched(lambda: ["gone"], poll=0.01, grace=0.2, give_up=ends):
        time.sleep(0.05)
    time.sleep(0.4)
    assert not ends.reasons


def test_a_clean_up_that_hangs_after_an_error_is_ended_with_that_error() -> None:
    ends = Ends()
    with pytest.raises(ValueError), watched(list, poll=0.01, grace=0.05, give_up=ends):
        raise ValueError("the server is gone\nand more")
    assert ends.told.wait(5)
    assert ends.reasons[0].startswith("ValueError: the server is gone; ")


def test_a_run_without_deaths_is_never_ended() -> None:
    ends = Ends()
    with watched(list, poll=0.01, grace=0.01, give_up=ends):
        time.sleep(0.1)
    time.sleep(0.1)
    assert not ends.reasons
