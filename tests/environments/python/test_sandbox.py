"""Programs do what they should, and what they should not do is answered within its limit and leaves nothing behind.

The limits of a program are set in the process that runs it, before it runs; a test that breaks one is refused by the
system, not by luck. No test measures time: a program that is not stopped makes its test hang in the suite's own limit.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from env_tuning.environments.python import local, syscalls
from env_tuning.environments.python.bounds import Bounds, Ending, Run
from env_tuning.environments.python.local import Interpreter, LocalSandbox
from env_tuning.errors import UserError

BOUNDS = Bounds(wall_seconds=60, cpu_seconds=60, memory_mib=256, output_characters=1000)
"""Of programs that come to an end, however busy the machine is."""

HASTY = Bounds(wall_seconds=1, cpu_seconds=2, memory_mib=256, output_characters=1000)
"""Of programs that do not."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(concurrency=2)
    sandbox.enforced()  # start it, so that tests can tell its own processes from those of programs
    yield sandbox
    sandbox.close()


@pytest.fixture
def kept(sandbox: LocalSandbox) -> Iterator[Interpreter]:
    interpreter = sandbox.interpreter(BOUNDS, kept=True)
    yield interpreter
    interpreter.close()


@pytest.fixture
def hasty(sandbox: LocalSandbox) -> Iterator[Interpreter]:
    interpreter = sandbox.interpreter(HASTY, kept=True)
    yield interpreter
    interpreter.close()


@pytest.fixture
def fresh(sandbox: LocalSandbox) -> Iterator[Interpreter]:
    yield sandbox.interpreter(BOUNDS, kept=False)


def children() -> set[int]:
    """All processes that this one has started, at all depths, that still exist."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_what_is_printed_and_the_value_of_the_last_line_come_back(fresh):
    assert fresh.run("print('a'); print('b', end='')\n1 + 1") == Run(Ending.OK, "a\nb2\n")
    assert fresh.run("x = 1") == Run(Ending.OK)
    assert fresh.run("'汉字 \\ud800'").output == "'汉字 \\ud800'\n"


def test_numpy_and_sympy_work(fresh):
    code = (
        "import numpy as np, sympy\nprint(np.linalg.det(np.eye(3)), sympy.solve('x**2 - 4'), sympy.isprime(2**61 - 1))"
    )
    pytest.importorskip("sympy")
    assert fresh.run(code) == Run(Ending.OK, "1.0 [-2, 2] True\n")


def test_variables_last_in_a_kept_interpreter_and_in_no_other(sandbox, kept, fresh):
    assert kept.run("x = 41").ending is Ending.OK
    assert kept.run("x + 1").output == "42\n"
    assert "NameError" in sandbox.interpreter(BOUNDS, kept=True).run("x").error
    assert fresh.run("y = 1").ending is Ending.OK
    assert "NameError" in fresh.run("y").error


def test_the_same_program_has_the_same_random_numbers(fresh):
    code = "import random\nprint(random.random(), hash('a'))"
    assert fresh.run(code) == fresh.run(code)


def test_a_traceback_shows_the_program_and_nothing_of_the_sandbox(kept):
    run = kept.run("print('before')\ndef f():\n    return 1 / 0\nf()")
    assert run.ending is Ending.RAISED
    assert run.output == "before\n"
    assert "line 3, in f" in run.error
    assert "return 1 / 0" in run.error
    assert run.error.endswith("ZeroDivisionError: division by zero")
    assert "interpreter.py" not in run.error
    assert kept.run("f(").error.endswith("SyntaxError: '(' was never closed")


@pytest.mark.parametrize("code", ["exit()", "import sys; sys.exit(0)"])
def test_a_program_may_exit(fresh, code):
    assert fresh.run(f"print(1)\n{code}") == Run(Ending.OK, "1\n")


def test_a_failing_exit_is_a_failure(fresh):
    assert fresh.run("import sys; sys.exit('no')") == Run(Ending.RAISED, error="SystemExit: no")


def test_an_infinite_loop_ends_and_keeps_what_was_printed_and_set(hasty):
    run = hasty.run("x = 1\nprint('on')\nwhile True: pass")
    assert run == Run(Ending.TIMEOUT, "on\n", error="The program was stopped after 1 seconds.")
    assert hasty.run("x").output == "1\n"


def test_a_long_calculation_in_c_ends(hasty):
    assert hasty.run("x = 9 ** 9 ** 9").ending is Ending.TIMEOUT


STUBBORN = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n"


@pytest.mark.parametrize(
    ("code", "endings"),
    [
        (STUBBORN + "import time\ntime.sleep(60)", {Ending.TIMEOUT}),
        (STUBBORN + "while True: pass", {Ending.TIMEOUT, Ending.CPU}),
        ("import os\nos._exit(0)", {Ending.DIED}),
        ("import os\nos.abort()", {Ending.DIED}),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", {Ending.DIED}),
        ("import ctypes\nctypes.string_at(0)", {Ending.DIED}),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_to_stop_is_killed_and_the_next_program_runs(hasty, code, endings):
    before = children()
    assert hasty.run("x = 1").ending is Ending.OK
    run = hasty.run(code)
    assert run.ending in endings
    assert run.lost
    assert hasty.run("print(2)").output == "2\n"
    hasty.close()
    assert children() <= before


def test_cpu_time_is_limited_apart_from_wall_time(sandbox):
    interpreter = sandbox.interpreter(Bounds(wall_seconds=60, cpu_seconds=1), kept=False)
    assert interpreter.run("while True: pass").ending is Ending.CPU


@pytest.mark.parametrize(
    "code", ["a = bytearray(2 * 2**30)", "a = [0] * 2**28", "a = []\nwhile True: a.append(' ' * 2**20)"]
)
def test_two_gigabytes_are_refused_and_the_interpreter_lives(kept, code):
    run = kept.run(f"x = 1\n{code}")
    assert run.ending is Ending.RAISED
    assert run.error.endswith("MemoryError")
    assert kept.run("a = None\nx").output == "1\n"


def test_ten_megabytes_of_output_are_cut(kept, hasty):
    run = kept.run("print('a' * 10_000_000)")
    assert (run.output, run.dropped) == ("a" * 1000, 9_999_001)
    assert "9999001 more characters were printed and dropped" in run.text(kept=True)
    endless = hasty.run("while True: print('a' * 1000)")
    assert endless.ending is Ending.TIMEOUT
    assert len(endless.output) == 1000


def test_file_descriptors_of_the_sandbox_can_only_forge_the_programs_own_output(sandbox, kept):
    forged = 'import os\nb = b\'{"broken": "x", "ready": 1}\'\nos.write(3, len(b).to_bytes(4, "big") + b)'
    assert kept.run(forged).ending is Ending.DIED
    assert kept.run("import os\nos.write(3, b'\\xff\\xff\\xff\\xff')").ending is Ending.DIED
    assert kept.run("import os\nos.close(3)").lost
    assert kept.run("1").output == "1\n"


def needs(sandbox: LocalSandbox, what: str) -> None:
    if not getattr(sandbox.enforced(), what):
        pytest.skip(f"this system does not let the sandbox enforce {what}")


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.execv('/bin/true', ['true'])",
        "import os\nos.setsid()",
        "import multiprocessing\nmultiprocessing.get_context('spawn').Process(target=print).start()",
    ],
)
def test_no_process_can_be_started(sandbox, kept, code):
    needs(sandbox, "no_processes")
    run = kept.run(code)
    assert run.ending is Ending.RAISED
    assert "PermissionError" in run.error
    assert kept.run("1").output == "1\n"


def test_threads_work_and_are_limited(kept):
    assert (
        kept.run("import threading\nt = threading.Thread(target=print, args=['in'])\nt.start()\nt.join()").output
        == "in\n"
    )
    bomb = "import threading, time\nfor _ in range(10**6): threading.Thread(target=time.sleep, args=[9]).start()"
    assert kept.run(bomb).ending in (Ending.RAISED, Ending.TIMEOUT)


@pytest.mark.parametrize(
    "code",
    [
        "import socket\nsocket.socket()",
        "import socket\nsocket.create_connection(('127.0.0.1', 80))",
        "import socket\nsocket.socket(socket.AF_UNIX)",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')",
    ],
)
def test_there_is_no_network(sandbox, kept, code):
    needs(sandbox, "no_network")
    run = kept.run(code)
    assert run.ending is Ending.RAISED
    assert "not permitted" in run.error or "unreachable" in run.error or "refused" in run.error


def test_files_are_out_of_reach(sandbox, kept, tmp_path):
    needs(sandbox, "files")
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o666)
    for code in (
        f"open({str(secret)!r}).read()",
        f"open({str(secret)!r}, 'w').write('x')",
        f"import os\nos.remove({str(secret)!r})",
        f"import os\nos.chmod({str(secret)!r}, 0)",
        f"import os\nos.symlink({str(secret)!r}, {str(tmp_path / 'link')!r})",
        f"import os\nos.listdir({str(tmp_path)!r})",
        f"import os\nos.mkdir({str(tmp_path / 'folder')!r})",
        "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()",
        f"open('/proc/{os.getpid()}/environ').read()",
        "open('here', 'w')",
        "import tempfile\ntempfile.TemporaryFile()",
    ):
        run = kept.run(code)
        assert run.ending is Ending.RAISED, code
        assert "s3cret" not in run.text(kept=True)
    assert secret.read_text() == "s3cret"
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_a_scratch_folder_holds_files_up_to_its_limit_and_is_gone_afterwards(sandbox):
    interpreter = sandbox.interpreter(Bounds(file_mib=1), kept=True)
    assert interpreter.run("open('a', 'w').write('text')\nopen('a').read()").output == "'text'\n"
    folder = Path(interpreter.run("import os\nprint(os.getcwd())").output.strip())
    assert folder.is_dir()
    assert "File too large" in interpreter.run("open('b', 'wb').write(b'x' * 2_000_000)").error
    assert interpreter.run("open('../outside', 'w')").ending is Ending.RAISED
    interpreter.close()
    assert not folder.exists()


def test_other_processes_are_out_of_reach(sandbox, kept):
    needs(sandbox, "no_processes")
    other = sandbox.interpreter(BOUNDS, kept=True)
    pid = int(other.run("import os\nos.getpid()").output)
    for target in (pid, 1, "os.getppid()", -1, 0):
        assert "PermissionError" in kept.run(f"import os\nos.kill({target}, 9)").error
    assert "PermissionError" in kept.run(f"import resource\nresource.prlimit({pid}, resource.RLIMIT_CPU, (0, 0))").error
    assert other.run("1").output == "1\n"
    other.close()


def test_nothing_of_the_trainers_environment_is_there(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")
    own = LocalSandbox(concurrency=1, preload=())
    run = own.interpreter(BOUNDS, kept=False).run("import os, sys\nprint(dict(os.environ), sys.argv)")
    own.close()
    assert "PATH" in run.output
    assert "s3cret" not in run.output


def test_closing_a_sandbox_leaves_no_process():
    before = children()
    own = LocalSandbox(concurrency=2, preload=())
    interpreters = [own.interpreter(BOUNDS, kept=True) for _ in range(3)]
    assert [interpreter.run("1").output for interpreter in interpreters] == ["1\n"] * 3
    assert len(children() - before) >= 4
    own.close()
    assert children() <= before


def test_a_killed_user_leaves_no_process():
    code = (
        "import sys\nfrom env_tuning.environments.python.local import *\n"
        "s = LocalSandbox(concurrency=1, preload=())\n"
        "i = s.interpreter(Bounds(wall_seconds=600, cpu_seconds=600), kept=True)\n"
        "i.run('1')\nprint('up', flush=True)\ni.run('while True: pass')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "up\n"
        started = psutil.Process(user.pid).children(recursive=True)
        assert len(started) >= 2
        user.kill()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive


def test_a_nursery_that_was_killed_is_replaced():
    own = LocalSandbox(concurrency=1, preload=())
    interpreter = own.interpreter(BOUNDS, kept=True)
    assert interpreter.run("x = 1\nx").output == "1\n"
    assert own._nursery is not None
    nursery = psutil.Process(own._nursery._process.pid)
    inside = nursery.children(recursive=True)
    os.kill(nursery.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(inside, timeout=30)
    assert not alive
    assert interpreter.run("x").lost
    assert interpreter.run("2").output == "2\n"
    own.close()


def test_the_sandbox_outlives_the_thread_of_its_first_program():
    own = LocalSandbox(concurrency=1, preload=())
    interpreter = own.interpreter(BOUNDS, kept=True)
    first = threading.Thread(target=interpreter.run, args=("x = 1",))
    first.start()
    first.join()
    assert interpreter.run("x").output == "1\n"
    own.close()


WITHOUT_FILTER = """
from env_tuning.environments.python import syscalls
syscalls.filter_program = lambda *arguments, **more: None
from env_tuning.environments.python import confinement
confinement._readable_by_all = lambda paths: True
"""


@pytest.fixture
def unfiltered(monkeypatch) -> Iterator[LocalSandbox]:
    """A sandbox on a system without seccomp filters."""
    head, tail = local._PROGRAM.split("from env_tuning", 1)
    monkeypatch.setattr(local, "_PROGRAM", f"{head}{WITHOUT_FILTER}from env_tuning{tail}")
    sandbox = LocalSandbox(concurrency=1, preload=())
    yield sandbox
    sandbox.close()


FAMILY = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
print("done")
"""
BOMB = """
import os, time
born = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        born += 1
except OSError:
    print(born)
"""


def test_without_filters_grandchildren_with_a_session_of_their_own_are_killed_too(unfiltered):
    assert not unfiltered.enforced().no_processes
    before = children()
    interpreter = unfiltered.interpreter(BOUNDS, kept=True)
    assert interpreter.run(FAMILY).output == "done\n"
    assert len(children() - before) == 4
    interpreter.close()
    assert children() <= before


def test_without_filters_processes_are_counted(unfiltered):
    assert not unfiltered.enforced().no_processes
    before = children()
    interpreter = unfiltered.interpreter(BOUNDS, kept=True)
    assert 0 < int(interpreter.run(BOMB).output) < BOUNDS.threads
    interpreter.close()
    assert children() <= before


def test_a_system_on_which_processes_cannot_be_limited_is_refused(monkeypatch):
    head, tail = local._PROGRAM.split("from env_tuning", 1)
    weak = WITHOUT_FILTER.replace("True", "False") + "confinement.os.geteuid = lambda: 0\n"
    monkeypatch.setattr(local, "_PROGRAM", f"{head}{weak}from env_tuning{tail}")
    with pytest.raises(UserError, match=r"the Python sandbox did not start .*run as another user"):
        LocalSandbox(concurrency=1, preload=()).enforced()


def test_programs_wait_for_their_turn():
    sandbox = LocalSandbox(concurrency=2)
    inside, most, lock, full = 0, 0, threading.Lock(), threading.Event()

    def program() -> Run:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                full.set()
        full.wait(10)
        with lock:
            inside -= 1
        return Run(Ending.OK)

    threads = [threading.Thread(target=sandbox.run, args=(functools.partial(program),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_is_whole(machine):
    program = syscalls.filter_program(7, machine)
    assert program is not None
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096  # what the kernel takes
    numbers = [record[machine == "aarch64"] for record in (*syscalls._DENIED.values(), *syscalls._BY_ARGUMENT.values())]
    known = [number for number in numbers if number is not None]
    assert len(known) == len(set(known))


def test_a_machine_without_a_table_has_no_filter():
    assert syscalls.filter_program(7, "riscv64") is None


@pytest.mark.parametrize(
    "change", [{"wall_seconds": 0}, {"memory_mib": -1}, {"output_characters": 0}, {"file_mib": -1}]
)
def test_bounds_that_nothing_fits_into_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Bounds(**change)
