"""`env-tuning sft data`, `train` and `evaluate`.

Owns: arguments, tables and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from env_tuning.errors import UserError

app = typer.Typer(
    no_args_is_help=True, help="Supervised fine-tuning for tool calling: data, training, evaluation (recipes/sft)."
)


@app.command()
def data(
    folder: Annotated[Path, typer.Argument(help="Folder for train, validation and test rows.")] = Path(
        "processed_data/sft"
    ),
    domains: Annotated[str, typer.Option(help="Generated sets, comma-separated: assistant, payments, mixed.")] = (
        "assistant,payments"
    ),
    rows: Annotated[int, typer.Option(help="Rows of each set, for training and validation together.")] = 200,
    test_rows: Annotated[int, typer.Option(help="Held-out rows of each set.")] = 100,
    flows: Annotated[
        str, typer.Option(help="Further flows, comma-separated: chain, recovery, confirmation, domains.")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 1,
    source: Annotated[
        list[Path] | None, typer.Option(help="Your own rows, as column-oriented JSON or parquet; may be repeated.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="Parquet of training tasks, or a class with scenarios; their ground truth becomes rows."),
    ] = None,
    variants: Annotated[int, typer.Option(help="Rows of each task, in other words.", min=1)] = 1,
    tool_listing: Annotated[str, typer.Option(help="Tools in the prompts of tasks: json or signatures.")] = "json",
    protocol: Annotated[str, typer.Option(help="How the messages of tasks are written.")] = "think_answer",
) -> None:
    """Write train, validation and test rows, as JSON and as parquet."""
    from env_tuning.sft.files import read_conversations
    from env_tuning.sft.mixing import SPLITS, DataSettings, generate, mix, split, write_splits
    from env_tuning.sft.sources import task_rows
    from env_tuning.sft.transcript import Flow

    parts = []
    if domains:
        try:
            wanted = tuple(Flow(name) for name in flows.split(",") if name)
        except ValueError as error:
            raise UserError(f"{error}; there are: chain, recovery, confirmation, domains") from None
        settings = DataSettings(
            domains=tuple(domains.split(",")), rows=rows, test_rows=test_rows, flows=wanted, seed=seed
        )
        parts.append(generate(settings))
    for file in source or ():
        parts.append(split(read_conversations(file), validation=0.1, test=0.1, seed=seed))
    for name in tasks or ():
        found = task_rows(name, variants=variants, listing=tool_listing, protocol_name=protocol, seed=seed)
        parts.append(split(found, validation=0.1, test=0.1, seed=seed))
    if not parts:
        raise UserError("nothing to write; give --domains, --source or --tasks")
    splits = mix(*parts, seed=seed)
    write_splits(splits, folder)
    typer.echo(f"{folder}: {', '.join(f'{len(splits[name])} {name}' for name in SPLITS)} rows")


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Another file than recipes/sft/sft.yaml.")] = None,
    measure: Annotated[
        bool, typer.Option("--evaluate", help="Afterwards, measure the model beside the one it started from.")
    ] = False,
) -> None:
    """Train on the rows; every further argument is key=value, keys of recipes/sft/sft.yaml."""
    from env_tuning.sft import launch
    from env_tuning.sft.output import RunFolder

    planned = launch.plan(context.args, os.environ, config=config)
    status = launch.run(planned)
    settings = planned.settings
    if measure and not status:
        folder = RunFolder(settings.folder)
        evaluate([str(settings.model), str(folder.model)], Path(settings.data), output=folder.path / "evaluation.json")
    raise typer.Exit(status)


@app.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(help="Model folders or hub ids, shown side by side.")],
    folder: Annotated[Path, typer.Option("--data", help="Folder with the rows.")] = Path("processed_data/sft"),
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    batch_size: Annotated[int, typer.Option(help="Messages written at once.", min=1)] = 64,
    max_new_tokens: Annotated[int, typer.Option(help="The longest message.", min=1)] = 128,
    output: Annotated[Path | None, typer.Option(help="A JSON file for everything measured.")] = None,
) -> None:
    """Measure tool selection, arguments, format and flow, and the edge cases; a base model beside a tuned one."""
    from env_tuning.atomic import replace_text
    from env_tuning.sft.evaluation import report_on, side_by_side
    from env_tuning.sft.generation import Writer
    from env_tuning.sft.mixing import read_split
    from env_tuning.text_table import aligned

    rows = [row for row in read_split(folder, split) if row.tools]
    if not rows:
        raise UserError(
            f"{folder}: no row of {split} has tools; conversations of tasks are measured by env-tuning eval"
        )
    reports = []
    for model in models:
        writer = Writer.load(model, batch_size=batch_size, max_new_tokens=max_new_tokens)
        reports.append(report_on(model, writer, rows))
    typer.echo(aligned(side_by_side(reports)))
    for report in reports:
        for case in report.edge_cases:
            typer.echo(f"{report.model}: {case.request!r} -> {case.reply!r} ({'right' if case.right else 'wrong'})")
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        replace_text(output, json.dumps([report.as_dict() for report in reports], indent=2) + "\n")
