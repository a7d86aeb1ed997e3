"""The name under which vLLM's CPU build answers, with packages that consist of their metadata."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from env_tuning.verl_plugin.vllm_cpu.distribution import VllmFinder


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is to be found, and the finder."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    others = [finder for finder in sys.meta_path if not isinstance(finder, VllmFinder)]
    monkeypatch.setattr(sys, "meta_path", [*others, VllmFinder()])
    return tmp_path


def install(folder: Path, name: str, version: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    importlib.invalidate_caches()


def test_without_either_there_is_no_vllm(alone: Path) -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("vllm")


def test_the_cpu_build_answers_and_says_what_it_is(alone: Path) -> None:
    install(alone, "vllm-cpu", "0.28.0")
    assert importlib.metadata.version("vllm") == "0.28.0+cpu"
    assert importlib.metadata.version("vllm-cpu") == "0.28.0"
    assert [found.metadata["Name"] for found in importlib.metadata.distributions()] == ["vllm-cpu"]


def test_a_real_vllm_comes_first(alone: Path) -> None:
    install(alone, "vllm-cpu", "0.28.0")
    install(alone, "vllm", "0.26.0")
    assert importlib.metadata.version("vllm") == "0.26.0"


@pytest.mark.slow
def test_a_run_on_another_engine_never_sees_it() -> None:
    code = (
        "import importlib.metadata, sys, verl, env_tuning.verl_plugin.registration\n"
        "print([type(finder).__name__ for finder in sys.meta_path])\n"
        "print(any(name.startswith('env_tuning.verl_plugin.vllm_cpu') for name in sys.modules))"
    )
    environment = {"PATH": "/usr/bin:/bin", "VERL_PLATFORM": "cpu"}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "VllmFinder" not in printed.stdout
    assert printed.stdout.strip().endswith("False")
