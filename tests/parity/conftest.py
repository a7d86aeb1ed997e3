"""The official package, for every test of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
from official import install_official


@pytest.fixture(scope="session")
def official() -> Path:
    """The official package in a folder of its own, installed once."""
    return install_official()
