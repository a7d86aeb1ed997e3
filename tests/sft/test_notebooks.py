"""The notebooks: committed without outputs, and they run from the first cell to the last."""

import ast
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "recipes" / "sft" / "notebooks"
NAMES = ("train", "compare")
SECONDS = 900


def cells(name):
    return [cell for cell in json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]


def test_no_notebook_is_forgotten():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_without_outputs_and_can_be_read(name):
    for cell in cells(name):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), "clear the outputs before you commit"
        ast.parse("".join(cell["source"]))
    assert [cell for cell in cells(name) if cell["metadata"].get("tags") == ["parameters"]]


def executed(name, parameters):
    """The texts that a notebook prints, with other lines in its cell of parameters."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (pip install -e '.[notebooks]')")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (pip install -e '.[notebooks]')")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install -e '.[notebooks]')")
    import nbformat

    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (first,) = [cell for cell in book.cells if cell.metadata.get("tags") == ["parameters"]]
    assigned = {target.id for node in ast.parse(first.source).body if isinstance(node, ast.Assign)
                for part in node.targets for target in ast.walk(part) if isinstance(target, ast.Name)}  # fmt: skip
    assert assigned == set(parameters), "the cell of parameters sets other names"
    first.source = "from pathlib import Path\n" + "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    first.source = first.source.replace("PosixPath", "Path")
    nbclient.NotebookClient(book, timeout=SECONDS, kernel_name="python3").execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_the_notebooks_run_and_the_loss_falls(tmp_path, monkeypatch):
    monkeypatch.delenv("MODEL", raising=False)
    settings = ["epochs=6", "size=nano", "batch_size=8", "threads=1", "learning_rate=0.01"]
    printed = executed("train", {"FOLDER": tmp_path, "ROWS": 40, "TEST_ROWS": 5, "SETTINGS": settings})
    (line,) = [line for line in printed.splitlines() if line.startswith("loss: ")]
    first, last = (float(part.split()[0]) for part in line.removeprefix("loss: ").split(", "))
    assert last < first / 2
    compared = executed("compare", {"FOLDER": tmp_path, "LONGEST": 24})
    assert "all rows: selection" in compared and compared.count("user> ") == 4
