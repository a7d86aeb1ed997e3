"""This machine: memory, disk, shared memory, GPUs.

Owns: looking. Refuses: judging. Only NVIDIA's own command is asked for GPUs; no Python package is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_MEMORY_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a run finds here, in bytes.

    Attributes:
        cores: processors this process may use.
        memory: that can still be had, container limits included.
        disk: free where the output folder is or will be.
        shared: free in ``/dev/shm``; None where there is no such folder.
        gpus: memory of each GPU that the driver lists.
    """

    cores: int
    memory: int
    disk: int
    shared: int | None
    gpus: tuple[int, ...] = ()


def look(folder: Path, *, gpus: bool = True) -> Machine:
    """Look at this machine.

    Args:
        folder: where a run would write; need not exist.
        gpus: ask the driver as well.
    """
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    shared = Path("/dev/shm")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory=min(psutil.virtual_memory().available, _left_to_the_container()),
        disk=shutil.disk_usage(existing).free,
        shared=shutil.disk_usage(shared).free if shared.is_dir() else None,
        gpus=_gpu_memory() if gpus else (),
    )


def _left_to_the_container() -> int:
    """Bytes below a container's limit; more than any machine has where there is none."""
    for limit, used in zip(_MEMORY_LIMITS, _MEMORY_USED, strict=True):
        try:
            text = Path(limit).read_text(encoding="ascii").strip()
            return 2**62 if text == "max" else int(text) - int(Path(used).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return 2**62


def _gpu_memory() -> tuple[int, ...]:
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(int(line) * 2**20 for line in listing.split() if line.isdigit())
