"""The inside of a sandbox: programs run one after the other in a process that has given up everything else.

Owns: running a program, catching what it prints and raises. Refuses: limits (`confinement.py` set them before). A
program can do whatever it likes with this code; all it can forge is its own output.
"""

from __future__ import annotations

import ast
import io
import itertools
import linecache
import math
import os
import random
import resource
import signal
import sys
import time
import traceback
from types import FrameType
from typing import Any

from env_tuning.environments.python.bounds import Bounds, Ending
from env_tuning.environments.python.channel import pack, read_frame, write_all
from env_tuning.environments.python.confinement import lower_limit
from env_tuning.environments.python.printed import Printed

_ERROR_CHARACTERS = 2_000
_ERROR_FRAMES = 6


class _Expired(BaseException):
    """The alarm at the end of a program's wall time; no exception that programs usually catch."""


def serve(channel: int, bounds: Bounds) -> None:
    """Run programs until the channel ends. Random numbers are the same in every interpreter."""
    random.seed(0)  # which forking has undone; the nursery has seeded numpy
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    for number in itertools.count(1):
        if (request := read_frame(channel)) is None:
            return
        write_all(channel, pack(_run(request["code"], f"<program {number}>", names, bounds)))


def _run(code: str, file: str, names: dict[str, Any], bounds: Bounds) -> dict[str, Any]:
    printed = Printed(bounds.output_characters)
    sys.stdout = sys.stderr = printed
    sys.stdin = io.StringIO()
    soft = math.ceil(time.process_time()) + bounds.cpu_seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (lower_limit(soft, hard), hard))
    ending, error = Ending.OK, ""
    try:
        signal.signal(signal.SIGALRM, _expire)
        signal.setitimer(signal.ITIMER_REAL, bounds.wall_seconds)
        _execute(code, file, names)
    except _Expired:
        ending, error = Ending.TIMEOUT, f"The program was stopped after {bounds.wall_seconds:g} seconds."
    except SystemExit as stopped:
        if stopped.code not in (None, 0):
            ending, error = Ending.RAISED, f"SystemExit: {str(stopped.code)[:_ERROR_CHARACTERS]}"
    except BaseException as raised:
        ending, error = Ending.RAISED, _describe(raised)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"ending": ending.value, "output": printed.text(), "dropped": printed.dropped, "error": error}


def _execute(code: str, file: str, names: dict[str, Any]) -> None:
    """Run a program; the value of a last line that is an expression is printed, as at a prompt."""
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    tree = ast.parse(code, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    if last is not None:
        exec(compile(ast.Interactive([last]), file, "single"), names)


def _expire(number: int, frame: FrameType | None) -> None:
    raise _Expired


def _describe(raised: BaseException) -> str:
    """The traceback as a script would show it, without this file, and with the innermost frames only if it is deep."""
    try:
        within = raised.__traceback__
        while within is not None and within.tb_frame.f_code.co_filename == __file__:
            within = within.tb_next
        lines = traceback.format_exception(type(raised), raised, within, limit=-_ERROR_FRAMES)
        return "".join(lines).strip()[-_ERROR_CHARACTERS:]
    # An exception of the program's own can refuse to be printed, and memory can be out for good.
    except BaseException:
        return type(raised).__name__


def run_confined(channel: int, bounds: Bounds) -> None:
    """Say that the sandbox is closed, `serve`, and then end this process: nothing of its parent may run in it."""
    try:
        write_all(channel, pack({"ready": True}))
        serve(channel, bounds)
    finally:
        os._exit(0)
