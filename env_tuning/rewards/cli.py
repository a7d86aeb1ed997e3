"""`env-tuning audit` and `rescore`: what a reward pays policies without competence, and what it changes.

Owns: arguments and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

import itertools
from collections import Counter
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


def rescore(
    reward: Annotated[str, typer.Argument(help="As env_tuning.reward: a name, package.module:function, or a sum.")],
    paths: Annotated[list[Path], typer.Argument(help="Output folders of runs, or files of dumped episodes.")],
    output: Annotated[Path | None, typer.Option(help="Also write one line of JSON per episode into this file.")] = None,
) -> None:
    """Score stored episodes again, without a model, and show what the reward changes."""
    from env_tuning.atomic import replace_text
    from env_tuning.errors import UserError
    from env_tuning.report.reading import dumped, dumped_file, read_run
    from env_tuning.rewards import rescoring
    from env_tuning.rewards.registry import resolve_reward

    import_from_here()
    function, left_out = resolve_reward(reward), Counter[str]()
    found = []
    for path in paths:
        parts = (
            [dumped(stage, left_out) for stage in read_run(path)] if path.is_dir() else [dumped_file(path, left_out)]
        )
        found += rescoring.rescore(itertools.chain.from_iterable(parts), function)
    if not found:
        why = "".join(f"; left out: {count} {what}" for what, count in left_out.items())
        raise UserError(f"no episodes in {', '.join(map(str, paths))}{why}")
    typer.echo(f"reward {reward}\n{rescoring.table(rescoring.changes(found))}\n{rescoring.LEGEND}")
    for what, count in left_out.items():
        typer.echo(f"left out: {count} {what}")
    if output is not None:
        replace_text(output, "".join(item.line() + "\n" for item in found))
        typer.echo(f"{output}: {len(found)} lines")
