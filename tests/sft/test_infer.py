"""Conversations with a model that calls tools: their history, their tools, and the command."""

import sys
import types

import pytest
from spoken import make_spoken
from typer.testing import CliRunner

from env_tuning.calls import ToolCall
from env_tuning.cli import app
from env_tuning.protocols.hermes import write_call
from env_tuning.sft.dialogue import LONGEST_CHAIN, Dialogue, fresh_tools, shown
from env_tuning.sft.evaluation import Question, Reply
from env_tuning.sft.tools import AssistantTools
from env_tuning.sft.transcript import Flow, Transcript, tools_of

TOOLS = tools_of((AssistantTools,))
CALL = ToolCall(name="start_timer", arguments={"duration": 600})
REQUEST = "Set a timer for ten minutes"
ANSWER = "The timer runs."


class Script:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[Question] = []

    def __call__(self, questions):
        self.asked += questions
        return [Reply(text=self.texts.pop(0), finished=True) for _ in questions]


def test_tools_run_and_the_next_question_holds_everything_before_it():
    speaker = Script(write_call(CALL), ANSWER, "You are welcome.")
    dialogue = Dialogue(speaker, TOOLS, run=fresh_tools((AssistantTools,)), system="Be brief.")
    lines = [shown(message) for message in dialogue.say(REQUEST)]
    assert lines == ['call> start_timer {"duration": 600}', 'result> {"started": 600}', f"assistant> {ANSWER}"]
    list(dialogue.say("Thank you"))
    roles = [message["role"] for message in speaker.asked[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert speaker.asked[-1].tools == TOOLS


def test_a_call_without_a_result_ends_the_turn_and_leaves_no_open_call():
    speaker = Script(write_call(CALL), ANSWER)
    dialogue = Dialogue(speaker, TOOLS, run=lambda call: None)
    assert [shown(message) for message in dialogue.say(REQUEST)] == ['call> start_timer {"duration": 600}']
    assert [shown(message) for message in dialogue.say("And?")] == [f"assistant> {ANSWER}"]
    assert [message["role"] for message in speaker.asked[-1].messages] == ["user", "user"]


def test_a_model_that_only_calls_is_stopped():
    speaker = Script(*[write_call(CALL)] * (LONGEST_CHAIN + 5))
    list(Dialogue(speaker, TOOLS, run=lambda call: "ok").say(REQUEST))
    assert len(speaker.asked) == LONGEST_CHAIN


@pytest.mark.parametrize(("tools", "text"), [(TOOLS, "<tool_call>\n{"), ((), write_call(CALL))])
def test_what_is_no_readable_call_is_shown_as_it_is(tools, text):
    (message,) = Dialogue(Script(text), tools, run=lambda call: "ok").say(REQUEST)
    assert shown(message) == f"assistant> {text}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    talk = Transcript(AssistantTools)
    talk.user(REQUEST)
    talk.call(CALL)
    talk.assistant(ANSWER)
    return make_spoken(tmp_path_factory.mktemp("spoken"), talk.finished("assistant", Flow.SINGLE))


def infer(*arguments, typed=None):
    done = CliRunner().invoke(app, ["infer", *map(str, arguments)], input=typed)
    assert not done.exception, done.output
    return [line for line in done.stdout.splitlines() if line]


def test_a_prompt_is_answered_by_a_call_or_if_asked_with_the_tools(model):
    call = 'call> start_timer {"duration": 600}'
    assert infer(model, "--prompt", REQUEST) == [f"user> {REQUEST}", call]
    ran = [f"user> {REQUEST}", call, 'result> {"started": 600}', f"assistant> {ANSWER}"]
    assert infer(model, "--prompt", REQUEST, "--prompt", REQUEST, "--execute") == ran * 2


def test_in_a_conversation_the_person_gives_the_results_that_no_tool_gives(model):
    lines = infer(model, "--interactive", typed=f'{REQUEST}\n{{"started": 600}}\n')
    assert [line for line in lines if ANSWER in line] and lines[-1].startswith("user> ")


def test_sample_prompts_are_asked_without_further_arguments(model):
    asked = [line for line in infer(model, "--max-new-tokens", 1) if line.startswith("user> ")]
    assert len(asked) >= 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["./nowhere"], "./nowhere: there is no such folder"),
        (["--prompt", "a", "--interactive"], "not both"),
        (["--tools", ""], "no sample prompts"),
        (["--tools", "garage"], "unknown tool class 'garage'"),
    ],
)
def test_mistakes_end_in_one_line(arguments, reason):
    done = CliRunner().invoke(app, ["infer", *arguments])
    assert isinstance(done.exception, ValueError) and reason in str(done.exception)


def test_vllm_that_is_missing_is_one_line(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    done = CliRunner().invoke(app, ["infer", str(model), "--backend", "vllm"])
    assert "pip install -e '.[vllm]'" in str(done.exception)


def test_vllm_gets_the_tokens_that_transformers_gets(model, monkeypatch):
    """A stand-in with vLLM's interface, which needs a GPU: what it is given, and what is made of what it gives."""
    from env_tuning.sft.generation import Writer, prompt_tokens
    from env_tuning.sft.vllm_writer import VllmWriter

    plain = Writer.load(str(model))
    question = Question(messages=({"role": "user", "content": REQUEST},), tools=TOOLS)
    given = []

    class LLM:
        def __init__(self, model):
            self.model = model

        def generate(self, prompts, sampling, use_tqdm):
            given.append((prompts, sampling))
            text = plain.tokenizer.encode(write_call(CALL), add_special_tokens=False)
            whole = types.SimpleNamespace(token_ids=[*text, plain.tokenizer.eos_token_id], finish_reason="stop")
            cut = types.SimpleNamespace(token_ids=text[:3], finish_reason="length")
            return [types.SimpleNamespace(outputs=[one]) for one in (whole, cut)]

    fake = types.ModuleType("vllm")
    fake.LLM, fake.SamplingParams = LLM, dict
    monkeypatch.setitem(sys.modules, "vllm", fake)
    whole, cut = VllmWriter.load(str(model), max_new_tokens=50, temperature=0.5)([question, question])
    ((prompts, sampling),) = given
    assert prompts == [{"prompt_token_ids": prompt_tokens(plain.tokenizer, question)}] * 2
    assert (sampling["max_tokens"], sampling["temperature"]) == (50, 0.5)
    assert plain.tokenizer.eos_token_id in sampling["stop_token_ids"]
    assert (whole, cut.finished) == (Reply(text=write_call(CALL), finished=True), False)
    assert plain([question]) == [whole]
