"""Dialogues: judged by answers, limits counted, tools chosen by rows, and nobody held up by a waiting tool."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from env_tuning.calls import ToolCall
from env_tuning.data.conversations import read_conversations, write_dialogues
from env_tuning.errors import UserError
from env_tuning.interaction.dialogue import DialogueInteraction, task_of
from env_tuning.protocols import Hermes, PythonBlock
from env_tuning.trajectory import LimitHit, StepOutcome, StopReason, Trajectory, TurnFailure

SPEAK = Hermes()
SUM = {
    "id": "sum",
    "turns": ["25 * 37 等于多少？"],
    "tools": ["assistant"],
    "expected": [{"answer": "925", "kind": "number", "needs_tools": True}],
}


def write(*calls: tuple[str, dict[str, Any]]) -> str:
    return SPEAK.write_calls([ToolCall(name=name, arguments=arguments) for name, arguments in calls])


async def play(record: dict[str, Any], *messages: str, **config: Any) -> tuple[Trajectory, list[str]]:
    interaction = DialogueInteraction(config)
    episode = await interaction.start_interaction(dialogue=json.dumps(record), id=record["id"])
    shown = [message["content"] for message in interaction.opening_messages(episode, [])]
    try:
        for message in messages:
            over, content, _, _ = await interaction.generate_response(
                episode, [{"role": "assistant", "content": message}]
            )
            shown.append(content)
            if over:
                break
        return interaction.trajectory(episode), shown
    finally:
        await interaction.finalize_interaction(episode)


def test_a_tool_and_then_the_right_answer():
    calculate = write(("calculator", {"expression": "25 * 37"}))
    trajectory, shown = asyncio.run(play(SUM, calculate, "25 * 37 等于 925。"))
    assert "calculator" in shown[0]
    assert shown[1] == "25 * 37 等于多少？"
    assert shown[2] == "<tool_result>\n工具: calculator\n结果: 925\n</tool_result>"
    assert [step.outcome for step in trajectory.steps] == [StepOutcome.CALLS_OK, StepOutcome.ANSWER]
    assert trajectory.steps[-1].answer == "25 * 37 等于 925。"
    assert trajectory.verdicts[0].correct
    assert trajectory.stop is StopReason.COMPLETED
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


@pytest.mark.parametrize(
    ("messages", "failure"),
    [
        (["等于 926。"], TurnFailure.WRONG_ANSWER),
        ([""], TurnFailure.WRONG_ANSWER),
        (["可能是 921, 922, 923, 924 或 925"], TurnFailure.WRONG_ANSWER),
        (["925"], None),
        ([write(("calculator", {"expression": "1"}))] * 5, TurnFailure.NO_ANSWER),
    ],
)
def test_the_answer_decides(messages, failure):
    trajectory, _ = asyncio.run(play(SUM, *messages))
    assert trajectory.verdicts[0].failure is failure


def test_every_limit_is_counted():
    four = write(*[("calculator", {"expression": f"{n} + {n}"}) for n in range(4)])
    trajectory, shown = asyncio.run(play(SUM, *[four] * 6))
    assert len(trajectory.steps) == 5
    first, last = trajectory.steps[0], trajectory.steps[-1]
    assert first.limits == (LimitHit.CALLS_PER_STEP,)
    assert last.limits == (LimitHit.CALLS_PER_STEP, LimitHit.STEPS_PER_TURN)
    assert [call.result for call in first.calls] == ["0", "2", "4", None]
    assert "Not run: at most 3 calls run in one message." in shown[2]
    assert trajectory.verdicts[0].forced
    wider, _ = asyncio.run(play(SUM, *[four] * 6, rules={"steps_per_turn": 2, "calls_per_step": 4}))
    assert len(wider.steps) == 2
    assert wider.steps[0].limits == ()


def test_calls_that_cannot_be_read_or_run_are_answered():
    trajectory, shown = asyncio.run(
        play(SUM, "<tool_call>{broken</tool_call>", write(("calc", {}), ("calculator", {})), "925")
    )
    assert "is not JSON" in shown[2]
    assert "unknown tool: calc" in shown[3]
    assert "'expression' is a required property" in shown[3]
    outcomes = [StepOutcome.FORMAT_ERROR, StepOutcome.CALLS_FAILED, StepOutcome.ANSWER]
    assert [step.outcome for step in trajectory.steps] == outcomes


def test_several_turns_are_judged_one_by_one():
    record = {
        "id": "two",
        "turns": ["长城有多长？", "谢谢！"],
        "expected": [{"answer": "21196", "kind": "number", "needs_tools": True}, None],
    }
    trajectory, shown = asyncio.run(play(record, write(("search", {"query": "长城"})), "约21196千米。", "不客气！"))
    assert shown[3] == "谢谢！"
    assert [verdict.correct for verdict in trajectory.verdicts] == [True, True]
    assert trajectory.turns == 2


def test_rows_choose_their_tools_and_their_settings():
    record = {"id": "p", "turns": ["2 ** 10?"], "tools": ["python"], "expected": [{"answer": "1024", "kind": "maths"}]}
    speak = PythonBlock()
    program = speak.write_calls([ToolCall(name="python", arguments={"code": "x = 2 ** 10\nprint(x)"})])
    again = speak.write_calls([ToolCall(name="python", arguments={"code": "x + 1"})])
    config = {"protocol": "python_block", "tool_config": {"python": {"kept": True, "wall_seconds": 60}}}
    trajectory, shown = asyncio.run(play(record, program, again, "It is \\boxed{1024}.", **config))
    assert "python(" not in shown[0]
    assert shown[2:4] == ["```output\n1024\n```", "```output\n1025\n```"]
    assert trajectory.verdicts[0].correct
    forgetful, _ = asyncio.run(
        play(record | {"tool_config": {"python": {"kept": False, "wall_seconds": 60}}}, program, again, **config)
    )
    assert "NameError" in (forgetful.steps[1].calls[0].result or "")


def test_a_waiting_program_holds_up_no_other_episode():
    """The loop's own work is done while a program runs: the quick episode is over before the slow one's first step."""
    slow = {"id": "s", "turns": ["?"], "tools": ["python"]}
    forever = SPEAK.write_calls([ToolCall(name="python", arguments={"code": "while True: pass"})])
    order: list[str] = []

    async def both() -> None:
        async def named(name: str, playing: Any) -> None:
            await playing
            order.append(name)

        await asyncio.gather(
            named("slow", play(slow, forever, "I give up.", tool_config={"python": {"wall_seconds": 1}})),
            named("quick", play(SUM, write(("calculator", {"expression": "1"})), "925")),
        )

    asyncio.run(both())
    assert order == ["quick", "slow"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"tool": ["assistant"]}, "unknown interaction keys"),
        ({"tools": ["calendar"]}, "unknown tool class"),
        ({"rules": {"turns": 5}}, "unknown rules keys"),
    ],
)
def test_a_wrong_configuration_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        DialogueInteraction(config)


def test_conversations_become_rows_and_tasks(tmp_path):
    file = tmp_path / "sample.jsonl"
    file.write_text(
        '{"conversation": [{"role": "user", "content": "帮我计算一下 25 * 37 等于多少？"}]}\n\n'
        '{"id": "b", "conversation": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, '
        '{"role": "user", "content": "c"}], "expected": [null, {"needs_tools": false}], "source": "me"}\n'
        '{"conversation": [{"role": "user", "content": "2 + 2?"}], "answer": 4, "kind": "number", '
        '"tools": ["python"]}\n',
        encoding="utf-8",
    )
    first, second, third = read_conversations(file)
    assert first == {"id": "sample_0", "turns": ["帮我计算一下 25 * 37 等于多少？"]}
    assert second["turns"] == ["a", "c"]
    assert task_of(second).expected[1].needs_tools is False
    assert task_of(third).expected[0].answer == "4"
    assert [tool.name for tool in task_of(third).tools] == ["python"]

    rows = tmp_path / "rows.parquet"
    assert write_dialogues([first, second, third], rows, split="train") == 3
    import pyarrow.parquet as pq

    kwargs = pq.read_table(rows).column("extra_info").to_pylist()[0]["interaction_kwargs"]
    assert DialogueInteraction({}).read_task(kwargs).user_turns == ("帮我计算一下 25 * 37 等于多少？",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "sample.jsonl:1: JSONDecodeError"),
        ("[]", "a line is"),
        ('{"conversation": []}', "no user message"),
        ('{"conversation": [{"role": "user", "content": " "}]}', "empty one"),
        ('{"conversation": [{"role": "user", "content": "a"}], "answer": "1", "kind": "guess"}', "guess"),
        ('{"conversation": [{"role": "user", "content": "a"}], "tools": ["calendar"]}', "unknown tool class"),
        ('{"conversation": [{"role": "user", "content": "a"}], "expected": [null, null]}', "stand for every turn"),
        (
            '{"conversation": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "answer": "1"}',
            "single turn",
        ),
        ("", "has no conversation"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, said):
    file = tmp_path / "sample.jsonl"
    file.write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_conversations(file)
