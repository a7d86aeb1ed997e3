"""`env-tuning hints`: what hints there are, and proposals for more.

Owns: arguments and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from env_tuning.working_folder import import_from_here

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

    import_from_here()
    chosen = tuple(names or TOOL_CLASSES)
    typer.echo(reading.site_list(chosen) if sites else reading.table(chosen))
    raise typer.Exit(int(any(row.is_open for name in chosen for row in reading.coverage(name))))


@app.command()
def propose(
    rollouts: Annotated[
        list[Path], typer.Argument(help="Runs' output folders, folders of *.jsonl, or files, with trajectories.")
    ],
    file: Annotated[Path, typer.Option(help="The YAML file to write, or to go on with.")] = Path("hints.yaml"),
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="Where the tasks are: garage:Garage or a parquet file; all prepared ones if none."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder that env-tuning prepare wrote.")] = Path("processed_data"),
    base_url: Annotated[
        str, typer.Option(envvar="OPENAI_BASE_URL", help="An OpenAI-compatible endpoint, up to /v1.")
    ] = "http://localhost:8000/v1",
    model: Annotated[
        str, typer.Option(envvar="OPENAI_MODEL", help="Its name there; not needed where there is one only.")
    ] = "",
    key_variable: Annotated[
        str, typer.Option(help="The environment variable that holds the key; the key itself is never an argument.")
    ] = "OPENAI_API_KEY",
    limit: Annotated[int | None, typer.Option(help="Only so many sites, the most frequent ones.", min=1)] = None,
    attempts: Annotated[int, typer.Option(help="At one site.", min=1)] = 3,
    concurrency: Annotated[int, typer.Option(help="Sites at a time.", min=1)] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.", min=0.01)] = 120.0,
    tries: Annotated[int, typer.Option(help="Of a request that fails by time, rate limit or server.", min=1)] = 5,
    max_tokens: Annotated[int, typer.Option(help="Of one answer, thoughts included.", min=1)] = 2048,
    answered: Annotated[bool, typer.Option("--answered", help="Also failures that already get a hint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the sites and ask nobody.")] = False,
) -> None:
    """Propose hints for failed calls of rollouts, for a person to review; exit status 1 if a site got no answer."""
    import asyncio

    from env_tuning.augmentation.proposals.proposing import Outcome, propose_all
    from env_tuning.augmentation.proposals.rollouts import RolloutReader, load_known_tasks, rollout_files
    from env_tuning.augmentation.proposals.sites import error_sites
    from env_tuning.endpoint.client import Endpoint

    import_from_here()
    reader = RolloutReader(tasks=load_known_tasks(tasks or (), data), answered=answered)
    sites = error_sites(reader.failed_calls(rollout_files(rollouts)))
    chosen = sites[:limit]
    typer.echo(f"{reader.summary}; {len(sites)} error sites, {len(chosen)} chosen")
    if dry_run or not chosen:
        for site in chosen:
            typer.echo(f"{site.count:7} calls {site.tasks:5} tasks  {site.line}")
        return
    endpoint = Endpoint(
        base_url=base_url,
        model=model,
        key=os.environ.get(key_variable, "").strip(),
        timeout=timeout,
        tries=tries,
        max_tokens=max_tokens,
    )
    work = propose_all(endpoint, chosen, file, concurrency=concurrency, attempts=attempts, report=typer.echo)
    ledger = asyncio.run(work)
    typer.echo(ledger.summary)
    typer.echo(f"Review {file}: only entries with reviewed: true are used (docs/augmentation.md).")
    raise typer.Exit(int(ledger.outcomes[Outcome.FAILED] > 0))
