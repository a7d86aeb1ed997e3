"""Nothing of the package reads a pickle: files that others may have written are data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
READERS = frozenset({"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve"})


def pickles(source: str) -> Iterator[int]:
    """The lines that import a reader of pickles, or load with one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (node.lineno for name in node.names if name.name.partition(".")[0] in READERS)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in READERS:
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = {item.arg: item.value for item in node.keywords}
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            weights = (owner, node.func.attr) == ("torch", "load") and not _is(named.get("weights_only"), True)
            allowed = "allow_pickle" in named and not _is(named["allow_pickle"], False)
            if weights or allowed or node.func.attr == "read_pickle":
                yield node.lineno


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("folder", ["env_tuning", "recipes", "scripts", "bench"])
def test_nothing_reads_a_pickle(folder: str) -> None:
    files = sorted((PROJECT / folder).rglob("*.py"))
    assert files
    found = [f"{file.name}:{line}" for file in files for line in pickles(file.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from dill import loads",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "numpy.load(file, allow_pickle=True)",
    ],
)
def test_it_would_be_noticed(line: str) -> None:
    assert list(pickles(line)) == [1]
