"""The command line: `env-tuning` and its commands.

Owns: arguments and exit statuses. Refuses: logic of its own; every command calls one function of a room.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from env_tuning import __version__
from env_tuning.augmentation.cli import app as hints
from env_tuning.doctor.cli import doctor
from env_tuning.errors import UserError
from env_tuning.evaluation.cli import app as evaluation
from env_tuning.report.cli import report
from env_tuning.rewards.cli import audit, rescore
from env_tuning.serving.cli import serve
from env_tuning.sft.cli import app as sft
from env_tuning.sft.infer import infer
from env_tuning.working_folder import import_from_here

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(evaluation, name="eval")
app.add_typer(hints, name="hints")
app.add_typer(sft, name="sft")


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

    built = build(destination, source=source)
    typer.echo(f"{destination}: {sum(built.rows.values())} rows, {'built' if built.rebuilt else 'up to date already'}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(
    context: typer.Context,
    stage: Annotated[str, typer.Argument(help="A file of configs/ without its ending, for example stage1.")],
) -> None:
    """Train a stage with verl; every further argument is a Hydra override."""
    from env_tuning import launch

    raise typer.Exit(launch.run(launch.plan(stage, context.args, os.environ)))


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def curriculum(
    context: typer.Context,
    plan: Annotated[str, typer.Option(help="A plan of configs/ without its ending.")] = "curriculum",
    local: Annotated[bool, typer.Option(help="Run stages as processes of this machine, not as Ray jobs.")] = False,
) -> None:
    """Run a plan of stages, or go on with it; further arguments are Hydra overrides (curriculum.KEY: the plan's)."""
    from env_tuning.curriculum.plan import read_plan, split_overrides
    from env_tuning.curriculum.runner import run_curriculum
    from env_tuning.launch import project_folder

    mine, every_stage = split_overrides(context.args)
    planned = read_plan(project_folder() / "configs", plan, mine)
    raise typer.Exit(run_curriculum(planned, every_stage, os.environ, local=local))


_Data = Annotated[Path, typer.Option(help="Folder that env-tuning prepare wrote.")]
_PREPARED = Path("processed_data")


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tool classes, such as TicketAPI or garage:Garage; all of ours if none.")
    ] = None,
    data: _Data = _PREPARED,
) -> None:
    """Check what every tool environment promises; exit status 1 if something is broken."""
    from env_tuning.contract import Subject
    from env_tuning.contract import check as findings_of
    from env_tuning.contract import report as report_on
    from env_tuning.data.lookup import find_sample, padding_for
    from env_tuning.environments.registry import TOOL_CLASSES

    import_from_here()
    broken = False
    for name in names or TOOL_CLASSES:
        tasks = find_sample(name, data)
        subject = Subject(name=name, tasks=tasks, long_context=padding_for(tasks, data))
        findings = findings_of(subject)
        typer.echo(report_on(subject, findings))
        broken = broken or any(finding.problems for finding in findings)
    raise typer.Exit(int(broken))


@app.command()
def play(
    name: Annotated[str, typer.Argument(help="A task, such as multi_turn_base_0, or a class, such as garage:Garage.")],
    number: Annotated[int, typer.Option(help="Which of the class's tasks, from 0.", min=0)] = 0,
    protocol: Annotated[str, typer.Option(help="How messages are written.")] = "think_answer",
    data: _Data = _PREPARED,
) -> None:
    """Take the model's place in an episode."""
    from env_tuning.data.lookup import find_tasks, padding_for
    from env_tuning.environments.registry import make_environment, tool_class
    from env_tuning.environments.schemas import tool_docs_of
    from env_tuning.play import play as play_episode
    from env_tuning.play import try_out
    from env_tuning.prepared_task import prepare_task
    from env_tuning.protocols import protocol as protocol_named

    import_from_here()
    tasks = find_tasks(name, data)
    if not tasks:
        documents = {doc.name: doc for doc in tool_docs_of(tool_class(name))}
        try_out(make_environment([name], "{}"), documents, read=_next_line, write=typer.echo)
        return
    if number >= len(tasks):
        raise UserError(f"{name} has {len(tasks)} tasks; --number goes from 0 to {len(tasks) - 1}")
    prepared = prepare_task(
        tasks[number], protocol=protocol_named(protocol), long_context=padding_for((tasks[number],), data)
    )
    play_episode(prepared, read=_next_line, write=typer.echo)


@app.command()
def rows(
    name: Annotated[str, typer.Argument(help="A class with scenarios, such as garage:Garage.")],
    file: Annotated[Path, typer.Argument(help="The parquet file to write.")],
    split: Annotated[str, typer.Option(help="What its rows are for: train, val or test.")] = "train",
) -> None:
    """Write the scenarios of an own environment as rows to train on."""
    from env_tuning.data.lookup import write_scenarios

    import_from_here()
    typer.echo(f"{file}: {write_scenarios(name, file, split=split)} rows")


app.command("audit")(audit)
app.command("doctor", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(doctor)
app.command("infer")(infer)
app.command("rescore")(rescore)
app.command("report")(report)
app.command("serve")(serve)


def _next_line() -> str | None:
    try:
        return input("> ")
    except EOFError:
        return None


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
