"""The examples of docs/rewards.md do what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from letters import episode

from env_tuning.rewards.registry import REWARDS, resolve_reward
from env_tuning.rewards.score import Score

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "rewards.md").read_text(encoding="utf-8")
DIALOGUES = (DOCS / "reference" / "dialogues.md").read_text(encoding="utf-8")


def test_the_example_of_an_own_reward_pays_turns_and_charges_the_episode() -> None:
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0], names)
    score = names["careful"](episode("cacal", "10", turns=3))
    assert isinstance(score, Score)
    assert score.turns == (1.0, -0.2, 0.0)
    assert dict(score) == pytest.approx({"score": 0.75, "cost": 0.05})


def test_every_reward_is_in_the_table_and_every_example_is_one() -> None:
    for name in REWARDS:
        assert f"`{name}`" in TEXT + DIALOGUES
    examples = re.findall(r'env_tuning\.reward=(?:"([^"]*)"|(\S+))', TEXT)
    assert len(examples) == 3
    for quoted, plain in examples:
        if "my_rewards" not in plain:
            assert resolve_reward(quoted or plain)(episode("ca", "1", turns=1))["score"] > 0


def test_the_papers_baseline_goes_to_one_and_the_sum_with_format_to_eleven_tenths() -> None:
    perfect = episode("cacaca", "111")
    assert resolve_reward("0.9 progress + 0.1 well_formed")(perfect)["score"] == pytest.approx(1.0)
    assert resolve_reward("0.9 progress + 0.1 format")(perfect)["score"] == pytest.approx(1.1)
