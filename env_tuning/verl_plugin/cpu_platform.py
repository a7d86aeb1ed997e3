"""The CPU as a platform of verl (``VERL_PLATFORM=cpu``).

Owns: what verl asks of a device, answered for a machine without an accelerator. Refuses: engines and process
groups (`workers`). Ray sees one logical "GPU" per worker, because verl's resource pools
(single_controller/ray/base.py) count only resources of that name; `ray_init.num_gpus` declares them.
"""

from __future__ import annotations

import os
import resource
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry

NAME = "cpu"


def register_platform() -> None:
    """Put the platform into verl's registry; harmless when repeated."""
    if PlatformRegistry.get(NAME) is not CpuPlatform:
        PlatformRegistry.register(platform=NAME)(CpuPlatform)


class _DeviceModule(types.ModuleType):
    """`torch.cpu`, plus the memory and random-state functions that verl expects of every ``torch.<device>``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)


def _resident_bytes(*_: Any) -> int:
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0


def _peak_bytes(*_: Any) -> int:
    # The kernel keeps the two counters apart, and the peak may lag behind the present.
    return max(_resident_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _free_and_total_bytes(*_: Any) -> tuple[int, int]:
    page = os.sysconf("SC_PAGE_SIZE")
    return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _seed(seed: int) -> None:
    torch.manual_seed(seed)


def _device_module() -> types.ModuleType:
    module = _DeviceModule("env_tuning_cpu_device")
    functions = {
        "memory_allocated": _resident_bytes,
        "memory_reserved": _resident_bytes,
        "max_memory_allocated": _peak_bytes,
        "max_memory_reserved": _peak_bytes,
        "mem_get_info": _free_and_total_bytes,
        "empty_cache": _nothing,
        "ipc_collect": _nothing,
        "reset_peak_memory_stats": _nothing,
        "set_device": _nothing,
        "manual_seed": _seed,
        "manual_seed_all": _seed,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "get_device_name": lambda *_: "CPU",
        "get_device_properties": lambda *_: types.SimpleNamespace(
            name="CPU", total_memory=_free_and_total_bytes()[1], multi_processor_count=os.cpu_count()
        ),
    }
    vars(module).update(functions)
    return module


class CpuPlatform(PlatformBase):
    """A device that is always there, has one index and needs no synchronisation."""

    device_name = NAME
    vendor_name = NAME
    device_module = _device_module()

    def is_available(self) -> bool:
        """Always."""
        return True

    def current_device(self) -> str:  # type: ignore[override]
        """The name, not an index: verl writes ``.to(get_device_id())`` and an int would mean ``cuda:<int>``."""
        return NAME

    def device_count(self) -> int:
        """One per process."""
        return 1

    def set_device(self, device_index: int) -> None:
        """Nothing to choose."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing is asynchronous."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """No allocator of our own."""

    def empty_cache(self) -> None:
        """No cache."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """No compute capability."""
        return None, None

    def communication_backend_name(self) -> str:
        """Gloo."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """A name that nothing else reads, so that logical GPUs never hide a real device."""
        return "ENV_TUNING_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No ranges."""
        yield

    def profiler_start(self) -> None:
        """No profiler."""

    def profiler_stop(self) -> None:
        """No profiler."""

    def ray_resource_name(self) -> str:
        """Logical GPUs, see the module's docstring."""
        return "GPU"

    def ray_resource_options(self, num_gpus: float) -> dict[str, Any]:
        """Ray options of an actor that holds this many logical GPUs."""
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self) -> list[str]:
        """None."""
        return []

    def is_ipc_supported(self) -> bool:
        """Weights travel as arrays, not as device handles."""
        return False

    def cudart(self) -> Any:
        """None."""
        return None
