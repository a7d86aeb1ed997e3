"""All rules over one configuration.

Owns: the list of rules, gathering the evidence for them, and what ``env_tuning.accept`` does. Refuses: rules.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from env_tuning.doctor import (
    data_rules,
    length_rules,
    loop_rules,
    machine_rules,
    model_rules,
    reward_rules,
    size_rules,
    speech_rules,
    vllm_cpu_rules,
)
from env_tuning.doctor.evidence import Evidence, RowFile, read_file
from env_tuning.doctor.finding import Finding, Severity, said_by
from env_tuning.doctor.machine import Machine, look
from env_tuning.errors import refuse_unknown
from env_tuning.run_folder import files, identity, refuse_occupied

Rule = Callable[[Evidence], Iterator[Finding]]
"""Looks at evidence and changes nothing. A `ValueError` of another room that it lets through becomes a finding."""


def output(evidence: Evidence) -> Iterator[Finding]:
    """The output folder is free or this run's."""
    try:
        refuse_occupied(Path(evidence.get("env_tuning.output_dir")), identity(evidence.config))
    except ValueError as error:
        yield said_by(error, "env_tuning.output_dir")


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "counts": size_rules.counts,
        "model": model_rules.model,
        "agent_loop": loop_rules.agent_loop,
        "tool_loop": loop_rules.tool_loop,
        "trainer": loop_rules.trainer,
        "plugin": loop_rules.plugin,
        "platform": loop_rules.platform,
        "interactions": data_rules.interactions,
        "rows": data_rules.rows,
        "overlap": data_rules.overlap,
        "prompts": data_rules.prompts,
        "reward": reward_rules.reward,
        "placement": reward_rules.placement,
        "verl_reward": reward_rules.verl_reward,
        "batches": size_rules.batches,
        "parallelism": size_rules.parallelism,
        "groups": size_rules.groups,
        "critic": size_rules.critic,
        "sampling": size_rules.sampling,
        "gate": size_rules.gate,
        "positions": length_rules.positions,
        "token_budget": length_rules.token_budget,
        "speech": speech_rules.speech,
        "lengths": length_rules.lengths,
        "engine": model_rules.engine,
        "attention": model_rules.attention,
        "vllm_cpu": vllm_cpu_rules.vllm_cpu,
        "versions": model_rules.versions,
        "gpus": machine_rules.gpus,
        "memory": machine_rules.memory,
        "disk": machine_rules.disk,
        "output": output,
    }
)
"""By the names that ``env_tuning.accept`` takes, in the order in which findings are told."""

_COUNTING = (
    *("rows", "batches", "parallelism", "groups", "critic", "sampling", "positions", "token_budget"),
    *("vllm_cpu", "gpus", "memory", "disk"),
)
NEEDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(_COUNTING, frozenset({"counts"})),
        "speech": frozenset({"model", "counts"}),
        "lengths": frozenset({"model", "speech", "counts"}),
        "output": frozenset({"files"}),
    }
)
"""Rules that look at what another one found broken, and would break on it."""


def examine(
    config: Mapping[str, Any], *, machine: Machine | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Finding, ...]:
    """Everything that the rules find wrong with a configuration.

    Args:
        config: the composed Hydra configuration as plain nested mappings.
        machine: what is there; looked at if not given.
        environ: environment variables.
    """
    machine = machine or look(Path(config["env_tuning"]["output_dir"]), gpus=config["trainer"]["device"] != "cpu")
    evidence, found = gather(config, machine, environ)
    for name, rule in RULES.items():
        if any(finding.rule in NEEDS.get(name, ()) for finding in found):
            continue
        found += [replace(finding, rule=name) for finding in _applied(rule, evidence, name)]
    return tuple(_accepted(found, config["env_tuning"].get("accept") or ()))


def gather(config: Mapping[str, Any], machine: Machine, environ: Mapping[str, str]) -> tuple[Evidence, list[Finding]]:
    """The evidence, and findings on files that cannot be read, which are left out of it."""
    agent = config["actor_rollout_ref"]["rollout"]["agent"]["default_agent_loop"]
    read: dict[str, list[RowFile]] = {}
    found = []
    for key in ("data.train_files", "data.val_files"):
        read[key] = []
        for file in files(config["data"][key.partition(".")[2]]):
            try:
                read[key].append(read_file(file, agent))
            except ValueError as error:
                found.append(replace(said_by(error, key), rule="files"))
    evidence = Evidence(
        config=config,
        train=tuple(read["data.train_files"]),
        validation=tuple(read["data.val_files"]),
        machine=machine,
        environ=environ,
    )
    return evidence, found


def stops(findings: Iterable[Finding]) -> bool:
    """Whether one of them keeps the run from being started."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def _applied(rule: Rule, evidence: Evidence, name: str) -> list[Finding]:
    try:
        return list(rule(evidence))
    # The rooms speak of wrong data and settings as `ValueError`; before the start each of them is the user's to fix.
    except ValueError as error:
        return [said_by(error, name)]


def _accepted(findings: Iterable[Finding], names: Iterable[str]) -> Iterator[Finding]:
    """Findings of rules that the user accepts are told, but stop nothing."""
    try:
        refuse_unknown("env_tuning.accept", names, (*RULES, "files"))
    except ValueError as error:
        yield replace(said_by(error, "env_tuning.accept"), rule="accept")
    for finding in findings:
        yield replace(finding, severity=Severity.WARNING) if finding.rule in names else finding
