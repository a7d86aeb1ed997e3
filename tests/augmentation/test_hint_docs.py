"""The page on hints: its table is the measured one, its example works, its commands exist."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from hinting import hint_after, task_of
from typer.main import get_command

from env_tuning.augmentation.cli import app
from env_tuning.augmentation.coverage import table
from env_tuning.augmentation.rule_file import reviewed_rules
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.environments.tool_class import ToolClass

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "augmentation.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference" / "hints.md").read_text(encoding="utf-8")


def test_the_table_is_what_the_command_prints():
    assert table() in REFERENCE, "copy the output of env-tuning hints coverage into docs/reference/hints.md"


def test_every_policy_of_the_page_is_a_file_and_the_other_way_round():
    named = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert named == {file.stem for file in (ROOT / "configs" / "augmentation").iterdir()}


def test_the_example_of_an_own_class_hints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "hinted_garage.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import hinted_garage

    garage: type[ToolClass] = hinted_garage.Garage
    task = task_of("hinted_garage:Garage", {doc.name: doc for doc in tool_docs_of(garage)})
    result, hint = hint_after(task, ("leave", {"plate": "AB 12"}))
    assert result.text == '{"error": "No such car."}'
    assert (hint.rule, hint.text.startswith("Only a parked car")) == ("garage.leave.missing", True)
    assert hint_after(task, ("leave", {"number": "AB 12"}))[1].rule == "generic.unexpected_argument"
    del sys.modules["hinted_garage"]


def test_every_option_of_the_proposing_command_on_the_page_exists():
    section = REFERENCE.partition("## Proposals")[2].partition("\n## ")[0]
    command = get_command(app).commands["propose"]
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", section)) <= known


def test_the_entry_of_the_page_is_a_rule_once_it_is_reviewed(tmp_path: Path):
    (entry,) = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
    file = tmp_path / "garage_hints.yaml"
    file.write_text(entry, encoding="utf-8")
    assert reviewed_rules(file, "Garage", ("leave",)) == ()
    data = yaml.safe_load(entry)
    data["hints"][0]["reviewed"] = True
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    (rule,) = reviewed_rules(file, "Garage", ("leave",))
    assert rule.search('{"error": "No such car."}')
