"""The Python tool's local sandbox: what it costs to start, to run a program, and to keep interpreters.

`python bench/sandbox.py` takes minutes, `--quick` a fifth of that. Wall-clock times of one machine: run it when nothing
else runs. `plain process` is what the sandbox replaces: a new Python for every program, without any limit.

    start            from nothing to the first program's result, by preloaded modules
    fresh            programs a second, each in an interpreter of its own, by threads that ask
    kept             the same in kept interpreters, one for each thread
    plain process    programs a second with `python -c`, one after the other; the second row imports sympy
    memory           proportional set size of the nursery, and of each of many kept interpreters
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil

from env_tuning.environments.python.bounds import Bounds, Ending
from env_tuning.environments.python.local import LocalSandbox

BOUNDS = Bounds()
PROGRAM = "print(sum(n * n for n in range(1000)))"
SYMPY = "import sympy\nprint(sympy.factorint(2**61 - 2))"


def seconds(work: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return taken


def start(preload: tuple[str, ...]) -> None:
    sandbox = LocalSandbox(concurrency=1, preload=preload)
    assert sandbox.interpreter(BOUNDS, kept=False).run("print(1)").ending is Ending.OK
    sandbox.close()


def rate(sandbox: LocalSandbox, *, kept: bool, threads: int, programs: int, code: str) -> float:
    """Programs a second."""

    def ask(count: int) -> None:
        interpreter = sandbox.interpreter(BOUNDS, kept=kept)
        for _ in range(count):
            assert interpreter.run(code).ending is Ending.OK
        interpreter.close()

    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(ask, [programs // threads] * threads))
        return programs // threads * threads / (time.perf_counter() - begin)


def plain(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def memory(count: int) -> tuple[float, float]:
    """MiB of the nursery, and of each of so many kept interpreters that have run a program."""
    sandbox = LocalSandbox(concurrency=1)
    interpreters = [sandbox.interpreter(BOUNDS, kept=True) for _ in range(count)]
    sandbox.enforced()
    nursery = _proportional(psutil.Process().children(recursive=True))
    for interpreter in interpreters:
        assert interpreter.run("import sympy\nx = sympy.factorint(2**61 - 2)").ending is Ending.OK
    full = _proportional(psutil.Process().children(recursive=True))
    sandbox.close()
    return nursery, (full - nursery) / count


def _proportional(processes: list[psutil.Process]) -> float:
    return sum(process.memory_full_info().pss for process in processes) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a first look")
    quick = parser.parse_args().quick
    programs, rounds, many = (60, 1, 20) if quick else (400, 3, 1024)
    figures: dict[str, object] = {"cores": os.cpu_count(), "load before": os.getloadavg()[0]}
    for preload in ((), ("numpy",), ("numpy", "sympy")):
        taken = seconds(lambda preload=preload: start(preload), rounds)  # type: ignore[misc]
        figures[f"start, {' and '.join(preload) or 'nothing'} preloaded, seconds"] = round(statistics.median(taken), 3)
    sandbox = LocalSandbox(concurrency=len(os.sched_getaffinity(0)))
    figures["enforced"] = vars(sandbox.enforced())
    for kept in (False, True):
        for threads in (1, 2, 16):
            for name, code in (("arithmetic", PROGRAM), ("sympy", SYMPY)):
                rates = [rate(sandbox, kept=kept, threads=threads, programs=programs, code=code) for _ in range(rounds)]
                key = f"{'kept' if kept else 'fresh'}, {name}, {threads} threads, programs per second"
                figures[key] = round(statistics.median(rates), 1)
    sandbox.close()
    for name, code in (("arithmetic", PROGRAM), ("sympy", SYMPY)):
        taken = seconds(lambda code=code: plain(code), 5 * rounds)  # type: ignore[misc]
        figures[f"plain process, {name}, programs per second"] = round(1 / statistics.median(taken), 1)
    nursery, each = memory(many)
    figures["memory of the nursery, MiB"] = round(nursery, 1)
    figures[f"memory of each of {many} kept interpreters, MiB"] = round(each, 2)
    figures["load after"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
