"""One process at a time: a lock on a file, which the kernel frees however its holder ends.

Owns: `sole_holder`. Refuses: what the lock protects.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psutil

from env_tuning.errors import UserError
from env_tuning.launch import PARENT_VARIABLE


@contextlib.contextmanager
def sole_holder(file: Path, *, refusal: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock on `file`, which is made if it is missing.

    Args:
        file: in a folder that exists.
        refusal: what a user reads when another process holds it.
        patience: seconds to wait for a holder whose launcher was killed, and which is about to end itself. Any other
            holder is not waited for.

    Raises:
        UserError: another process holds it.
    """
    with file.open("a+") as lock:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline or not _is_orphan(lock):
                    raise UserError(refusal) from None
                time.sleep(0.2)
        lock.seek(0)
        lock.truncate()
        lock.write(os.environ.get(PARENT_VARIABLE, ""))
        lock.flush()
        yield


def _is_orphan(lock: TextIO) -> bool:
    """Whether the lock's holder was started by a launcher that is gone."""
    lock.seek(0)
    launcher = lock.read().strip()
    return launcher.isdigit() and not psutil.pid_exists(int(launcher))
