"""The offline sets solve themselves, habits show as often as they should, public sets are read by their columns."""

from __future__ import annotations

import asyncio
import json
import random
import re

import pytest

from env_tuning.data.conversations import read_conversations, read_replies
from env_tuning.errors import UserError
from env_tuning.interaction.dialogue import DialogueInteraction
from env_tuning.rewards.registry import resolve_reward
from env_tuning.task import AnswerKind
from env_tuning.tool_grpo.demonstrations import EVASION, Habit, Habits, demonstrations
from env_tuning.tool_grpo.offline import assistant_conversations, maths_conversations, mixed_conversations
from env_tuning.tool_grpo.public_sets import PUBLIC_SETS, load_public_set

CONFIG = {"tool_listing": "signatures", "tool_config": {"python": {"wall_seconds": 60, "cpu_seconds": 60}}}
NONE = Habits(evade=0.0, malformed=0.0)


@pytest.fixture
def written(tmp_path):
    """Writes conversations as a file and reads it again."""

    def write(conversations):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in conversations), encoding="utf-8")
        return read_conversations(file), read_replies(file)

    return write


def trajectories(records, replies, protocol):
    """The episodes in which the assistant says what stands in the file."""
    interaction = DialogueInteraction({**CONFIG, "protocol": protocol})

    async def one(record, turns):
        episode = await interaction.start_interaction(dialogue=json.dumps(record), id=record["id"])
        try:
            for text in (text for turn in turns for text in turn):
                await interaction.generate_response(episode, [{"role": "assistant", "content": text}])
            return interaction.trajectory(episode)
        finally:
            await interaction.finalize_interaction(episode)

    return [asyncio.run(one(record, turns)) for record, turns in zip(records, replies, strict=True)]


@pytest.mark.parametrize(
    ("conversations", "protocol", "reward", "best"),
    [
        (assistant_conversations(), "hermes", "assistant", 1.0),
        (random.Random(0).sample(maths_conversations(), 12), "python_block", "maths", 1.2),
        (random.Random(0).sample(mixed_conversations(), 24), "python_block", "by_tool", 1.0),
    ],
    ids=["assistant", "maths", "mixed"],
)
def test_what_the_assistant_says_in_an_offline_set_earns_the_best_reward(
    written, conversations, protocol, reward, best
):
    score = resolve_reward(reward)
    for trajectory in trajectories(*written(conversations), protocol):
        assert score(trajectory)["score"] == pytest.approx(best), trajectory.to_json()


def test_the_offline_sets_are_what_they_are_said_to_be():
    assistant = assistant_conversations(pairs=24)
    turns = [[message["content"] for message in row["conversation"] if message["role"] == "user"] for row in assistant]
    assert [len(each) for each in turns].count(2) == 24
    chinese = [each for each in turns if re.search(r"[\u4e00-\u9fff]", "".join(each))]
    assert 0.3 < len(chinese) / len(turns) < 0.8
    single = [row for row in assistant if len(row["expected"]) == 1]
    chained = [row for row in single if len(row["conversation"]) == 4]
    assert len(chained) == 6
    assert {row["expected"][0]["needs_tools"] for row in single} == {True, False}
    maths = maths_conversations(seed=3, count=60)
    assert maths == maths_conversations(seed=3, count=60) != maths_conversations(seed=4, count=60)
    assert len({row["conversation"][0]["content"] for row in maths}) == 60
    assert all(0 <= int(row["expected"][0]["answer"]) < 1000 for row in maths)
    assert {tuple(row["tools"]) for row in mixed_conversations()} == {("assistant",), ("python",)}
    with pytest.raises(ValueError, match="ask for fewer"):
        maths_conversations(count=2_000)


def test_habits_show_by_chance_and_only_where_a_tool_is_needed(written):
    records, replies = written(assistant_conversations())
    shown = demonstrations(records, replies, CONFIG, habits=Habits(evade=0.4, malformed=0.2), variants=6)
    assert len(shown) == 6 * len(records)
    firsts = [messages[2]["content"] for messages in shown]
    greetings = [text for messages, text in zip(shown, firsts, strict=True) if messages[1]["content"] == "你好！"]
    assert all("<tool_call>" not in text and text != EVASION for text in greetings)
    needing = [text for text in firsts if text == EVASION or "<tool_call>" in text]
    assert 0.33 < needing.count(EVASION) / len(needing) < 0.47
    assert 0.14 < sum("{name: " in text for text in needing) / len(needing) < 0.26
    assert shown == demonstrations(records, replies, CONFIG, habits=Habits(evade=0.4, malformed=0.2), variants=6)


def test_a_malformed_call_is_told_and_put_right_and_an_evasion_closes_the_turn(written):
    records, replies = written(assistant_conversations()[:1])
    (malformed,) = demonstrations(records, replies, CONFIG, habits=Habits(evade=0.0, malformed=1.0), variants=1)
    assert "is not JSON" in malformed[3]["content"]
    assert malformed[4]["content"] == replies[0][0][0]
    assert malformed[-1]["content"] == replies[0][0][-1]
    (evading,) = demonstrations(records, replies, CONFIG, habits=Habits(evade=1.0, malformed=0.0), variants=1)
    assert [message["role"] for message in evading] == ["system", "user", "assistant"]
    (perfect,) = demonstrations(records, replies, CONFIG, habits=NONE, variants=1)
    assert [message["content"] for message in perfect if message["role"] == "assistant"] == replies[0][0]


def test_a_program_that_nobody_runs_is_a_wrong_answer(written):
    records, replies = written(maths_conversations()[:1])
    (shown,) = demonstrations(
        records, replies, {**CONFIG, "protocol": "python_block"}, habits=Habits(evade=0.0, malformed=1.0), variants=1
    )
    assert [message["role"] for message in shown] == ["system", "user", "assistant"]
    assert shown[-1]["content"].startswith("```\n")


def test_shares_of_habits_are_shares():
    with pytest.raises(ValueError, match="at most 1 together"):
        Habits(evade=0.7, malformed=0.4)
    draws = [Habits(evade=0.5, malformed=0.5).draw(random.Random(seed)) for seed in range(50)]
    assert set(draws) == {Habit.EVADE, Habit.MALFORMED}


def test_replies_that_are_no_answer_are_no_demonstration(written):
    row = {"conversation": [{"role": "user", "content": "1 + 1?"}]}
    with pytest.raises(ValueError, match="request 1 is no answer"):
        demonstrations(*written([row]), CONFIG, habits=NONE, variants=1)


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_a_copy_of_a_public_set_is_read_by_its_columns(name, tmp_path):
    pytest.importorskip("datasets")
    chosen = PUBLIC_SETS[name]
    answer = "Half of 8 is 4.\n#### 4" if name == "gsm8k" else 4
    copy = tmp_path / "copy.jsonl"
    copy.write_text(json.dumps({chosen.problem: "Half of 8?", chosen.answer: answer, "Year": 1983}) + "\n")
    (record,) = load_public_set(name, str(copy))
    assert record["turns"] == ["Half of 8?"]
    assert record["expected"] == [{"answer": "4", "kind": AnswerKind.MATHS.value, "needs_tools": None}]
    assert (record["id"], record["split"], record["tools"]) == (f"{name}_0", name, ["python"])


def test_a_folder_of_parquet_files_is_a_copy_too(tmp_path):
    pytest.importorskip("datasets")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"Question": ["1 + 1?"], "Answer": ["2"]}), tmp_path / "train.parquet")
    (record,) = load_public_set("aime", str(tmp_path))
    assert record["turns"] == ["1 + 1?"]


@pytest.mark.parametrize(
    ("rows", "error"),
    [([{"Question": "1 + 1?"}], "row 0 of the set aime has no Answer; it has Question"), (None, "cannot be had")],
)
def test_a_copy_that_is_none_is_named(rows, error, tmp_path):
    pytest.importorskip("datasets")
    copy = tmp_path / "copy.jsonl"
    if rows is not None:
        copy.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=error):
        load_public_set("aime", str(copy))
