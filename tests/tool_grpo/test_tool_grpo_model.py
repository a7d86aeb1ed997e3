"""The tiny model is made once for a file, its lessons and its habits."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("transformers")

from env_tuning.model.warm_start import WarmStart
from env_tuning.tool_grpo.demonstrations import Habits
from env_tuning.tool_grpo.model import tiny_model
from env_tuning.tool_grpo.offline import assistant_conversations


def test_the_tiny_model_is_made_of_a_file_once(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in assistant_conversations(pairs=0)[:6]))
    lessons = (WarmStart(steps=2, batch_size=2, threads=1), WarmStart(steps=1, batch_size=2, threads=1))
    config = {"protocol": "hermes", "tool_listing": "signatures"}
    made = tiny_model(tmp_path / "cache", file, config, settings=lessons, variants=2)
    assert tiny_model(tmp_path / "cache", file, config, settings=lessons, variants=2) == made
    assert tiny_model(tmp_path / "cache", file, config, settings=lessons, variants=2, habits=Habits(evade=0.1)) != made
    assert len(list((tmp_path / "cache").glob("embedded-*"))) == 2
