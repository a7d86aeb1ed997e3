"""A person in the model's place: lines in, an episode out."""

from __future__ import annotations

import pytest
from test_contract import Good
from typer.testing import CliRunner

from env_tuning.calls import parse_call
from env_tuning.cli import app
from env_tuning.environments.environment import Environment
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.episode import Rules
from env_tuning.play import play, try_out
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import ThinkAnswer
from env_tuning.trajectory import StopReason


def played(task, lines: list[str], **rules: int):
    waiting, shown = iter(lines), []
    prepared = prepare_task(task, protocol=ThinkAnswer())
    trajectory = play(prepared, read=lambda: next(waiting, None), write=shown.append, rules=Rules(**rules))
    return trajectory, "\n".join(shown)


def test_typing_the_ground_truth_scores_full_marks(tasks):
    task = tasks["multi_turn_base_0"]
    lines = [line for turn in task.ground_truth for line in (*turn, "answer done")]
    trajectory, shown = played(task, lines)
    assert trajectory.correct_turns == task.turns
    assert "turn 1 is right" in shown
    assert f"score 1.00: {task.turns} of {task.turns}" in shown
    assert all(request in shown for request in task.user_turns)


def test_a_wrong_turn_is_explained(tasks):
    _, shown = played(tasks["multi_turn_base_0"], ["cd('document')", "mkdir('wrong')", "answer done"])
    assert "turn 1 is wrong: state" in shown
    assert "the state of GorillaFileSystem differs" in shown


def test_the_end_of_input_and_quit_stop_the_episode(tasks):
    for lines in ([], ["quit", "ls()"]):
        trajectory, shown = played(tasks["multi_turn_base_0"], lines)
        assert trajectory.stop is StopReason.ABORTED
        assert trajectory.steps == ()
        assert "score 0.00" in shown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "call a tool"),
        ("help", "call a tool"),
        ("tools", "sort(file_name: string)"),
        ("ls", "That is no call"),
        ("cd(os.getcwd())", "That is no call"),
        ("no_such_tool(1)", "need names"),
        ("cd('a', 'b', 'c')", "does not fit"),
    ],
)
def test_a_line_that_is_no_message_costs_no_step(line, said, tasks):
    trajectory, shown = played(tasks["multi_turn_base_0"], [line])
    assert trajectory.steps == ()
    assert said in shown


def test_raw_text_goes_to_the_parser_as_it_is(tasks):
    trajectory, shown = played(tasks["multi_turn_base_0"], ["<think>t</think><answer>x", "<think>t</think>"])
    assert [step.outcome.value for step in trajectory.steps] == ["format_error"] * 2
    assert "format_error> Format error" in shown


def test_an_unknown_tool_and_a_forced_close_are_shown(tasks):
    _, shown = played(tasks["multi_turn_base_0"], ["no_such_tool()"] * 2, steps_per_turn=2)
    assert "'no_such_tool' is not defined" in shown
    assert "turn 1 is wrong" in shown


def test_tools_of_a_class_without_tasks_can_be_called():
    shown: list[str] = []
    lines = iter(["put('a')", "put(item='b')", "nonsense", "no_such_tool()"])
    environment = Environment({"Good": Good({})})
    documents = {doc.name: doc for doc in tool_docs_of(Good)}
    try_out(environment, documents, read=lambda: next(lines, None), write=shown.append)
    assert shown[1:3] == ['{"count": 1}', '{"count": 2}']
    assert "That is no call" in shown[3]
    assert environment.call(parse_call("put('c')")).text == '{"count": 3}'


def test_the_command_plays_a_prepared_task_from_piped_lines(processed_data):
    arguments = ["play", "multi_turn_base_0", "--data", str(processed_data)]
    result = CliRunner().invoke(app, arguments, input="ls()\nanswer done\nquit\n")
    assert result.exit_code == 0
    assert "current_directory_content" in result.output
    assert "score 0.00" in result.output


def test_a_misspelt_task_is_answered_with_the_nearest_one(processed_data):
    result = CliRunner().invoke(app, ["play", "multi_turn_bse_0", "--data", str(processed_data)])
    assert "Did you mean 'multi_turn_base_0'?" in str(result.exception)
