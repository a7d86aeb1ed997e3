"""The page on new environments: its code is run through check, play, an episode and the interaction."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from env_tuning.contract import Subject, check
from env_tuning.data.demonstrations import demonstration
from env_tuning.environments.scenario import tasks_of
from env_tuning.interaction.multi_turn import MultiTurnToolInteraction

PAGE = (Path(__file__).parents[1] / "docs" / "environments.md").read_text(encoding="utf-8")
CLASSES = {"garage": "Garage", "library": "Library"}


def modules() -> dict[str, str]:
    """Module name to code, from the page."""
    return dict(re.findall(r"^`(\w+)\.py`:\n\n```python\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the page's modules, as an author's working folder."""
    for name, code in modules().items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(command: str, folder: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    words = shlex.split(command.replace("env-tuning", f"{shlex.quote(sys.executable)} -m env_tuning.cli"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(words, cwd=folder, input=typed, capture_output=True, text=True, check=False, env=environment)


def test_the_page_promises_fifteen_lines_and_twenty_five_with_user_turns():
    lengths = {name: sum(bool(line.strip()) for line in code.splitlines()) for name, code in modules().items()}
    assert lengths.keys() == CLASSES.keys()
    assert lengths["garage"] <= 15
    assert lengths["library"] <= 25


@pytest.mark.parametrize(("module", "name"), CLASSES.items())
def test_the_classes_keep_every_rule_and_their_ground_truth_is_played(module, name, folder):
    tasks = tasks_of(f"{module}:{name}")
    assert tasks
    findings = check(Subject(name=f"{module}:{name}", tasks=tasks))
    assert [finding.rule for finding in findings if finding.problems] == []
    assert demonstration(tasks[0])[-1]["role"] == "assistant"


def test_the_rows_are_played_by_the_interaction_without_further_code(folder):
    assert run("env-tuning rows library:Library library.parquet", folder).returncode == 0
    import pyarrow.parquet as pq

    (row,) = pq.read_table(folder / "library.parquet").to_pylist()

    async def episode() -> float:
        interaction = MultiTurnToolInteraction({})
        instance = await interaction.start_interaction(**row["extra_info"]["interaction_kwargs"])
        for message in demonstration(tasks_of("library:Library")[0]):
            if message["role"] == "assistant":
                await interaction.generate_response(instance, [message])
        return await interaction.calculate_score(instance)

    assert asyncio.run(episode()) == 1.0
