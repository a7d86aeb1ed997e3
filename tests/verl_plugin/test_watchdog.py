"""A run that lost a process ends in bounded time, and one that lost none is left alone."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from env_tuning.verl_plugin.watchdog import Patience, watched


def dies(name: str) -> Callable[[], list[str]]:
    """The dead, as a watchdog sees them: at first none."""
    seen: Iterator[list[str]] = itertools.chain([[]], itertools.repeat([name]))
    return lambda: next(seen)


def present() -> bool:
    return True


def patience(grace: float = 0.05, silence: float = 5.0) -> Patience:
    return Patience(poll=0.01, grace=grace, silence=silence)


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
    with watched(dies("the process Queue (pid 7) died"), present, ends, patience()):
        assert ends.told.wait(5)
    assert ends.reasons == [
        "the process Queue (pid 7) died; run the same command again to continue from the last checkpoint"
    ]


def test_a_block_that_ends_in_time_is_left_alone_though_its_actors_go_with_it() -> None:
    ends = Ends()
    with watched(dies("gone"), present, ends, patience(grace=0.2)):
        time.sleep(0.05)
    time.sleep(0.4)
    assert not ends.reasons


def test_a_clean_up_that_hangs_after_an_error_is_ended_with_that_error() -> None:
    ends = Ends()
    with pytest.raises(ValueError), watched(list, present, ends, patience()):
        raise ValueError("the server is gone\nand more")
    assert ends.told.wait(5)
    assert ends.reasons[0].startswith("ValueError: the server is gone; ")


def test_a_run_without_deaths_is_never_ended_nor_one_whose_dead_were_dead_before() -> None:
    ends = Ends()
    with watched(lambda: ["an actor of the start-up"], present, ends, patience()):
        time.sleep(0.1)
    time.sleep(0.1)
    assert not ends.reasons


def test_a_head_that_is_silent_for_a_while_is_dead_and_one_that_hesitates_is_not() -> None:
    ends, answers = Ends(), itertools.cycle([True, False, False])
    with watched(list, lambda: next(answers), ends, patience(silence=0.03)):
        time.sleep(0.2)
    assert not ends.reasons
    with watched(list, lambda: False, ends, patience(grace=60, silence=0.03)):
        assert ends.told.wait(5)
    assert ends.reasons[0].startswith("Ray's head process does not answer; ")
