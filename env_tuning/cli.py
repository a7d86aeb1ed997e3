"""The command line: `env-tuning prepare` and `env-tuning train`.

Owns: arguments and exit statuses. Refuses: logic of its own; every command calls one function of a room.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from env_tuning import __version__
from env_tuning.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Environment Tuning: train tool-using agents with verl."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def prepare(
    destination: Annotated[Path, typer.Argument(help="Folder for the parquet files.")] = Path("processed_data"),
    source: Annotated[
        Path | None, typer.Option(help="A bfcl-eval wheel or an unpacked folder of it; downloaded with pip if absent.")
    ] = None,
) -> None:
    """Build the BFCL parquet files from the pinned bfcl-eval wheel."""
    from env_tuning.data.prepare import prepare as build

    build(destination, source=source)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(
    context: typer.Context,
    stage: Annotated[str, typer.Argument(help="A file of configs/ without its ending, for example stage1.")],
) -> None:
    """Train a stage with verl; every further argument is a Hydra override."""
    from env_tuning import launch

    raise typer.Exit(launch.run(launch.plan(stage, context.args, os.environ)))


def main() -> None:
    """Run the command line; a user's error is one line and exit status 2."""
    try:
        app()
    except UserError as error:
        raise SystemExit(_said(error)) from None
    except ValueError as error:
        raise SystemExit(_said(error)) from error


def _said(error: Exception) -> int:
    typer.echo(f"[env-tuning] error: {error}", err=True)
    return 2


if __name__ == "__main__":
    main()
