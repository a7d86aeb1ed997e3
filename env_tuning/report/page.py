"""The page: one HTML file with everything in it.

Owns: the data's form in the page (gzip in base64: an index in front, the different system prompts once, and episodes in
chunks that the browser decodes when one of theirs is opened) and the page's size. Refuses: anything from a network, and
raw text in the markup: what a model wrote is inside the compressed data only, and the script shows it as text.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from env_tuning.errors import UserError
from env_tuning.report.curves import curves_of
from env_tuning.report.episodes import COLUMNS, detail, index_row
from env_tuning.report.reading import Dumped, StageRun, dumped
from env_tuning.report.replay import Replay
from env_tuning.report.tasks import NotReplayedError, RunTasks

MAX_BYTES = 50_000_000
"""No page is larger."""
CHUNK = 64
"""Episodes that are decoded together: the groups of a training step lie in few chunks, and one takes milliseconds."""
_Shown = tuple[tuple[Any, ...], dict[str, Any]]
"""Of an episode: its row in the index, and what is shown when it is opened."""


def block(data: Any) -> str:
    """JSON data as gzip in base64, the same text for the same data."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", errors="replace"), 6, mtime=0)).decode("ascii")


def render(
    stages: Sequence[StageRun], *, title: str, every: int = 1, data: Path | None = None, limit: int = MAX_BYTES
) -> str:
    """The page of a run.

    Args:
        stages: in order.
        title: of the page.
        every: keep the training episodes of every so many steps.
        data: where to look for the runs' data files, if they are no longer where they were.
        limit: bytes that the page may have.

    Raises:
        UserError: the page would be larger than `limit`.
    """
    left_out: Counter[str] = Counter()
    unexplained: Counter[str] = Counter()
    index: list[tuple[Any, ...]] = []
    blocks: list[str] = []
    prompts: dict[str, int] = {}
    shown = (
        (index_row(episode), _explained(episode, replay, prompts, unexplained))
        for stage, replay in ((stage, Replay(RunTasks(stage, data))) for stage in stages)
        for episode in dumped(stage, left_out, every=every)
    )
    for chunk in _chunks(shown):
        index += [row for row, _ in chunk]
        blocks.append(block([episode for _, episode in chunk]))
    front = {
        "title": title,
        "curves": asdict(curves_of(stages)),
        "columns": {name: [row[number] for row in index] for number, name in enumerate(COLUMNS)},
        "chunk": CHUNK,
        "left_out": dict(left_out),
        "unexplained": dict(unexplained),
    }
    page = _template().render(
        title=title,
        style=_text("report.css"),
        script=_text("report.js"),
        front=block(front),
        prompts=block(list(prompts)),
        blocks=blocks,
    )
    size = len(page.encode())
    if size > limit:
        wanted = every * -(-size // limit)
        raise UserError(
            f"the page would have {size / 1e6:.0f} MB of at most {limit / 1e6:.0f}; --every {wanted} may do"
        )
    return page


def _explained(episode: Dumped, replay: Replay, prompts: dict[str, int], unexplained: Counter[str]) -> dict[str, Any]:
    """An episode with what is behind its wrong turns, or with the reason why that is not known, which is counted.

    Its system prompt is its number among `prompts`: there are few, and they are most of what a dump holds.
    """
    prompt = prompts.setdefault(episode.line["trajectory"].get("system_prompt", ""), len(prompts))
    try:
        return detail(episode, prompt, replay.wrong_turns(episode))
    except NotReplayedError as error:
        unexplained[str(error)] += 1
        return detail(episode, prompt, {}, unexplained=str(error))


def _chunks(episodes: Iterator[_Shown]) -> Iterator[list[_Shown]]:
    while chunk := list(islice(episodes, CHUNK)):
        yield chunk


def _text(name: str) -> str:
    return (files("env_tuning.report") / "page" / name).read_text(encoding="utf-8")


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined).from_string(_text("report.html.j2"))
