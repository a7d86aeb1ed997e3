"""The Python on the pages runs: here, or in the test of the room that it shows."""

from __future__ import annotations

import pyarrow.parquet as pq
from documented import PAGES, PROJECT, blocks

RUN_BY = {
    "environments.md": "tests/test_new_environment.py",
    "rewards.md": "tests/rewards/test_docs.py",
    "augmentation.md": "tests/augmentation/test_hint_docs.py",
    "dialogues.md": "tests/docs/test_python_blocks.py",
}


def test_pages_with_python_have_a_test_that_reads_them():
    with_python = {
        page.name for page in PAGES for block in blocks(page.read_text(encoding="utf-8")) if block.language == "python"
    }
    assert with_python == RUN_BY.keys()
    for page, test in RUN_BY.items():
        assert f'"{page}"' in (PROJECT / test).read_text(encoding="utf-8")


def test_the_dialogues_of_the_page_become_rows(tmp_path, monkeypatch):
    page = (PROJECT / "docs" / "reference" / "dialogues.md").read_text(encoding="utf-8")
    (lines,) = (block.text for block in blocks(page) if block.language == "json")
    (code,) = (block.text for block in blocks(page) if block.language == "python")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.jsonl").write_text(lines, encoding="utf-8")
    exec(code, {})
    rows = pq.read_table(tmp_path / "train.parquet").to_pylist()
    assert len(rows) == len(lines.splitlines()) == 3
    assert {row["extra_info"]["split"] for row in rows} == {"train"}
