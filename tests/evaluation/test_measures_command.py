"""`env-tuning eval calls` and `env-tuning eval metrics`: AST, EXEC, relevance and irrelevance."""

from __future__ import annotations

import json

import pytest
from oracle import completion
from stub_server import as_json, stub_server
from typer.testing import CliRunner

from env_tuning.calls import ToolCall
from env_tuning.cli import app
from env_tuning.data.demonstrations import demonstration
from env_tuning.data.single_turn import KINDS, SHA256, read_single_turn
from env_tuning.episode import Episode, Rules
from env_tuning.errors import UserError
from env_tuning.evaluation.recorded import References, decisions_of
from env_tuning.function_calling.episode import FunctionCallingEpisode
from env_tuning.function_calling.episode import Rules as FunctionRules
from env_tuning.function_calling.families import family
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.metrics.ast_match import calls_fault
from env_tuning.metrics.measures import Kind, shares
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import Hermes, ThinkAnswer, ToolListing


def command(*arguments: object):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_every_category_is_read_whole(wheel):
    questions = read_single_turn(wheel, list(KINDS))
    assert len(questions) == 3491
    assert all(question.messages[-1]["role"] == "user" for question in questions)
    judged = {Kind.SIMPLE, Kind.MULTIPLE, Kind.PARALLEL, Kind.PARALLEL_MULTIPLE}
    for question in questions:
        assert bool(question.possible) is (question.kind in judged)
        named = {name for answer in question.possible for name in answer}
        assert named <= {tool.name for tool in question.tools}
        # Nobody who calls nothing is right where a call is.
        assert not question.possible or calls_fault((), question.possible, question.tools)
    with pytest.raises(UserError, match="no category 'java'; there are simple_python"):
        read_single_turn(wheel, ["java"])


def test_changed_questions_are_refused(wheel, tmp_path):
    folder = tmp_path / "bfcl_eval" / "data"
    (folder / "possible_answer").mkdir(parents=True)
    for path in SHA256:
        (tmp_path / path).write_text("{}")
    with pytest.raises(ValueError, match="sha256 is"):
        read_single_turn(tmp_path, ["multiple"])


class Student:
    """Writes right calls to every question but the first of a category, where it answers in words."""

    def __init__(self, questions, native):
        self.native = native
        self.right = {question.messages[-1]["content"]: question for question in questions}
        self.asked = []

    def __call__(self, body, key):
        question = self.right[body["messages"][-1]["content"]]
        self.asked.append(question.id)
        first = question.id.endswith("_0") or question.id.endswith("_0-0-0")
        calls = [] if first else [self.call(answer) for answer in question.possible]
        if not self.native:
            return as_json(200, completion({"role": "assistant", "content": Hermes().write_calls(calls) or "No."}))
        written = [
            {
                "id": f"{place}",
                "type": "function",
                "function": {"name": call.name.replace(".", "_"), "arguments": json.dumps(dict(call.arguments))},
            }
            for place, call in enumerate(calls)
        ]
        assert {tool["function"]["name"] for tool in body["tools"]} >= {one["function"]["name"] for one in written}
        return as_json(200, completion({"role": "assistant", "content": "", "tool_calls": written}))

    @staticmethod
    def call(answer):
        ((name, accepted),) = answer.items()
        return ToolCall(name=name, arguments={key: values[0] for key, values in accepted.items() if "" not in values})


@pytest.mark.parametrize("mode", ["prompt", "native"])
def test_a_student_is_measured_and_asked_once(wheel, tmp_path, mode):
    categories = ["multiple", "parallel", "irrelevance"]
    student = Student(read_single_turn(wheel, categories), mode == "native")
    with stub_server(student, ["student"]) as url:
        given = (*categories, "--source", wheel, "--base-url", url, "--mode", mode, "--limit", 5)
        done = command("calls", *given, "--output", tmp_path / "out")
        assert done.exit_code == 0, (done.output, done.exception)
        assert len(student.asked) == 15
        again = command("calls", *given, "--output", tmp_path / "out")
        assert again.exit_code == 0, again.exception
        assert len(student.asked) == 15
        other = command("calls", *given, "--output", tmp_path / "out", "--max-tokens", 7)
        assert isinstance(other.exception, UserError)
    measures = json.loads((tmp_path / "out" / "measures.json").read_text())["categories"]
    assert {
        name: {kind: (one["right"], one["all"]) for kind, one in row.items()} for name, row in measures.items()
    } == {
        "multiple": {"multiple": (4, 5)},
        "parallel": {"parallel": (4, 5)},
        "irrelevance": {"irrelevance": (5, 5)},
        "all": {"multiple": (4, 5), "parallel": (4, 5), "irrelevance": (5, 5)},
    }
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert {line["fault"] for line in lines if not line["right"]} == {"count"}


def test_questions_without_an_answer_stay_open(wheel, tmp_path):
    student = Student(read_single_turn(wheel, ["multiple"]), native=False)
    down = True

    def respond(body, key):
        if down and "multiple_2" in student.right[body["messages"][-1]["content"]].id:
            return as_json(400, {"error": {"message": "too hard"}})
        return student(body, key)

    with stub_server(respond, ["student"]) as url:
        given = ("calls", "multiple", "--source", wheel, "--base-url", url, "--limit", 4, "--output", tmp_path)
        done = command(*given)
        assert done.exit_code == 1, (done.output, done.exception)
        assert not (tmp_path / "measures.json").exists()
        down = False
        assert command(*given).exit_code == 0
    assert (tmp_path / "measures.json").exists()


def played(task, texts):
    episode = Episode(prepare_task(task, protocol=ThinkAnswer(), listing=ToolListing.SIGNATURES), Rules())
    for text in texts:
        episode.step(text)
    return episode.trajectory()


def test_bfcl_episodes_have_exec_and_relevance(tasks):
    task = tasks["multi_turn_base_0"]
    references = References(tasks={task.id: task})
    speech = ThinkAnswer()
    idle = played(task, [speech.write_answer("Done.")] * task.turns)
    assert {kind: share.right for kind, share in shares(decisions_of(idle, references)).items()} == {
        Kind.EXEC_EXACT: 0,
        Kind.EXEC_REAL_TIME: 0,
        Kind.EXEC_STRUCTURAL: 0,
        Kind.RELEVANCE: 0,
    }
    perfect = played(task, [message["content"] for message in demonstration(task) if message["role"] == "assistant"])
    found = shares(decisions_of(perfect, references))
    assert {kind: (share.right, share.all) for kind, share in found.items()} == dict.fromkeys(
        (Kind.EXEC_EXACT, Kind.EXEC_REAL_TIME, Kind.EXEC_STRUCTURAL, Kind.RELEVANCE), (task.turns, task.turns)
    )
    assert set(shares(decisions_of(perfect, References()))) == {Kind.RELEVANCE}


def function_calling(dialogue, answer):
    tools = offline_tools()
    episode = FunctionCallingEpisode(
        dialogue,
        tools=tools,
        candidates=[list(tools)] * len(dialogue.requests),
        family=family("plain"),
        rules=FunctionRules(),
    )
    while not episode.over:
        episode.step(answer(episode))
    return episode.trajectory()


def test_function_calling_has_ast_by_category():
    dialogues = offline_dialogues(60)
    requests = [request for dialogue in dialogues for request in dialogue.requests]
    perfect, silent = [], []
    for dialogue in dialogues:
        perfect += decisions_of(function_calling(dialogue, lambda episode: episode.right_message()), References())
        silent += decisions_of(function_calling(dialogue, lambda episode: "none"), References())
    found = shares(perfect)
    assert all(share.value == 1.0 for share in found.values())
    assert {kind: share.all for kind, share in found.items()} == {
        Kind.MULTIPLE: sum(len(request.calls) == 1 for request in requests),
        Kind.PARALLEL: sum(len(request.calls) > len(request.tools) == 1 for request in requests),
        Kind.PARALLEL_MULTIPLE: sum(len(request.tools) > 1 for request in requests),
        Kind.RELEVANCE: sum(bool(request.calls) for request in requests),
        Kind.IRRELEVANCE: sum(not request.calls for request in requests),
    }
    lazy = shares(silent)
    assert lazy[Kind.IRRELEVANCE].value == 1.0
    assert lazy[Kind.RELEVANCE].right == lazy[Kind.MULTIPLE].right == lazy[Kind.PARALLEL].right == 0


def test_a_wrong_filling_spoils_its_request_only():
    (dialogue,) = [one for one in offline_dialogues(60) if len(one.requests) == 2][:1]

    def once_wrong(episode, spoilt=[]):  # noqa: B006 (state of this test)
        if episode.right_message().startswith("[") and not spoilt:
            spoilt.append(1)
            return "[{}]"
        return episode.right_message()

    found = shares(decisions_of(function_calling(dialogue, once_wrong), References()))
    assert (found[Kind.MULTIPLE].right, found[Kind.MULTIPLE].all) == (1, 2)
    assert found[Kind.RELEVANCE].right == 2


def test_recorded_episodes_are_measured_from_files(tasks, processed_data, tmp_path):
    dialogue, task = offline_dialogues(1)[0], tasks["multi_turn_base_4"]
    trajectories = [
        function_calling(dialogue, lambda episode: episode.right_message()),
        played(task, ["<think>No.</think><answer>Done.</answer>"] * task.turns),
    ]
    file = tmp_path / "episodes.jsonl"
    file.write_text("".join(trajectory.to_json() + "\n" for trajectory in trajectories))
    done = command("metrics", file, "--tasks", "val", "--data", processed_data, "--output", tmp_path / "out.json")
    assert done.exit_code == 0, (done.output, done.exception)
    (row,) = json.loads((tmp_path / "out.json").read_text()).values()
    assert row["exec_exact"]["share"] == 0.0
    assert row["relevance"]["all"] > 1
    file.write_text("")
    assert "nothing to measure" in str(command("metrics", file).exception)
