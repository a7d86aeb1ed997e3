"""Rules on the rows of the data.

Owns: what is wrong with files that can be read. Refuses: reading them (`evidence`), and tokens (`length_rules`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from env_tuning.doctor.evidence import Evidence, RowFile
from env_tuning.doctor.finding import Finding, Severity, said_by
from env_tuning.interaction.base import make_interaction


def interactions(evidence: Evidence) -> Iterator[Finding]:
    """Every row's interaction is configured, and every configured one can be made."""
    known = evidence.get("env_tuning.interactions", {})
    for file in evidence.files:
        if unknown := file.interactions - set(known):
            yield Finding(
                key="env_tuning.interactions",
                problem=f"{file.path} has rows for the interactions {sorted(unknown)}; known: {sorted(known)}",
                fix="add env_tuning.interactions.NAME to the configuration",
            )
    for name, settings in known.items():
        try:
            make_interaction(name, settings["class_name"], settings.get("config") or {})
        except ValueError as error:
            yield said_by(error, f"env_tuning.interactions.{name}")


def rows(evidence: Evidence) -> Iterator[Finding]:
    """At least one batch: what does not fill a batch is left out, and verl would train on nothing."""
    count, batch = sum(file.rows for file in evidence.train), int(evidence.get("data.train_batch_size", 1))
    if evidence.train and count < batch:
        yield Finding(
            key="data.train_batch_size",
            problem=f"{count} training rows do not fill a batch of {batch}",
            fix=f"set data.train_batch_size={max(count, 1)}",
        )


def overlap(evidence: Evidence) -> Iterator[Finding]:
    """No task, and no scenario, is trained on and validated with.

    Of the benchmark's tasks this is an error, for there are others. An environment of one's own may have no others yet.
    """
    trained, validated = _ids(evidence.train), _ids(evidence.validation)
    scenarios = _scenarios(validated)
    shared = _scenarios(trained) & scenarios
    if both := trained & validated:
        what = f"{len(both)} of {len(validated)} validation tasks are training tasks"
        yield _overlap(what, min(both), Severity.ERROR if shared else Severity.WARNING)
    elif shared:
        what = f"{len(shared)} of {len(scenarios)} validation scenarios are training scenarios, as another kind of task"
        yield _overlap(what, f"number {min(shared)}", Severity.ERROR)


def prompts(evidence: Evidence) -> Iterator[Finding]:
    """Training and validation tasks show the same system prompt."""
    trained, validated = _versions(evidence.train), _versions(evidence.validation)
    if trained and validated and trained != validated:
        yield Finding(
            key="data.val_files",
            problem=f"training rows ask for the system prompt {_names(trained)}, validation rows for "
            f"{_names(validated)}: what is validated is not what is trained",
            fix="take both files from one folder of processed_data (bfcl_v3: v1, bfcl_v3_new_prompt: v2)",
        )


def _overlap(what: str, example: str, severity: Severity) -> Finding:
    accept = ", or env_tuning.accept=[overlap] if that is meant" if severity is Severity.ERROR else ""
    return Finding(
        key="data.val_files",
        problem=f"{what} (for example {example}): validation would measure memory",
        fix=f"set data.val_files to other tasks{accept}",
        severity=severity,
    )


def _ids(files: Iterable[RowFile]) -> set[str]:
    return {task.id for file in files for task in file.tasks}


def _scenarios(ids: Iterable[str]) -> set[int]:
    """The numbers of BFCL tasks: the four kinds of one number share users' words, files and solutions."""
    return {int(found[1]) for name in ids if (found := re.fullmatch(r"multi_turn_[a-z_]+_(\d+)", name))}


def _versions(files: Iterable[RowFile]) -> set[str]:
    return {version.value for file in files for version in file.versions}


def _names(versions: Iterable[str]) -> str:
    return " and ".join(sorted(versions))
