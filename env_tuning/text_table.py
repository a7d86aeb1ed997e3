"""Rows as aligned text, for a terminal.

Owns: `aligned`. Refuses: what stands in the cells.
"""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows under each other: the first `left` columns begin, the others end at one place.

    Args:
        rows: of equal length, the head first; at least one.
        left: how many columns hold words.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if at < left else '>'}{width}}"
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )
