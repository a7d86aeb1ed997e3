"""Screenshots of a run's report for docs/reference/report.md: ``python bench/report_screens.py outputs``.

Three pictures: the curves, a trajectory with a wrong turn that can be seen whole, and a group side by side of which
some do better than others. Which trajectory and which group follows from the run alone: the shortest that shows this.
Needs chromium or Google Chrome, and Pillow (which matplotlib brings).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from env_tuning.errors import UserError
from env_tuning.report.curves import curves_of
from env_tuning.report.page import render
from env_tuning.report.reading import Dumped, StageRun, dumped, read_run
from env_tuning.report.replay import Replay, WrongTurn
from env_tuning.report.tasks import NotReplayedError, RunTasks

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = 128
MOST_BYTES = 300_000


@dataclass(frozen=True, kw_only=True)
class View:
    """A picture: the part of the page's address behind #, and the window's size in pixels."""

    name: str
    state: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An episode with its number in the page and what is behind its wrong turns."""

    number: int
    episode: Dumped
    behind: dict[int, WrongTurn]

    @property
    def length(self) -> int:
        """Characters of its messages."""
        return sum(len(step["text"]) + len(step["observation"]) for step in self.episode.line["trajectory"]["steps"])

    @property
    def right_turns(self) -> int:
        """How many of its turns are right."""
        return sum(verdict["correct"] for verdict in self.episode.line["trajectory"]["verdicts"])


def candidates(stages: Sequence[StageRun], data: Path | None) -> Iterator[Candidate]:
    """All episodes, numbered as the page numbers them."""
    number = 0
    for stage in stages:
        replay = Replay(RunTasks(stage, data))
        for episode in dumped(stage, Counter()):
            try:
                behind = dict(replay.wrong_turns(episode))
            except NotReplayedError:
                behind = {}
            yield Candidate(number=number, episode=episode, behind=behind)
            number += 1


def telling(candidate: Candidate) -> bool:
    """Whether it has right turns, and a wrong one with one to four values that differ and a call to look at."""
    verdicts = candidate.episode.line["trajectory"]["verdicts"]
    right = any(verdict["correct"] and verdict["expects_calls"] for verdict in verdicts)
    return right and any(turn.strange and 1 <= len(turn.differences) <= 4 for turn in candidate.behind.values())


def views(stages: Sequence[StageRun], data: Path | None) -> list[View]:
    """What to show of a run.

    Raises:
        UserError: no episode or no group shows it.
    """
    every = [one for one in candidates(stages, data) if one.episode.phase == "train"]
    wrong = min(filter(telling, every), key=lambda one: one.length, default=None)
    groups = defaultdict(list)
    for one in every:
        groups[one.episode.stage, one.episode.step, one.episode.line["uid"]].append(one)
    apart = [group for group in groups.values() if len({one.right_turns for one in group}) > 1]
    group = min(apart, key=lambda group: sum(one.length for one in group), default=None)
    if wrong is None or group is None:
        raise UserError(
            "no trajectory with a wrong turn to show, or no group of which some do better; give another run"
        )
    rows = -(-len(curves_of(stages).panels) // 3)
    first = group[0].episode
    return [
        View(name="report_curves", state="", width=1400, height=130 + 30 * len(stages) + 276 * rows),
        View(
            name="report_trajectory",
            state=f"stage={wrong.episode.stage}&step={wrong.episode.step}&verdict=state&open={wrong.number}",
            width=1400,
            height=1500,
        ),
        View(
            name="report_group",
            state=f"stage={first.stage}&step={first.step}&phase=train&group={group[0].number}",
            width=2000,
            height=1200,
        ),
    ]


def take(view: View, page: Path, file: Path, scratch: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UserError(f"screenshots need one of {', '.join(BROWSERS)}")
    subprocess.run(
        [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={scratch / 'profile'}", "--virtual-time-budget=20000"),
            *(f"--window-size={view.width},{view.height}", f"--screenshot={scratch / 'shot.png'}"),
            f"{page.resolve().as_uri()}#{view.state}",
        ],
        check=True,
        capture_output=True,
        timeout=180,
    )
    Image.open(scratch / "shot.png").convert("RGB").quantize(COLOURS).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file}: {size / 1000:.0f} kB, #{view.state}")
    if size > MOST_BYTES:
        raise UserError(f"{file} has more than {MOST_BYTES / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the screenshots of docs/reference/report.md.")
    parser.add_argument("run", type=Path, help="output folder of a stage or of a curriculum")
    parser.add_argument("--data", type=Path, help="folder of the run's data files, if they have moved")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    stages = read_run(given.run)
    given.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        page = scratch / "report.html"
        page.write_text(render(stages, title=f"Run {given.run.absolute().name}", data=given.data), encoding="utf-8")
        for view in views(stages, given.data):
            take(view, page, given.output / f"{view.name}.png", scratch)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"[env-tuning] error: {error}") from None
