"""The documentation as data: its pages, and the shell commands and Python modules on them.

Owns: which files are documentation, and how a block of shell lines splits into commands. Refuses: running anything.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
TEN = ("start", "concepts", "data", "stages", "rewards", "environments", "augmentation", "evaluation", "clusters",
       "troubleshooting")  # fmt: skip
"""The pages people read, in their order."""
RECORDS = ("benchmarks", "parity")
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
PAGES = (PROJECT / "README.md", *sorted(DOCS.glob("*.md")), *REFERENCE)
"""Pages whose commands are tested."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MODULE = re.compile(r"`(\w+)\.py`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, empty for none, and its text."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(language=language, text=body) for language, body in _FENCE.findall(text)]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def modules(page: Path) -> dict[str, str]:
    """Module name to code, of the blocks that are introduced as a file."""
    return dict(_MODULE.findall(page.read_text(encoding="utf-8")))


def command_lines(page: Path) -> list[str]:
    """Every command line of a page's shell blocks, continued lines joined and comments off."""
    found = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "bash":
            lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
            found += [re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines]
    return [line for line in found if line]


def documented() -> dict[str, list[str]]:
    """Every command line of the documentation, with the names of the pages it stands on."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for line in command_lines(page):
            found.setdefault(line, []).append(page.name)
    return found


@dataclass(frozen=True, kw_only=True)
class Command:
    """One program's call: the variables before it, and its words."""

    variables: dict[str, str]
    words: list[str]


def commands(line: str) -> list[Command]:
    """The commands that a line chains with ``&&``; other operators are not understood.

    Raises:
        ValueError: an operator, such as a pipe.
    """
    found = []
    for part in line.split("&&"):
        words = shlex.split(part)
        variables = {}
        while words and (assigned := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])):
            variables[assigned[1]] = assigned[2]
            words = words[1:]
        if not words or {"|", ";", ">", "<", "&", "||"} & set(words):
            raise ValueError(f"not a chain of plain commands: {line}")
        found.append(Command(variables=variables, words=words))
    return found
