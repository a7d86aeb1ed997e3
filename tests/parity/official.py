"""Both sides of a comparison: the official package in a process of its own, and our environment on the same scripts.

Owns: the package's folder, the exchange with `official_runner.py`, and the words for what differs. What is not
compared, and why, stands in `deviations.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from canonical import canonical_state
from corpora import Script
from deviations import normalise

from env_tuning.calls import parse_call
from env_tuning.data.sources import PACKAGE, VERSION, Benchmark
from env_tuning.environments.environment import Environment
from env_tuning.environments.registry import make_environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REQUIREMENTS = (f"{PACKAGE}=={VERSION}", "mpmath==1.3.0")


def install_official() -> Path:
    """The official package in a folder of its own, installed once."""
    parent = ROOT / ".cache" / "official"
    folder = parent / VERSION
    if not folder.is_dir():
        building = parent / f"{VERSION}.building-{os.getpid()}"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(building)]
        try:
            subprocess.run([*command, *REQUIREMENTS], check=True)
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder


def official_process(
    script: Path, official: Path, folder: Path, *, arguments: Sequence[str] = (), **pipes: Any
) -> subprocess.Popen[str]:
    """A script of ours in an interpreter that sees the official package; `folder` takes what the package writes."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(official),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Left alone, the package makes folders next to itself.
        "BFCL_PROJECT_ROOT": str(folder),
    }
    return subprocess.Popen(
        [sys.executable, str(script), *arguments], env=environment, text=True, encoding="utf-8", **pipes
    )


def ask_official(requests: Iterable[Mapping[str, Any]], official: Path) -> Iterator[dict[str, Any]]:
    """The answer of `official_runner.py` to every request, in order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "requests.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(request) + "\n" for request in requests)
        with (
            file.open(encoding="utf-8") as lines,
            official_process(
                HERE / "official_runner.py", official, folder, stdin=lines, stdout=subprocess.PIPE
            ) as runner,
        ):
            assert runner.stdout is not None
            for line in runner.stdout:
                yield json.loads(line)
        assert runner.returncode == 0, "the official package failed; its message is above"


def run_official(scripts: Iterable[Script], official: Path) -> Iterator[dict[str, Any]]:
    """The official package's results and states for every script, in order."""
    return ask_official(map(asdict, scripts), official)


def run_ours(script: Script, benchmark: Benchmark) -> dict[str, Any]:
    """What `official_runner.py` prints for a script, from our environment."""
    environment = open_environment(script, benchmark)
    turns = []
    for calls in script.turns:
        results = [environment.call(parse_call(call)).text for call in calls]
        states = {name: canonical_state(tools.public_state()) for name, tools in environment.tool_classes.items()}
        turns.append({"results": results, "states": states})
    return {"id": script.id, "turns": turns}


def open_environment(script: Script, benchmark: Benchmark) -> Environment:
    """A fresh environment in the initial state of a script."""
    padding = benchmark.long_context if script.long_context else None
    return make_environment(script.classes, script.initial_config, padding)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """Readable lines, one for every result and every class's state that differs."""
    for number, (our_turn, their_turn) in enumerate(zip(ours["turns"], theirs["turns"], strict=True)):
        for place, pair in enumerate(zip(our_turn["results"], their_turn["results"], strict=True)):
            if normalise(pair[0]) != normalise(pair[1]):
                yield f"{ours['id']} turn {number} call {place}: {first_difference(*pair)}"
        assert our_turn["states"].keys() == their_turn["states"].keys()
        for name, state in our_turn["states"].items():
            their_state = their_turn["states"][name]
            if state != their_state:
                yield f"{ours['id']} turn {number} state of {name}: {first_difference(state, their_state)}"


def first_difference(ours: str, theirs: str, context: int = 60) -> str:
    """The neighbourhood of the first character that differs."""
    at = next(
        (place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
    part = slice(max(0, at - context), at + context)
    return f"at character {at}:\n    ours   ...{ours[part]}...\n    theirs ...{theirs[part]}..."


def is_error(result: str) -> bool:
    """Whether a result says that the call failed, in any of the package's ways."""
    return result.startswith(("Error during execution:", "['Error", "[{'error'")) or '"error":' in result
