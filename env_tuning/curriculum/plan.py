"""The plan: which stages, in which order, under which gates.

Owns: `Plan` and `PlannedStage`, read from a Hydra configuration. Refuses: running anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from env_tuning.curriculum.gate import GateSettings
from env_tuning.errors import UserError, refuse_unknown

PREFIX = "curriculum."
"""Overrides that begin so change the plan; all others go to the stages."""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a plan.

    Attributes:
        name: of its output folder; unique.
        config: the file of ``configs/`` without its ending.
        overrides: Hydra overrides of this stage alone.
        model: what it starts from; None is the result of the stage before, for the first what the launcher chooses.
    """

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """Where jobs run.

    Attributes:
        address: of a running cluster; None starts one here.
        num_cpus: logical resource of a cluster that is started here.
        num_gpus: the same.
        lost_after: seconds without an answer after which a cluster counts as lost.
    """

    address: str | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    lost_after: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A curriculum: stages in order, where they write, and how often a failed one is started again."""

    output_dir: Path
    stages: tuple[PlannedStage, ...]
    retries: int
    ray: RaySettings

    def folder(self, stage: PlannedStage) -> Path:
        """The output folder of a stage."""
        return self.output_dir / stage.name


def read_plan(config_dir: Path, config_name: str, overrides: Sequence[str] = ()) -> Plan:
    """Compose a plan.

    Args:
        config_dir: the folder ``configs``.
        config_name: the plan's file without its ending.
        overrides: those of the plan (`split_overrides`), as the user wrote them.

    Raises:
        UserError: no such file, an unknown key, or a plan that makes no sense; the message names the fix.
    """
    if not (config_dir / f"{config_name}.yaml").is_file():
        raise UserError(f"no {config_name}.yaml in {config_dir}")
    with initialize_config_dir(version_base=None, config_dir=str(config_dir.resolve())):
        try:
            composed = compose(config_name, overrides=list(overrides))
            settings = OmegaConf.to_container(composed, resolve=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(" ".join(f"{error} {error.__cause__ or ''}".split())) from error
    if not isinstance(settings, dict) or not isinstance(settings.get("curriculum"), dict):
        raise UserError(f"{config_name}.yaml has no section curriculum; see configs/curriculum.yaml")
    try:
        return plan_of(settings["curriculum"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{config_name}.yaml: {error}") from error


def plan_of(settings: Mapping[str, Any]) -> Plan:
    """A plan from plain data.

    Raises:
        ValueError: a key is unknown or missing, a name stands twice, a gate is impossible.
    """
    refuse_unknown("curriculum", settings, ("output_dir", "stages", "retries", "ray"))
    stages = tuple(_stage(given) for given in settings.get("stages") or ())
    names = [stage.name for stage in stages]
    if not stages:
        raise ValueError("a curriculum needs at least one stage")
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"stages {double} stand twice; names are output folders and must differ")
    if settings.get("retries", 0) < 0:
        raise ValueError("retries must be at least 0")
    ray = settings.get("ray") or {}
    refuse_unknown("curriculum.ray", ray, [item.name for item in fields(RaySettings)])
    return Plan(
        output_dir=Path(settings.get("output_dir", "outputs")).expanduser().absolute(),
        stages=stages,
        retries=settings.get("retries", 0),
        ray=RaySettings(**ray),
    )


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of the plan, and overrides of every stage."""
    mine = [item for item in overrides if item.lstrip("+~").startswith(PREFIX)]
    return mine, [item for item in overrides if item not in mine]


def _stage(given: Mapping[str, Any]) -> PlannedStage:
    refuse_unknown("stage", given, ("name", "config", "gate", "overrides", "model"))
    config = given.get("config")
    if not isinstance(config, str):
        raise ValueError(f"a stage needs config: a file of configs/ without its ending (given: {dict(given)})")
    gate = dict(given.get("gate") or {})
    GateSettings.from_config(gate)
    # JSON is Hydra's own syntax for null, numbers and quoted text.
    gates = tuple(f"env_tuning.gate.{key}={json.dumps(value)}" for key, value in gate.items())
    name = str(given.get("name") or config)
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ValueError(f"the stage's name {name!r} is no folder name")
    return PlannedStage(
        name=name, config=config, overrides=(*gates, *(given.get("overrides") or ())), model=given.get("model")
    )
