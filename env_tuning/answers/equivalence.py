r"""Do two mathematical texts mean the same? math-verify says so, in a process of its own.

Owns: that process, and its limits: an answer such as ``\boxed{9^{9^{9}}}`` must cost ten seconds at most, and the
package's own timeouts work in a main thread only. Refuses: plain numbers (`matching.py` compares them itself).
"""

from __future__ import annotations

import functools
import json
import os
import resource
import select
import subprocess
import sys
import threading

from env_tuning.errors import UserError

_SECONDS = 10.0
_START_SECONDS = 60.0
_MEMORY = 2**30
_MOST_CHARACTERS = 500


def equivalent(expected: str, given: str) -> bool:
    """Whether math-verify takes two texts for the same; what takes it too long is not.

    Raises:
        UserError: math-verify is not installed.
    """
    if len(expected) > _MOST_CHARACTERS or len(given) > _MOST_CHARACTERS:
        return False
    return _judge(os.getpid()).ask(expected, given)


class _Judge:
    """The process, started with the first question and again after one that took too long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, expected: str, given: str) -> bool:
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps([expected, given]) + "\n")
                process.stdin.flush()
                line = self._line(process, _SECONDS)
            except OSError:
                line = ""
            if not line:
                self._stop(process)
            return line == "true\n"

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "env_tuning.answers.equivalence"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        if self._line(process, _START_SECONDS) != "ready\n":
            self._stop(process)
            raise UserError("answers that are no plain numbers need a package: pip install 'env-tuning[math]'")
        self._process = process
        return process

    def _line(self, process: subprocess.Popen[str], seconds: float) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        return process.stdout.readline() if ready else ""

    def _stop(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()
        self._process = None


@functools.cache
def _judge(process: int) -> _Judge:
    return _Judge()


def main() -> None:
    """Answer questions, one line each, until there are no more."""
    from math_verify import parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    verify(parse("\\boxed{\\frac{1}{2}}", parsing_timeout=None), parse("\\boxed{x}", parsing_timeout=None))
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            left, right = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in json.loads(line))
            same = bool(left and right and verify(left, right, timeout_seconds=None))
        except Exception:  # whatever it cannot read is no answer
            same = False
        print(json.dumps(same), flush=True)


if __name__ == "__main__":
    main()
