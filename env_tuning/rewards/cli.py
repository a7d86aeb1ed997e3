"""`env-tuning audit`: what a reward pays policies without competence.

Owns: arguments and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from env_tuning.working_folder import import_from_here

VALIDATION = "validation"
"""The name of the benchmark's validation split, beside the names that `data.lookup.find_tasks` takes."""


def audit(
    reward: Annotated[str, typer.Argument(help="As env_tuning.reward: a name, package.module:function, or a sum.")],
    tasks: Annotated[
        str, typer.Option(help="validation, a task id, a tool class, or package.module:Class with scenarios.")
    ] = VALIDATION,
    data: Annotated[Path, typer.Option(help="Folder that env-tuning prepare wrote.")] = Path("processed_data"),
) -> None:
    """Play policies without a model and score them; exit status 1 if one that is not known to reaches the solution."""
    from env_tuning.data.lookup import find_tasks, padding_for
    from env_tuning.data.prepare import load_tasks
    from env_tuning.rewards import audit as auditing

    import_from_here()
    file = data / "bfcl_v3" / "bfcl_val.parquet"
    chosen = tuple(load_tasks(file)) if tasks == VALIDATION else find_tasks(tasks, data)
    found = auditing.audit([reward], chosen, long_context=padding_for(chosen, data))
    typer.echo(auditing.report(found, reward))
    raise typer.Exit(int(any(rival.column == auditing.ALL for rival in auditing.unexpected(found, reward))))
