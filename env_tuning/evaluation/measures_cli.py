"""`env-tuning eval calls` and `env-tuning eval metrics`: AST, EXEC, relevance and irrelevance.

Owns: arguments, tables and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from env_tuning.errors import UserError
from env_tuning.evaluation.options import (
    Asked,
    BaseUrl,
    Concurrency,
    Context,
    KeyVariable,
    Listing,
    MaxTokens,
    ModelName,
    ModeName,
    Output,
    Prepared,
    ProtocolName,
    Seed,
    Temperature,
    Threads,
    Timeout,
    Tries,
    one_of,
)

if TYPE_CHECKING:
    from env_tuning.metrics.measures import Share


def calls(
    categories: Annotated[
        list[str], typer.Argument(help="Of the benchmark: simple_python, multiple, parallel, irrelevance and so on.")
    ],
    model: ModelName = "",
    base_url: BaseUrl = "",
    output: Output = Path("outputs/eval-calls"),
    mode: ModeName = "prompt",
    protocol: ProtocolName = "hermes",
    tool_listing: Listing = "json",
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    max_tokens: MaxTokens = 4096,
    concurrency: Concurrency = 16,
    limit: Annotated[int | None, typer.Option(help="So many questions of each category only.", min=1)] = None,
    key_variable: KeyVariable = "OPENAI_API_KEY",
    timeout: Timeout = 600.0,
    tries: Tries = 5,
    context: Context = None,
    threads: Threads = 1,
    source: Annotated[
        Path | None, typer.Option(help="The benchmark's wheel or folder; downloaded with pip if absent.")
    ] = None,
) -> None:
    """Ask the benchmark's single-turn questions: one message each, calls compared and not run; exit status 1 if a
    question has no answer.
    """  # noqa: D205
    import asyncio

    from env_tuning.data import sources
    from env_tuning.data.single_turn import read_single_turn
    from env_tuning.evaluation.settings import Settings
    from env_tuning.evaluation.single_turn import MEASURES, ask, read_answers, rows_of
    from env_tuning.protocols import ToolListing

    asked = Asked(
        model=model,
        base_url=base_url,
        mode=mode,
        key_variable=key_variable,
        timeout=timeout,
        tries=tries,
        context=context,
        threads=threads,
    )
    settings = Settings(
        mode=asked.mode_of_calls(),
        protocol=protocol,
        listing=one_of(ToolListing, tool_listing, "--tool-listing"),
        temperature=temperature,
        seed=seed,
        max_tokens=max_tokens,
    )
    read = read_single_turn(source or sources.fetch_wheel(sources.default_cache()), categories)
    seen: Counter[str] = Counter()
    questions = []
    for question in read:
        seen[question.category] += 1
        if limit is None or seen[question.category] <= limit:
            questions.append(question)
    right = Counter[bool]()
    missing = asyncio.run(
        ask(
            asked.open(settings),
            questions,
            settings,
            output,
            concurrency=concurrency,
            done=lambda answer: right.update([answer.right]),
        )
    )
    if missing:
        name, reason = next(iter(missing.items()))
        typer.echo(
            f"[env-tuning] {len(missing)} of {len(questions)} questions have no answer ({name}: {reason}); the same "
            "command asks them again",
            err=True,
        )
        raise typer.Exit(1)
    _show(rows_of(list(read_answers(output))), f"written to {output / MEASURES}")


def metrics(
    paths: Annotated[list[Path], typer.Argument(help="Output folders of runs or evaluations, or files of episodes.")],
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="Parquet files of tasks, or train, val and test: their references are run for EXEC."),
    ] = None,
    data: Prepared = Path("processed_data"),
    last: Annotated[bool, typer.Option("--last", help="Of a run, only the last validation.")] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the measures as JSON into this file.")] = None,
) -> None:
    """AST, EXEC, relevance and irrelevance of recorded episodes, of whatever recipe."""
    from env_tuning.atomic import replace_text
    from env_tuning.evaluation.recorded import References, decisions_of
    from env_tuning.evaluation.sources import read_data
    from env_tuning.metrics.measures import Decision, shares
    from env_tuning.report.reading import dumped, dumped_file, read_run
    from env_tuning.trajectory import Trajectory

    loaded = read_data(tasks, data) if tasks else None
    references = (
        References(tasks={task.id: task for task in loaded.tasks}, padding=loaded.padding) if loaded else References()
    )
    left_out: Counter[str] = Counter()
    found: dict[str, list[Decision]] = {}
    for path in paths:
        parts = (
            [dumped(stage, left_out) for stage in read_run(path)] if path.is_dir() else [dumped_file(path, left_out)]
        )
        episodes = [episode for part in parts for episode in part]
        if last:
            steps = [episode.step for episode in episodes if episode.phase == "validation"]
            episodes = [one for one in episodes if one.phase == "validation" and one.step == max(steps, default=0)]
        for episode in episodes:
            decided = decisions_of(Trajectory.from_dict(episode.line["trajectory"]), references)
            found.setdefault(f"{path} {episode.stage} {episode.phase}".replace("  ", " "), []).extend(decided)
    rows = {name: {kind.value: share for kind, share in shares(made).items()} for name, made in found.items() if made}
    if not rows:
        why = "".join(f"; left out: {count} {what}" for what, count in left_out.items())
        raise UserError(f"nothing to measure in {', '.join(map(str, paths))}{why}")
    _show(rows, "")
    if output is not None:
        plain = {name: {kind: share.as_dict() for kind, share in row.items()} for name, row in rows.items()}
        replace_text(output, json.dumps(plain, indent=1) + "\n")


def _show(rows: Mapping[str, Mapping[str, Share]], last_line: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from env_tuning.evaluation.card import percent

    console = Console(width=None if Console().is_terminal else 200)
    table = Table()
    for heading in ("", "measure", "right", "of", "share"):
        table.add_column(heading, overflow="fold")
    for name, row in rows.items():
        for place, (kind, share) in enumerate(row.items()):
            shown = name if place == 0 else ""
            table.add_row(shown, kind, str(share.right), str(share.all), percent(share.value))
        table.add_section()
    console.print(table)
    if last_line:
        console.print(last_line, highlight=False, markup=False)
