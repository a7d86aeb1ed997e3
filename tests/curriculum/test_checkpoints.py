"""Checkpoint folders as a kill, a full disk or a lost file may leave them, and what is left of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from env_tuning.curriculum import checkpoints
from env_tuning.curriculum.checkpoints import MANIFEST, POINTER, checkpoint_folder, complete_steps, recover


def save(root: Path, step: int, *, sealed: bool = True) -> Path:
    """A checkpoint as verl lays it out, with verl's pointer."""
    folder = checkpoint_folder(root, step)
    (folder / "actor" / "huggingface").mkdir(parents=True)
    (folder / "actor" / "model.pt").write_bytes(b"m" * (100 + step))
    (folder / "actor" / "huggingface" / "config.json").write_text("{}")
    (folder / "data.pt").write_bytes(b"d" * 10)
    (root / POINTER).write_text(str(step))
    if sealed:
        checkpoints.seal(folder)
    return folder


def pointer(root: Path) -> str | None:
    file = root / POINTER
    return file.read_text() if file.exists() else None


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_sealed_checkpoint_is_complete_and_stays_so_with_more_files_in_it(tmp_path: Path) -> None:
    folder = save(tmp_path, 4)
    (folder / "note.txt").write_text("mine")
    assert complete_steps(tmp_path) == (4,)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["step"] == 4
    assert manifest["files"] == {"actor/huggingface/config.json": 2, "actor/model.pt": 104, "data.pt": 10}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: (folder / MANIFEST).write_text('{"step": 4, "fil'),
    "empty manifest": lambda folder: (folder / MANIFEST).write_text(""),
    "manifest of another shape": lambda folder: (folder / MANIFEST).write_text("[1]"),
    "manifest without sizes": lambda folder: (folder / MANIFEST).write_text('{"step": 4, "files": ["data.pt"]}'),
    "a file cut short": lambda folder: (folder / "actor" / "model.pt").write_bytes(b"m"),
    "a file lost": lambda folder: (folder / "data.pt").unlink(),
    "moved from another step": lambda folder: (folder / MANIFEST).write_text('{"step": 2, "files": {}}'),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_removed_and_the_one_before_is_resumed(tmp_path: Path, what: str) -> None:
    save(tmp_path, 2)
    DAMAGE[what](save(tmp_path, 4))
    found = recover(tmp_path)
    assert (found.step, found.removed) == (2, ("global_step_4",))
    assert pointer(tmp_path) == "2"
    assert names(tmp_path) == ["global_step_2", POINTER]


@pytest.mark.parametrize("text", ["", "1", "99", "x", None])
def test_a_pointer_that_is_torn_missing_or_wrong_is_written_anew(tmp_path: Path, text: str | None) -> None:
    save(tmp_path, 8)
    save(tmp_path, 10)
    (tmp_path / POINTER).unlink()
    if text is not None:
        (tmp_path / POINTER).write_text(text)
    assert recover(tmp_path).step == 10
    assert pointer(tmp_path) == "10"


def test_without_a_good_checkpoint_the_run_starts_over(tmp_path: Path) -> None:
    save(tmp_path, 2, sealed=False)
    assert recover(tmp_path).step is None
    assert names(tmp_path) == []


def test_a_run_that_never_saved_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path / "checkpoints").step is None
    assert not (tmp_path / "checkpoints").exists()


def test_only_folders_of_the_pattern_are_ever_removed(tmp_path: Path) -> None:
    save(tmp_path, 2, sealed=False)
    for name in ("global_step_x", "global_step_2_mine", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "global_step_7").write_text("a file")
    recover(tmp_path)
    assert names(tmp_path) == ["global_step_2_mine", "global_step_7", "global_step_x", "notes"]


def test_a_link_to_a_folder_elsewhere_is_unlinked_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    save(elsewhere, 2, sealed=False)
    root = tmp_path / "root"
    root.mkdir()
    (root / "global_step_2").symlink_to(elsewhere / "global_step_2")
    recover(root)
    assert names(root) == []
    assert (elsewhere / "global_step_2" / "data.pt").exists()


def test_a_folder_that_is_not_the_runs_own_is_only_pointed_into(tmp_path: Path) -> None:
    save(tmp_path, 2)
    save(tmp_path, 4, sealed=False)
    assert recover(tmp_path, remove=False) == checkpoints.Recovery(step=2, removed=())
    assert names(tmp_path) == ["global_step_2", "global_step_4", POINTER]
    assert pointer(tmp_path) == "2"


def test_rotation_counts_whole_checkpoints_and_orders_them_by_number(tmp_path: Path) -> None:
    for step in (8, 9, 10):
        save(tmp_path, step)
    save(tmp_path, 11, sealed=False)
    checkpoints.rotate(tmp_path, 2)
    assert names(tmp_path) == ["global_step_10", "global_step_11", "global_step_9", POINTER]
    checkpoints.rotate(tmp_path, 0)
    assert complete_steps(tmp_path) == (10,)


def test_a_run_that_starts_over_leaves_no_later_checkpoint_to_be_taken_for_its_own(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        save(tmp_path, step)
    checkpoints.remove_after(tmp_path, 4)
    assert complete_steps(tmp_path) == (2, 4)


def test_the_best_outlives_rotation_and_gives_way_to_a_better_one(tmp_path: Path) -> None:
    best = tmp_path / "best"
    for step in (2, 4):
        checkpoints.keep_best(save(tmp_path, step), best)
        checkpoints.remove_checkpoint(checkpoint_folder(tmp_path, step))
        assert names(best) == [f"global_step_{step}"]
        assert checkpoints.find(step, tmp_path, best) == checkpoint_folder(best, step)


def test_keeping_the_best_takes_no_space_and_twice_is_once(tmp_path: Path) -> None:
    folder = save(tmp_path, 2)
    for _ in range(2):
        kept = checkpoints.keep_best(folder, tmp_path / "best")
    assert (kept / "actor" / "model.pt").samefile(folder / "actor" / "model.pt")
    assert names(tmp_path / "best") == ["global_step_2"]


def test_without_hard_links_the_best_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    kept = checkpoints.keep_best(save(tmp_path, 2), tmp_path / "best")
    assert checkpoints.is_complete(kept)
    assert not (kept / "data.pt").samefile(checkpoint_folder(tmp_path, 2) / "data.pt")


def test_a_failed_save_says_what_is_left_and_frees_its_space(tmp_path: Path) -> None:
    save(tmp_path, 2)
    save(tmp_path, 4, sealed=False)
    error = checkpoints.save_failure(OSError(28, "No space left on device"), tmp_path, 4)
    assert str(error) == (
        f"no space left in {tmp_path} for the checkpoint of step 4; the last good checkpoint is step 2; "
        "free space and run the same command again"
    )
    assert names(tmp_path) == ["global_step_2", POINTER]
    assert pointer(tmp_path) == "2"


def test_a_save_that_fails_for_another_reason_is_not_called_a_full_disk(tmp_path: Path) -> None:
    error = checkpoints.save_failure(ValueError("no such layer"), tmp_path, 4)
    assert "space" not in str(error)
    assert "no such layer" in str(error)
    assert "no good checkpoint yet" in str(error)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte, where that may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs privileges")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("writer", ["torch", "safetensors", "python"])
def test_a_disk_that_becomes_full_while_saving_costs_only_the_new_checkpoint(small_disk: Path, writer: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    tensors = {"weight": torch.zeros(1000, 1000)}
    writers: dict[str, Callable[[Path], object]] = {
        "torch": lambda file: torch.save(tensors, file),
        "safetensors": lambda file: save_file(tensors, file),
        "python": lambda file: file.write_bytes(bytes(4_000_000)),
    }
    save(small_disk, 2)
    folder = save(small_disk, 4, sealed=False)
    with pytest.raises(Exception) as raised:
        writers[writer](folder / "actor" / "optim.pt")
    error = checkpoints.save_failure(raised.value, small_disk, 4)
    assert str(error).startswith("no space left in ")
    assert complete_steps(small_disk) == (2,)
    assert pointer(small_disk) == "2"
    del raised  # torch's traceback holds the removed file open
    save(small_disk, 4)  # there is space again
    assert recover(small_disk).step == 4


def test_sealing_on_a_full_disk_leaves_no_half_a_manifest(small_disk: Path) -> None:
    folder = save(small_disk, 2, sealed=False)
    with pytest.raises(OSError):
        (folder / "filler").write_bytes(bytes(4_000_000))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.seal(folder)
    assert not [path for path in folder.iterdir() if MANIFEST in path.name]
