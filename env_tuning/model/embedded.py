"""The embedded default model: made on the machine when there is no GPU and no model was given.

Owns: what it is made from, its folder and the cache. Refuses: downloading anything, and reading other tasks than those
it is given: validation and test tasks must never reach the tokenizer or the warm start.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
import transformers
from transformers import Qwen3ForCausalLM

from env_tuning.data.demonstrations import PERFECT, Habits, Message, Pacing, demonstration
from env_tuning.data.rows import load_tasks
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.hashing import file_sha256
from env_tuning.model.tiny import SIZES, TinySize, tiny_config
from env_tuning.model.tokenizer import train_tokenizer
from env_tuning.model.warm_start import WarmStart, WarmStartFigures, to_standard_error, warm_start
from env_tuning.protocols import ToolListing
from env_tuning.task import Task

RECIPE_VERSION = 3
"""Raise it when a change of this room's code makes another model from the same settings."""

FIGURES_FILE = "warm_start.json"

_PACKAGES = ("torch", "transformers", "tokenizers")
"""Other versions of these make other models."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Demonstrations, and how to train on them."""

    demonstrations: Sequence[Sequence[Message]]
    settings: WarmStart


@dataclass(frozen=True, kw_only=True)
class Unsettling:
    """A second, shorter warm start on demonstrations with bad habits.

    A model of perfect speakers knows its tasks and has nothing to learn; one that never knew them has no progress to
    make. Shown habits from the start, a model this small hardly learns the tasks.

    Attributes:
        speakers: the habits of each; every one of them demonstrates every task once.
        settings: of the run.
    """

    speakers: Sequence[Habits]
    settings: WarmStart


UNSETTLING = Unsettling(
    # One speaker does everything, or some calls are shown by nobody and are forgotten.
    speakers=(Habits(hasty=0.97), *[Habits(hasty=0.97, sloppy=1.0)] * 3),
    # Four times this rate takes from the model half of what it knows.
    settings=WarmStart(steps=500, learning_rate=1e-3, matrix_learning_rate=2.5e-3),
)

_CARD = """\
# Embedded model

A {parameters:,}-parameter Qwen3 with a tokenizer of its own, made on this machine by env_tuning for training runs
without a GPU. It was warm-started on {what} ({demonstrations} demonstrations,
{steps} steps, {seconds} s) and is meant to be trained further with reinforcement learning. It knows these tools and
this protocol, and no language beyond them. Figures: `{figures_file}`.
"""


def embedded_model(
    cache: Path,
    tasks_file: Path,
    *,
    long_context_file: Path | None = None,
    seed: int = 0,
    size: str | TinySize = "small",
    pieces: int = 4096,
    settings: WarmStart | None = None,
    unsettling: Unsettling | None = UNSETTLING,
    listing: ToolListing = ToolListing.SIGNATURES,
    report: Callable[[str], None] = to_standard_error,
) -> Path:
    """The folder of the model, built first if this cache does not hold it.

    Args:
        cache: folder for models; created if missing.
        tasks_file: parquet file of training tasks.
        long_context_file: the padding data, needed if the file holds long-context tasks.
        seed: of weights, wording and order.
        size: a name from `SIZES`, or a shape.
        pieces: upper limit of the vocabulary.
        settings: of the warm start on perfect demonstrations, one of each task.
        unsettling: what follows it; None: nothing.
        listing: how demonstrations show the tools; train with the same.
        report: takes lines of progress.

    Returns:
        a folder for ``AutoModelForCausalLM.from_pretrained`` and ``AutoTokenizer.from_pretrained``.

    Raises:
        ValueError: an unknown size, or a tasks file that is missing or of another version.
    """
    shape = _shape(size)
    settings = settings or WarmStart()
    tasks = load_tasks(tasks_file)
    recipe = {
        "recipe_version": RECIPE_VERSION,
        "seed": seed,
        "size": asdict(shape),
        "pieces": pieces,
        "settings": asdict(settings),
        "unsettling": unsettling and asdict(unsettling),
        "listing": listing.value,
        "tasks_sha256": file_sha256(tasks_file),
        "long_context_sha256": long_context_file and file_sha256(long_context_file),
    }

    def lessons() -> list[Lesson]:
        padding = LongContext.load(long_context_file) if long_context_file else None
        perfect = _demonstrations(tasks, seed, [PERFECT], listing, padding)
        first = Lesson(demonstrations=perfect, settings=settings)
        if unsettling is None:
            return [first]
        faulty = _demonstrations(tasks, seed, unsettling.speakers, listing, padding)
        return [first, Lesson(demonstrations=faulty, settings=unsettling.settings)]

    return cached_model(
        cache, lessons, recipe, shape=shape, pieces=pieces, seed=seed,
        what=f"the ground truth of {len(tasks)} training tasks", report=report,
    )  # fmt: skip


def cached_model(
    cache: Path,
    lessons: Callable[[], Sequence[Lesson]],
    recipe: dict[str, Any],
    *,
    shape: TinySize,
    pieces: int,
    seed: int,
    what: str,
    report: Callable[[str], None] = to_standard_error,
) -> Path:
    """The folder of a model made from demonstrations, built first if this cache does not hold it.

    Args:
        cache: folder for models; created if missing.
        lessons: gives what it is warm-started on, one after the other; called only to build.
        recipe: plain data that decides what the model is, besides the packages that make it; the folder's name comes
            from both.
        shape: of the model.
        pieces: upper limit of the vocabulary.
        seed: of weights and order.
        what: what the demonstrations show, for the model's card.
        report: takes lines of progress.
    """
    recipe = {**recipe, "packages": {package: version(package) for package in _PACKAGES}}
    folder = cache / f"embedded-{_key(recipe)}"
    if _is_whole(folder):
        return folder
    report("making the embedded model (once; it is kept for the next runs)")
    shown = lessons()
    cache.mkdir(parents=True, exist_ok=True)
    # Built elsewhere and renamed at the end: a killed build leaves nothing under the final name.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-", ignore_cleanup_errors=True) as scratch:
        built = Path(scratch) / "model"
        figures = _build(built, shown, shape, pieces, seed, report)
        _write_card(built, figures, what, recipe)
        _publish(built, folder)
    report(f"the embedded model is in {folder} (loss {figures[-1].loss}, {sum(one.seconds for one in figures):.0f} s)")
    return folder


def _shape(size: str | TinySize) -> TinySize:
    if isinstance(size, TinySize):
        return size
    if size not in SIZES:
        raise ValueError(f"no size named {size!r}; known: {', '.join(SIZES)}")
    return SIZES[size]


def _demonstrations(
    tasks: Sequence[Task],
    seed: int,
    speakers: Sequence[Habits],
    listing: ToolListing,
    padding: LongContext | None,
) -> list[list[Message]]:
    # The calls of a turn in one message: spread at random, they are twice as much to learn and twice as much to say.
    return [
        demonstration(
            task,
            pacing=Pacing.TOGETHER,
            listing=listing,
            seed=seed * len(speakers) + number,
            long_context=padding,
            habits=habits,
        )
        for number, habits in enumerate(speakers)
        for task in tasks
    ]


def _build(
    folder: Path,
    lessons: Sequence[Lesson],
    size: TinySize,
    pieces: int,
    seed: int,
    report: Callable[[str], None],
) -> list[WarmStartFigures]:
    tokenizer = train_tokenizer(
        (message["content"] for lesson in lessons for messages in lesson.demonstrations for message in messages),
        pieces=pieces,
    )
    # PyTorch's global generator, because weights are initialised with it; the caller's state comes back.
    with torch.random.fork_rng(devices=[]):
        transformers.set_seed(seed)
        model = Qwen3ForCausalLM(tiny_config(size, tokenizer))
        figures = [
            warm_start(
                model, tokenizer, lesson.demonstrations, lesson.settings, workspace=folder.parent, seed=seed,
                report=report,
            )
            for lesson in lessons
        ]  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return figures


def _write_card(folder: Path, figures: Sequence[WarmStartFigures], what: str, recipe: dict[str, Any]) -> None:
    card = _CARD.format(
        what=what,
        figures_file=FIGURES_FILE,
        parameters=figures[0].parameters,
        demonstrations=sum(one.demonstrations for one in figures),
        steps=sum(one.steps for one in figures),
        seconds=round(sum(one.seconds for one in figures)),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    record = {"figures": [asdict(one) for one in figures], "recipe": recipe, "files": files}
    (folder / FIGURES_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _is_whole(folder: Path) -> bool:
    """Whether every file of a finished build is there, at its recorded size."""
    try:
        files = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _publish(built: Path, folder: Path) -> None:
    """Give a finished build its final name, in place of a broken one; another process's finished one stays."""
    if _is_whole(folder):
        return
    rmtree(folder, ignore_errors=True)
    try:
        built.rename(folder)
    except OSError:
        if not _is_whole(folder):
            raise


def _key(recipe: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
