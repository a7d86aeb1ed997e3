"""Checkpoints that are complete or gone: what a kill, a full disk or a lost file may leave, and the way back.

Owns: the manifest that makes a ``global_step_N`` folder a checkpoint, the search for the newest one that is whole,
verl's pointer to it, which old ones go and where the best one stays. Refuses: what is in a checkpoint, verl, torch.

verl writes the folder file by file and then ``latest_checkpointed_iteration.txt``; neither step is atomic. Here a
folder counts only when it holds ``complete.json``, written last and in one move, and when every file named in it is
there with its size. Whatever does not count is removed before training starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from env_tuning.atomic import replace_text

MANIFEST = "complete.json"
POINTER = "latest_checkpointed_iteration.txt"
"""verl's name of the file that says where to resume."""

_FOLDER = re.compile(r"global_step_(\d+)")
_FULL = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    # torch's writer keeps the reason to itself: a short write is all it reports (caffe2/serialize/inline_container.cc).
    "unexpected pos",
    "failed writing file",
)


class SaveError(RuntimeError):
    """A checkpoint could not be written; the ones before it are untouched."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What `recover` found.

    Attributes:
        step: of the newest whole checkpoint, None if there is none.
        removed: names of the folders that were not whole.
    """

    step: int | None
    removed: tuple[str, ...]


def checkpoint_folder(root: Path, step: int) -> Path:
    """Where verl writes the checkpoint of a step."""
    return root / f"global_step_{step}"


def step_of(folder: Path) -> int | None:
    """The step in a checkpoint folder's name; None for any other name."""
    found = _FOLDER.fullmatch(folder.name)
    return int(found[1]) if found else None


def seal(folder: Path) -> None:
    """Declare a checkpoint complete: list its files with their sizes. The last thing that is written into it."""
    sizes = {
        str(file.relative_to(folder)): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    replace_text(folder / MANIFEST, json.dumps({"step": step_of(folder), "files": sizes}, indent=1) + "\n")


def is_complete(folder: Path) -> bool:
    """Whether a folder is a sealed checkpoint of the step in its name whose files are all there, none cut short."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest["step"] == step_of(folder) and all(
            (folder / name).stat().st_size == size for name, size in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def complete_steps(root: Path) -> tuple[int, ...]:
    """The steps with a whole checkpoint, oldest first."""
    return tuple(sorted(step for step, folder in _folders(root).items() if is_complete(folder)))


def recover(root: Path, *, remove: bool = True) -> Recovery:
    """Make `root` what verl resumes rightly from: whole checkpoints only, and a pointer to the newest of them.

    Args:
        root: the folder of the ``global_step_N`` folders; need not exist.
        remove: remove folders that are not whole; False for a folder that is not the run's own.
    """
    whole = complete_steps(root)
    broken = [folder for step, folder in sorted(_folders(root).items()) if step not in whole]
    if remove:
        for folder in broken:
            remove_checkpoint(folder)
    last = whole[-1] if whole else None
    point_at(root, last)
    return Recovery(step=last, removed=tuple(folder.name for folder in broken) if remove else ())


def point_at(root: Path, step: int | None) -> None:
    """Tell verl where to resume; None: from the start."""
    if step is None:
        (root / POINTER).unlink(missing_ok=True)
    else:
        replace_text(root / POINTER, str(step))


def rotate(root: Path, keep: int) -> None:
    """Remove all whole checkpoints but the newest `keep`."""
    for step in complete_steps(root)[: -max(keep, 1)]:
        remove_checkpoint(checkpoint_folder(root, step))


def remove_after(root: Path, step: int) -> None:
    """Remove the checkpoints of later steps: the run goes on from `step`, and the newest has to be its own."""
    for later, folder in _folders(root).items():
        if later > step:
            remove_checkpoint(folder)


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint; killed in the middle, what is left does not count as one."""
    (folder / MANIFEST).unlink(missing_ok=True)
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)


def keep_best(checkpoint: Path, root: Path) -> Path:
    """Put a checkpoint where rotation does not reach, in place of the one kept there before.

    Hard links, so it takes no space as long as the original stands, and copies where the file system has no links.
    The former one goes when the new one is complete.
    """
    root.mkdir(parents=True, exist_ok=True)
    building, target = root / f".{checkpoint.name}", root / checkpoint.name
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(checkpoint, building, copy_function=_link)
    remove_checkpoint(target)
    os.replace(building, target)
    for step, folder in _folders(root).items():
        if step != step_of(target):
            remove_checkpoint(folder)
    return target


def find(step: int, *roots: Path) -> Path | None:
    """The whole checkpoint of a step in the first folder that has it."""
    folders = (checkpoint_folder(root, step) for root in roots)
    return next((folder for folder in folders if is_complete(folder)), None)


def save_failure(error: BaseException, root: Path, step: int) -> SaveError:
    """Clean up after a save that raised, and put what to do about it into one line."""
    remove_checkpoint(checkpoint_folder(root, step))
    whole = complete_steps(root)
    # On a full disk even this may fail, while a worker still holds the removed file open; the next start points anew.
    with contextlib.suppress(OSError):
        point_at(root, whole[-1] if whole else None)
    stands = f"the last good checkpoint is step {whole[-1]}" if whole else "there is no good checkpoint yet"
    if is_disk_full(error):
        return SaveError(
            f"no space left in {root} for the checkpoint of step {step}; {stands}; "
            "free space and run the same command again"
        )
    return SaveError(f"saving the checkpoint of step {step} failed ({_last_line(error)}); {stands}")


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space, as far as the error or one it came from says so."""
    seen: BaseException | None = error
    while seen is not None:
        if any(words in str(seen) for words in _FULL):
            return True
        seen = seen.__cause__
    return False


def _folders(root: Path) -> dict[int, Path]:
    if not root.is_dir():
        return {}
    return {step: folder for folder in root.iterdir() if folder.is_dir() and (step := step_of(folder)) is not None}


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}"
