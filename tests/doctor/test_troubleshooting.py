"""The page names every rule, and no rule that there is not."""

import re
from pathlib import Path

from env_tuning.doctor.examine import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_the_table_has_all_rules():
    cells = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| ") and "`" in line.split("|")[2]]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named == {*RULES, "files", "registered"}
