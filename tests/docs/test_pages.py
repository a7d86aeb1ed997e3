"""The documentation hangs together: ten pages, short, with links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documented import DOCS, PAGES, PROJECT, RECORDS, TEN, blocks, prose

WORDS = 720
"""Of a page that people read, its code blocks not counted."""
LINKED = sorted({
    *PAGES, *PROJECT.glob("*.md"), *PROJECT.glob("recipes/**/*.md"), PROJECT / "processed_data" / "README.md"
})  # fmt: skip
NAMING = sorted({
    *PROJECT.glob("env_tuning/**/*.py"), *PROJECT.glob("bench/*.py"), *PROJECT.glob("*.md"),
    *PROJECT.glob("configs/**/*.yaml"), *PROJECT.glob("scripts/*"), *PROJECT.glob("recipes/**/*.*"),
})  # fmt: skip
"""Files that may name a page as docs/NAME.md."""


def name(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def anchors(text: str) -> set[str]:
    """What links to headings of a page may end in."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken(page: Path, root: Path = PROJECT) -> list[str]:
    """The links of a page into its project that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not (target.is_relative_to(root) and target.exists()) or (
            anchor and anchor not in anchors(target.read_text(encoding="utf-8"))
        ):
            found.append(link)
    return found


def test_there_are_ten_pages_beside_the_records():
    assert len(TEN) == 10
    assert {page.stem for page in DOCS.glob("*.md")} == {*TEN, *RECORDS}


@pytest.mark.parametrize("page", TEN)
def test_a_page_is_short_and_the_readme_leads_to_it(page):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert len(prose(text).split()) <= WORDS, "move details to docs/reference"
    assert f"](docs/{page}.md)" in (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Here, `it` is\n[a](#here-it-is) [b](#gone) [c](gone.md) [d](../out.md) [e](page.md#here-it-is)")
    (tmp_path.parent / "out.md").touch()
    assert broken(page, tmp_path) == ["#gone", "gone.md", "../out.md"]


def test_every_reference_page_is_reachable_from_the_ten():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in (DOCS / f"{page}.md" for page in TEN)
        for link in re.findall(r"\]\(([^)\s:]+)\)", page.read_text(encoding="utf-8"))
    }
    assert [name(page) for page in PAGES if page.parent.name == "reference" and page not in linked] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_stand_in_blocks_where_the_tests_find_them(page):
    text = page.read_text(encoding="utf-8")
    assert {block.language for block in blocks(text)} <= {"", "bash", "python", "json", "yaml"}
    plain = [line for block in blocks(text) if not block.language for line in block.text.splitlines()]
    indented = re.findall(r"^(?: {4}|\t)(.*)$", prose(text), re.MULTILINE)
    shell = re.compile(r"\s*(\$ |(\w+=\S+ )*(env-tuning|bash|sh|make|python3?|pip|ray|sbatch|torchrun|source|cd) )")
    assert [line for line in (*plain, *indented) if shell.match(line)] == []


def test_no_paragraph_stands_on_two_pages():
    seen: dict[str, str] = {}
    double = []
    for page in PAGES:
        for paragraph in re.split(r"\n\s*\n", prose(page.read_text(encoding="utf-8"))):
            words = " ".join(paragraph.split())
            if len(words.split()) > 15 and seen.setdefault(words, page.name) != page.name:
                double.append((seen[words], page.name, words[:60]))
    assert double == []


def test_pages_that_code_names_exist():
    gone = [
        f"{name(file)}: {page}"
        for file in NAMING
        if file.is_file()
        for page in re.findall(r"\bdocs/[\w/]+\.md", file.read_text(encoding="utf-8", errors="ignore"))
        if not (PROJECT / page).is_file()
    ]
    assert [line for line in gone if not line.startswith("CHANGELOG.md")] == []
