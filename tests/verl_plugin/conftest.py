"""The folder of a toy run: model, training rows and validation rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    import toys

    toys.make_model(tmp_path / "model")
    toys.write_rows(tmp_path / "train.parquet", 8)
    toys.write_rows(tmp_path / "val.parquet", 2)
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)
