"""`env-tuning hints`: what hints there are.

Owns: arguments and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Hints on failed calls (docs/augmentation.md).")


@app.callback()
def _hints() -> None:
    """Hints on failed calls."""


@app.command()
def coverage(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tool classes, such as TicketAPI or garage:Garage; all of ours if none.")
    ] = None,
    sites: Annotated[bool, typer.Option("--sites", help="Every error site, with its rule or the reason.")] = False,
) -> None:
    """Count the errors that tools can give, and those that a rule answers; exit status 1 if one has neither."""
    from env_tuning.augmentation import coverage as reading
    from env_tuning.environments.registry import TOOL_CLASSES

    if "" not in sys.path:  # modules in the current folder, as `python -m` finds them
        sys.path.insert(0, "")
    chosen = tuple(names or TOOL_CLASSES)
    typer.echo(reading.site_list(chosen) if sites else reading.table(chosen))
    raise typer.Exit(int(any(row.is_open for name in chosen for row in reading.coverage(name))))
