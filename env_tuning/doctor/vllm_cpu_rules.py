"""Rules on vLLM without a GPU (``rollout=vllm_cpu``): settings and installations with which its engine would not start.

Owns: what the CPU build refuses late, in a process of its own. Refuses: other engines.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from env_tuning.doctor.evidence import Evidence
from env_tuning.doctor.finding import Finding
from env_tuning.packages import installed

NAME = "vllm_cpu"
HEAD_SIZES = frozenset({32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512})
"""What attention of vLLM 0.28 is written for on a CPU (v1/attention/backends/cpu_attn.py)."""
_ROLLOUT = "actor_rollout_ref.rollout"
_SLEEP = ("free_cache_engine", "enable_sleep_mode")


def vllm_cpu(evidence: Evidence) -> Iterator[Finding]:
    """The CPU build of vLLM can start, and is not asked for what only a GPU gives."""
    if evidence.get(f"{_ROLLOUT}.name") != NAME:
        return
    if not evidence.on_cpu:
        yield Finding(
            key=f"{_ROLLOUT}.name",
            problem=f"rollout={NAME} generates on the CPU, but trainer.device={evidence.get('trainer.device')}",
            fix="set hardware=cpu, or rollout=vllm",
        )
    if evidence.get("env_tuning.deterministic", False):
        yield Finding(
            key="env_tuning.deterministic",
            problem=f"env_tuning.deterministic needs an engine that takes one request at a time, not {NAME}",
            fix="set rollout=transformers",
        )
    for key in _SLEEP:
        if evidence.get(f"{_ROLLOUT}.{key}", True):
            yield Finding(
                key=f"{_ROLLOUT}.{key}",
                problem=f"vLLM cannot sleep on a CPU, and {_ROLLOUT}.{key} is not false",
                fix=f"set ++{_ROLLOUT}.{key}=false, as rollout={NAME} does",
            )
    if evidence.shape is not None and evidence.shape.head_size not in HEAD_SIZES:
        yield Finding(
            key="actor_rollout_ref.model.path",
            problem=f"the model's heads have {evidence.shape.head_size} numbers; vLLM's attention on a CPU takes "
            f"{', '.join(map(str, sorted(HEAD_SIZES)))}",
            fix="choose another model, or rollout=transformers",
        )
    yield from _bucket(evidence)
    if shutil.which("lscpu", path=evidence.environ.get("PATH")) is None:
        yield Finding(
            key="lscpu",
            problem="vLLM asks the program lscpu for the machine's cores, and it is not there",
            fix="install the package util-linux",
        )
    yield from _vision()


def _bucket(evidence: Evidence) -> Iterator[Finding]:
    """Weights travel through shared memory, where verl does not cut a large one into pieces."""
    if evidence.shape is None:
        return
    key = f"{_ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes"
    megabytes, largest = int(evidence.get(key, 0)), evidence.shape.words * evidence.shape.hidden * 4
    if megabytes << 20 < largest:
        yield Finding(
            key=key,
            problem=f"{key}={megabytes} does not hold the embeddings of the model, {largest / 2**20:.0f} MiB in fp32",
            fix=f"set it to {-(-largest // 2**20)}",
        )


def _vision() -> Iterator[Finding]:
    """Packages beside vllm-cpu that were built for another torch: transformers then imports no model at all."""
    torch, vision = installed("torch"), installed("torchvision")
    if torch is not None and vision is not None and "+cpu" in torch and "+" not in vision:
        yield Finding(
            key="torchvision",
            problem=f"torchvision {vision} is built for GPUs and torch {torch} is not, so no model can be imported",
            fix="pip uninstall -y torchvision torchaudio torchcodec (nothing here needs them)",
        )
