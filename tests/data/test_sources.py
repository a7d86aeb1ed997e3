"""Reading and checking the benchmark's files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from env_tuning.data import sources
from env_tuning.data.sources import LONG_CONTEXT_FILE, SHA256, read_benchmark, read_long_context


@pytest.fixture
def unpacked(wheel: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked", members=list(SHA256))
    return tmp_path / "unpacked"


def test_a_folder_reads_like_the_wheel(wheel: Path, unpacked: Path):
    assert read_benchmark(unpacked) == read_benchmark(wheel) == read_benchmark(unpacked / "bfcl_eval")


def test_a_changed_file_is_named_with_both_hashes_and_the_fix_in_one_line(unpacked: Path):
    changed = "bfcl_eval/data/possible_answer/BFCL_v4_multi_turn_base.json"
    with (unpacked / changed).open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError) as caught:
        read_benchmark(unpacked)
    message = str(caught.value)
    assert "\n" not in message
    for part in (changed, SHA256[changed], "sha256 is", "env-tuning prepare --source"):
        assert part in message


def test_a_missing_file_is_named(unpacked: Path):
    (unpacked / LONG_CONTEXT_FILE).unlink()
    with pytest.raises(ValueError, match=f"{LONG_CONTEXT_FILE} cannot be read"):
        read_benchmark(unpacked)


def test_a_truncated_wheel_is_refused(wheel: Path, tmp_path: Path):
    broken = tmp_path / wheel.name
    broken.write_bytes(wheel.read_bytes()[:10_000])
    with pytest.raises(ValueError, match="neither a wheel nor a folder"):
        read_benchmark(broken)


def test_a_damaged_member_of_a_wheel_is_refused(wheel: Path, tmp_path: Path):
    content = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(wheel) as archive:
        start = archive.getinfo(next(iter(SHA256))).header_offset
    content[start + 1000 : start + 1100] = bytes(100)
    broken = tmp_path / wheel.name
    broken.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read|sha256 is"):
        read_benchmark(broken)


def test_a_source_that_does_not_exist_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="neither a wheel nor a folder"):
        read_benchmark(tmp_path / "nowhere.whl")


def test_the_long_context_module_is_never_run():
    with pytest.raises(ValueError, match="malformed node"):
        read_long_context("WATCH_LIST_EXTENSION = __import__('os').listdir('/')")


def test_a_failed_download_says_how_to_give_a_wheel_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "PACKAGE", "bfcl-eval --no-such-option")
    with pytest.raises(ValueError, match="env-tuning prepare --source"):
        sources.fetch_wheel(tmp_path)


def test_a_wheel_in_the_cache_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources.subprocess, "run", None)
    (tmp_path / sources.WHEEL).touch()
    assert sources.fetch_wheel(tmp_path) == tmp_path / sources.WHEEL
