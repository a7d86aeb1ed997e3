"""`env-tuning eval` and `env-tuning eval compare`.

Owns: arguments, the progress bar, tables and exit statuses. Refuses: logic of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from env_tuning.evaluation import measures_cli
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
from env_tuning.working_folder import import_from_here

if TYPE_CHECKING:
    from env_tuning.evaluation.results import TaskResult
    from env_tuning.evaluation.running import Evaluation

_RUN = "run"


class _RunByDefault(TyperGroup):
    """`eval FILE` is `eval run FILE`: what is no command is a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_RUN, *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Measure a model by the benchmark's metric: eval FILE --model MODEL (all options: eval run --help).",
)


app.command("calls")(measures_cli.calls)
app.command("metrics")(measures_cli.metrics)


@app.callback()
def _evaluation() -> None:
    """Measure a model by the benchmark's metric."""


@app.command(_RUN)
def run(
    files: Annotated[list[str], typer.Argument(help="Parquet files of tasks; train, val and test are prepared ones.")],
    model: ModelName = "",
    base_url: BaseUrl = "",
    output: Output = Path("outputs/eval"),
    mode: ModeName = "prompt",
    protocol: ProtocolName = "think_answer",
    tool_listing: Listing = "json",
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    max_tokens: MaxTokens = 4096,
    steps_per_turn: Annotated[int, typer.Option(help="The benchmark's are 20.", min=1)] = 20,
    result_characters: Annotated[
        int | None, typer.Option(help="Of one result that the model is shown; all if absent.", min=1)
    ] = None,
    concurrency: Concurrency = 16,
    limit: Annotated[int | None, typer.Option(help="So many tasks only, spread over the files.", min=1)] = None,
    key_variable: KeyVariable = "OPENAI_API_KEY",
    timeout: Timeout = 600.0,
    tries: Tries = 5,
    prompt_price: Annotated[float, typer.Option(help="Of a million prompt tokens.", min=0)] = 0.0,
    completion_price: Annotated[float, typer.Option(help="Of a million completion tokens.", min=0)] = 0.0,
    unanswered_wrong: Annotated[
        bool, typer.Option("--unanswered-wrong", help="Count tasks that the endpoint does not answer as wrong.")
    ] = False,
    context: Context = None,
    threads: Threads = 1,
    data: Prepared = Path("processed_data"),
    official_name: Annotated[str, typer.Option(help="The model's name in the benchmark's registry.")] = "env_tuning",
) -> None:
    """Play every task of the files; exit status 1 if a task has no result."""
    import asyncio
    import dataclasses

    from env_tuning.evaluation.card import CARD_TEXT, Prices
    from env_tuning.evaluation.running import Plan, evaluate
    from env_tuning.evaluation.settings import BENCHMARK_RULES, Settings
    from env_tuning.evaluation.sources import read_data
    from env_tuning.protocols import ToolListing

    import_from_here()
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
    chosen = asked.mode_of_calls()
    loaded = read_data(files, data, limit=limit)
    shown = result_characters or BENCHMARK_RULES.result_characters
    settings = Settings(
        mode=chosen,
        protocol=protocol,
        listing=one_of(ToolListing, tool_listing, "--tool-listing"),
        version=loaded.version,
        rules=dataclasses.replace(BENCHMARK_RULES, steps_per_turn=steps_per_turn, result_characters=shown),
        temperature=temperature,
        seed=seed,
        max_tokens=max_tokens,
    )
    plan = Plan(
        output=output,
        concurrency=concurrency,
        prices=Prices(prompt=prompt_price, completion=completion_price),
        unanswered_wrong=unanswered_wrong,
        official_name=official_name,
    )
    with _Bar() as bar:
        try:
            evaluation = asyncio.run(evaluate(asked.open(settings), loaded, settings, plan, bar))
        except KeyboardInterrupt:
            bar.stop()
            typer.echo(f"[env-tuning] interrupted; what is done is in {output}, the same command goes on", err=True)
            raise typer.Exit(130) from None
    if missing := evaluation.unanswered:
        name, reason = next(iter(missing.items()))
        typer.echo(
            f"[env-tuning] {len(missing)} of {len(loaded.tasks)} tasks have no answer ({name}: {reason}); the same "
            "command asks for them again, with --unanswered-wrong they count as wrong",
            err=True,
        )
    if evaluation.open_tasks:
        raise typer.Exit(1)
    typer.echo((output / CARD_TEXT).read_text(encoding="utf-8"))


@app.command()
def compare(
    cards: Annotated[
        list[Path], typer.Argument(help="Folders of evaluations, or their card.json; the first is the base.")
    ],
) -> None:
    """Set evaluations of the same tasks side by side, each against the first."""
    from rich.console import Console
    from rich.table import Table

    from env_tuning.evaluation.card import model_name, percent
    from env_tuning.evaluation.compare import difference, notes, read_sheets

    sheets = read_sheets(cards)
    console = Console(width=None if Console().is_terminal else 200)
    table = Table(title=f"{len(sheets[0].card['tasks'])} tasks")
    table.add_column("")
    for number, sheet in enumerate(sheets):
        table.add_column(f"{number}: {sheet.name}", overflow="fold")
    table.add_row("model", *(model_name(sheet.card["model"]) for sheet in sheets))
    for split in [*sheets[0].card["splits"], "overall"]:
        parts = [sheet.card["overall"] if split == "overall" else sheet.card["splits"][split] for sheet in sheets]
        table.add_row(f"accuracy, {split}", *(_with_interval(part, "accuracy") for part in parts))
    table.add_row("progress", *(_with_interval(sheet.card["overall"], "progress") for sheet in sheets))
    table.add_row("coverage", *(percent(sheet.card["overall"]["coverage"]) for sheet in sheets))
    table.add_row("steps per task", *(f"{sheet.card['overall']['steps']:.1f}" for sheet in sheets))
    differences = [difference(sheets[0], other) for other in sheets[1:]]
    table.add_section()
    table.add_row("tasks gained, lost", "", *(f"{item.gained}, {item.lost}" for item in differences))
    table.add_row("accuracy against 0", "", *(f"{100 * item.accuracy:+.1f} points" for item in differences))
    table.add_row("p (exact McNemar)", "", *(_p(item.p) for item in differences))
    table.add_row(
        "progress against 0",
        "",
        *(
            f"{100 * item.progress.mean:+.1f} points "
            f"({100 * item.progress.interval.low:+.1f} to {100 * item.progress.interval.high:+.1f})"
            for item in differences
        ),
    )
    table.add_row("p (paired bootstrap)", "", *(_p(item.progress.p) for item in differences))
    console.print(table)
    several = ["p-values are not corrected for several comparisons"] if len(differences) > 1 else []
    for note in [*several, *notes(sheets)]:
        console.print(f"note: {note}", highlight=False, markup=False)


class _Bar:
    """A progress bar on standard error, and the words before it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            Remaining(),
            console=Console(stderr=True),
        )
        self._right = self._all = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()

    def begin(self, evaluation: Evaluation) -> None:
        """Say what is there and show the bar."""
        store = evaluation.store
        if store.dropped:
            typer.echo(f"[env-tuning] {store.dropped} torn lines dropped; their tasks are played again", err=True)
        if store.results:
            typer.echo(f"[env-tuning] {len(store.results)} tasks are done already in {store.folder}", err=True)
        self._task = self._bar.add_task("playing", total=len(evaluation.tasks))
        for result in evaluation.results:
            self.done(result)
        self._bar.start()

    def done(self, result: TaskResult) -> None:
        """One more, and how many are right."""
        self._all += 1
        self._right += result.correct
        self._bar.update(self._task, completed=self._all, description=f"{self._right} right")


def _with_interval(numbers: Mapping[str, Any], name: str) -> str:
    low, high = numbers[f"{name}_interval"]
    return f"{100 * numbers[name]:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
