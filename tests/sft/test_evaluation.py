"""The four measures, with models whose mistakes are known."""

import pytest

from env_tuning.protocols.hermes import Hermes
from env_tuning.sft.conversations import Conversation, calls_of
from env_tuning.sft.evaluation import (
    EDGE_CASES,
    Question,
    Reply,
    answer_edge_cases,
    evaluate,
    report_on,
    same_calls,
    side_by_side,
)
from env_tuning.sft.mixing import DOMAINS, DataSettings, generate


@pytest.fixture(scope="module")
def rows():
    return generate(DataSettings(domains=tuple(DOMAINS), rows=40, test_rows=1)).train


def written(message):
    calls = calls_of(message)
    return Reply(text=Hermes().write_calls(calls) if calls else message["content"], finished=True)


def perfect(rows, change=lambda reply, message: reply):
    """Answers with the rows' own messages, each changed."""
    known = {}
    for row in rows:
        for number, message in enumerate(row.messages):
            if message["role"] == "assistant":
                known[repr((row.messages[:number], row.tools))] = change(written(message), message)

    def speak(questions):
        nothing = Reply(text="", finished=True)
        return [known.get(repr((question.messages, question.tools)), nothing) for question in questions]

    return speak


def test_the_rows_own_messages_score_everything(rows):
    scores = evaluate(perfect(rows), rows)
    assert (scores.selection, scores.arguments, scores.format, scores.flow) == (1, 1, 1, 1)
    assert 0 < scores.chance < 0.5 and scores.conversations == len(rows)


def test_a_wrong_argument_costs_exactness_and_flow_but_no_selection(rows):
    def longer(reply, message):
        return Reply(text=reply.text.replace('"duration": ', '"duration": 1'), finished=True)

    scores = evaluate(perfect(rows, longer), rows)
    assert scores.selection == 1 and scores.format == 1
    assert scores.arguments < 1 and scores.flow < 1


def test_a_wrong_tool_costs_selection(rows):
    def other(reply, message):
        return Reply(text=reply.text.replace("Hardship", "Speak_With_An_Agent"), finished=True)

    scores = evaluate(perfect(rows, other), rows)
    assert scores.selection < 1 and scores.format == 1


@pytest.mark.parametrize(
    "broken",
    [
        lambda reply, message: Reply(text=reply.text, finished=False),
        lambda reply, message: Reply(text=reply.text.replace("</tool_call>", ""), finished=True),
        lambda reply, message: Reply(text=reply.text.replace("duration", "minutes"), finished=True),
        lambda reply, message: Reply(text=reply.text.replace("start_timer", "timer"), finished=True),
    ],
)
def test_what_cannot_be_used_costs_format(broken, rows):
    assert evaluate(perfect(rows, broken), rows).format < 1


def test_a_model_that_only_talks_selects_where_nothing_is_to_be_called(rows):
    scores = evaluate(lambda questions: [Reply(text="Hello.", finished=True)] * len(questions), rows)
    assert scores.arguments == 0 and 0 < scores.selection < 0.5 and scores.format == 1


def test_flow_goes_on_with_the_models_own_words():
    row = Conversation(
        messages=(
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
        ),
        tools=({"type": "function", "function": {"name": "f", "parameters": {}}},),
    )
    seen = []

    def speak(questions):
        seen.extend(questions)
        return [Reply(text="mine", finished=True)] * len(questions)

    assert evaluate(speak, [row]).flow == 1
    assert Question(messages=({"role": "user", "content": "a"}, {"role": "assistant", "content": "mine"},
                              {"role": "user", "content": "c"}), tools=row.tools) in seen  # fmt: skip


def test_calls_of_one_message_have_no_order_but_a_number():
    (one, two, three) = EDGE_CASES[-1].accepted[0]
    assert same_calls((one, two), (two, one))
    assert not same_calls((one, one), (one, two)) and not same_calls((one, two, three), (one, two))


def test_edge_cases_take_what_is_right_and_nothing_else():
    def speak(questions):
        return [Reply(text="Which one?", finished=True)] * (len(questions) - 1) + [
            Reply(text=Hermes().write_calls(EDGE_CASES[-1].accepted[0]), finished=True)
        ]

    assert [answer.right for answer in answer_edge_cases(speak)] == [True] * len(EDGE_CASES)
    silent = answer_edge_cases(lambda questions: [Reply(text="", finished=True)] * len(questions))
    assert not any(answer.right for answer in silent)


def test_rows_without_tools_are_not_evaluated(rows):
    with pytest.raises(ValueError, match="env-tuning eval"):
        evaluate(perfect(rows), [Conversation(messages=rows[0].messages)])


def test_the_table_has_a_column_for_each_model(rows):
    good = report_on("tuned", perfect(rows), rows)
    bad = report_on("base", lambda questions: [Reply(text="", finished=True)] * len(questions), rows)
    table = side_by_side([bad, good])
    assert table[0] == ["", "base", "tuned"]
    assert ["all rows: selection", "0.0 %", "100.0 %"] in table
    assert {len(row) for row in table} == {3}
