"""The curves as files for papers.

Owns: one figure per panel, in the format that is asked for. Refuses: choosing what is drawn (`curves`). matplotlib is
loaded only here, without a display.
"""

from __future__ import annotations

import re
from pathlib import Path

from env_tuning.errors import UserError
from env_tuning.report.curves import Curves, Panel

FORMATS = ("png", "svg", "pdf")


def write_plots(curves: Curves, folder: Path, form: str = "png") -> list[Path]:
    """Write every panel, and return the files.

    Raises:
        UserError: matplotlib is not installed, or `form` is none of `FORMATS`.
    """
    if form not in FORMATS:
        raise UserError(f"no plots as {form!r}; there are {', '.join(FORMATS)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'env-tuning[report]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(panel, curves, folder / f"{_slug(panel.title)}.{form}") for panel in curves.panels]


def _write(panel: Panel, curves: Curves, file: Path) -> Path:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(panel.lines):
        marker = "o" if sum(map(len, line.pieces)) <= 60 else ""
        for place, piece in enumerate(filter(None, line.pieces)):
            label = line.name if place == 0 else None
            x, y = zip(*piece, strict=True)
            axes.plot(x, y, color=f"C{number % 10}", marker=marker, ms=2.5, lw=1.2, label=label)
    values = {y for line in panel.lines for piece in line.pieces for _, y in piece}
    if len(values) == 1:  # a range of its own around one value would look like measurements
        low, high = min(0.0, *values), max(0.0, *values) or 1.0
        axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.margins(y=0.12)
    for number, span in enumerate(curves.spans):
        if number % 2:
            axes.axvspan(span.first, span.last, color="0.95", zorder=0)
        if len(curves.spans) > 1:
            axes.text(span.first, 1.01, span.name, transform=axes.get_xaxis_transform(), fontsize=7, color="0.4")
    for gate in curves.gates:
        if gate.verdict != "continue":
            colour = "tab:red" if gate.verdict == "fall_back" else "tab:green"
            axes.axvline(gate.x, color=colour, ls="--", lw=0.9)
            axes.annotate(gate.verdict, (gate.x, 0.98), xycoords=("data", "axes fraction"), xytext=(-3, 0),
                          textcoords="offset points", fontsize=6, color=colour, ha="right", va="top")  # fmt: skip
    axes.set_title(panel.title, fontsize=9, pad=12)
    axes.set_xlabel("update", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1:
        axes.legend(fontsize=6, frameon=False)
    figure.savefig(file, dpi=200)
    return file


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
