"""A built wheel in a clean environment: whole, installable by its lock, and known to verl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SECONDS = 1200
"""The outer limit of a command: installing fetches a gigabyte."""

REGISTERED = """
import verl
from verl.plugin.platform import PlatformRegistry
from verl.workers.rollout.replica import RolloutReplicaRegistry

import env_tuning

print(env_tuning.__file__)
print(PlatformRegistry.get("cpu").__module__)
print(RolloutReplicaRegistry.get("transformers").__module__)
"""


def run(*command: str, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_", "PYTHON"))}
    clean.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=SECONDS, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves folders behind where it happens."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "env_tuning", source / "env_tuning", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(source), cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_a_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    tracked = run("git", "-C", str(PROJECT), "ls-files", "env_tuning", cwd=PROJECT).split()
    missing = set(tracked) - set(zipfile.ZipFile(wheel).namelist())
    assert len(tracked) > 100
    assert missing == set()


@pytest.mark.slow
def test_a_wheel_in_a_clean_environment_registers_the_plugin_in_verl(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = (python, "-m", "pip", "install", "--quiet")
    run(*pip, "torch==2.13.0", cwd=tmp_path)  # as scripts/setup.sh does
    run(*pip, "-c", str(PROJECT / "scripts" / "locks" / "cpu.txt"), f"{wheel}[cpu]", cwd=tmp_path)
    lines = run(python, "-c", REGISTERED, cwd=tmp_path).strip().splitlines()[-3:]
    assert Path(lines[0]).is_relative_to(tmp_path / "venv")
    assert lines[1:] == ["env_tuning.verl_plugin.cpu_platform", "env_tuning.verl_plugin.rollout.replica"]
    assert "prepare" in run(str(tmp_path / "venv" / "bin" / "env-tuning"), "--help", cwd=tmp_path)
    installed = run(python, "-m", "pip", "check", cwd=tmp_path)
    assert "No broken requirements found" in installed
