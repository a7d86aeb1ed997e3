"""The embedded default model: made on the machine when there is no GPU and no model was given.

Owns: what it is made from, its folder and the cache. Refuses: downloading anything, and reading other tasks than those
it is given: validation and test tasks must never reach the tokenizer or the warm start.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
import transformers
from transformers import Qwen3ForCausalLM

from env_tuning.data.demonstrations import PERFECT, Habits, Message, Pacing, demonstration
from env_tuning.data.rows import load_tasks
from env_tuning.data.splits import Category
from env_tuning.hashing import file_sha256
from env_tuning.model.tiny import SIZES, TinySize, tiny_config
from env_tuning.model.tokenizer import train_tokenizer
from env_tuning.model.warm_start import WarmStart, WarmStartFigures, to_standard_error, warm_start
from env_tuning.protocols import PromptVersion, ToolListing
from env_tuning.task import Task

RECIPE_VERSION = 6
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
class Speaker:
    """Who demonstrates what.

    Attributes:
        habits: of the speaker.
        version: the system prompt of the demonstrations.
        kinds: of the tasks. Of long-context tasks none need be shown: their calls are those of base tasks, and their
            results are long.
        every: how many of these tasks there are to one that is shown.
    """

    habits: Habits = PERFECT
    version: PromptVersion = PromptVersion.V1
    kinds: tuple[Category, ...] = (Category.BASE,)
    every: int = 1

    def choose(self, tasks: Sequence[Task], offset: int) -> list[Task]:
        """The tasks of this speaker; `offset` tells apart speakers that skip some."""
        kinds = [kind.value for kind in self.kinds]
        return [task for task in tasks if task.split in kinds][offset % self.every :: self.every]


@dataclass(frozen=True, kw_only=True)
class LessonPlan:
    """Speakers, and how to train on what they say."""

    speakers: Sequence[Speaker]
    settings: WarmStart


_HASTY, _HASTY_AND_IDLE = Habits(hasty=0.97), Habits(hasty=0.97, idle=0.7)
_HASTY_AND_IDLE_FROM_THE_START = Habits(hasty=0.97, idle=0.6, idle_from=0)
_MISSING = (Category.MISS_FUNC, Category.MISS_PARAM)
_SECOND = Speaker(version=PromptVersion.V2)
_SECOND_OF_ALL = replace(_SECOND, kinds=(Category.BASE, *_MISSING))

LESSONS = (
    # Both prompts: a prompt that it has not seen costs a model of this size a third of its whole right calls.
    LessonPlan(speakers=(Speaker(), _SECOND_OF_ALL), settings=WarmStart(steps=1600)),
    LessonPlan(
        speakers=(
            # One speaker of each prompt does everything, or some calls are shown by nobody and are forgotten.
            Speaker(habits=_HASTY),
            *[Speaker(habits=_HASTY_AND_IDLE)] * 3,
            replace(_SECOND_OF_ALL, habits=_HASTY, every=2),
            # Idle where it never is with the first prompt: what a stage with that one unlearns goes for both.
            *[replace(_SECOND_OF_ALL, habits=_HASTY_AND_IDLE_FROM_THE_START, every=2)] * 3,
        ),
        # Gently: rates of 4e-3 and 1e-2 took from the model half of what it knew, though with other habits.
        settings=WarmStart(steps=600, learning_rate=2e-3, matrix_learning_rate=5e-3),
    ),
)
"""The second is shorter and unsettles: a model of perfect speakers knows its tasks and has nothing to learn; one that
never knew them has no progress to make. Shown habits from the start, a model this small hardly learns the tasks."""

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
    seed: int = 0,
    size: str | TinySize = "small",
    pieces: int = 4096,
    lessons: Sequence[LessonPlan] = LESSONS,
    listing: ToolListing = ToolListing.SIGNATURES,
    report: Callable[[str], None] = to_standard_error,
) -> Path:
    """The folder of the model, built first if this cache does not hold it.

    Args:
        cache: folder for models; created if missing.
        tasks_file: parquet file of training tasks.
        seed: of weights, wording and order.
        size: a name from `SIZES`, or a shape.
        pieces: upper limit of the vocabulary.
        lessons: one warm start after the other.
        listing: how demonstrations show the tools; train with the same.
        report: takes lines of progress.

    Returns:
        a folder for ``AutoModelForCausalLM.from_pretrained`` and ``AutoTokenizer.from_pretrained``.

    Raises:
        ValueError: an unknown size, or a tasks file that is missing or of another version.
    """
    shape = _shape(size)
    tasks = load_tasks(tasks_file)
    recipe = {
        "recipe_version": RECIPE_VERSION,
        "seed": seed,
        "size": asdict(shape),
        "pieces": pieces,
        "lessons": [_plain(plan) for plan in lessons],
        "listing": listing.value,
        "tasks_sha256": file_sha256(tasks_file),
    }

    def shown() -> list[Lesson]:
        return [
            Lesson(demonstrations=_demonstrations(tasks, seed, plan.speakers, listing), settings=plan.settings)
            for plan in lessons
        ]

    return cached_model(
        cache, shown, recipe, shape=shape, pieces=pieces, seed=seed,
        what="the ground truth of training tasks", report=report,
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


def _plain(plan: LessonPlan) -> dict[str, Any]:
    """The plan as JSON can hold it."""
    return json.loads(json.dumps(asdict(plan), default=lambda value: value.value))


def _demonstrations(
    tasks: Sequence[Task], seed: int, speakers: Sequence[Speaker], listing: ToolListing
) -> list[list[Message]]:
    # The calls of a turn in one message: spread at random, they are twice as much to learn and twice as much to say.
    return [
        demonstration(
            task,
            pacing=Pacing.TOGETHER,
            listing=listing,
            seed=seed * len(speakers) + number,
            version=speaker.version,
            habits=speaker.habits,
        )
        for number, speaker in enumerate(speakers)
        for task in speaker.choose(tasks, number)
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
