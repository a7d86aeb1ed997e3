"""`env-tuning report`: a run as one page.

Owns: arguments. Refuses: logic of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="Output folder of a stage or of a curriculum, also of one that runs.")],
    output: Annotated[Path | None, typer.Option(help="The file to write; RUN/report.html if absent.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take the trajectories of every so many training steps.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the run's data files, if they are no longer where it read them.")
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Also write the curves as plots into this folder.")] = None,
    plot_format: Annotated[str, typer.Option(help="Of the plots: png, svg or pdf.")] = "png",
) -> None:
    """Write a page with curves and trajectories of a run: one file, no server, opens offline."""
    from env_tuning.atomic import replace_text
    from env_tuning.report.curves import curves_of
    from env_tuning.report.page import render
    from env_tuning.report.plots import write_plots
    from env_tuning.report.reading import read_run
    from env_tuning.working_folder import import_from_here

    import_from_here()
    stages = read_run(run)
    file = output or run / "report.html"
    page = render(stages, title=f"Run {run.resolve().name}", every=every, data=data)
    replace_text(file, page)
    typer.echo(f"{file}: {', '.join(stage.name for stage in stages)}, {len(page) / 1e6:.1f} MB")
    if plots is not None:
        written = write_plots(curves_of(stages), plots, plot_format)
        typer.echo(f"{plots}: {len(written)} plots")
