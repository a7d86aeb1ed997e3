"""Tools, streams and limits of the chat server, asked by a client over a socket.

The model has learned one conversation by heart, so what it answers is known: a call, and after the result a sentence.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from spoken import make_spoken

from env_tuning.calls import ToolCall
from env_tuning.serving.chat import ServedModel, chat_app, load_model
from env_tuning.serving.limits import Limits
from env_tuning.serving.local import served
from env_tuning.sft.tools import AssistantTools
from env_tuning.sft.transcript import Flow, Transcript, tools_of

REQUEST = "Set a timer for ten minutes"
ANSWER = "The timer runs: 600 seconds."
TOOLS = list(tools_of((AssistantTools,)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    talk = Transcript(AssistantTools)
    talk.user(REQUEST)
    talk.call(ToolCall(name="start_timer", arguments={"duration": 600}))
    talk.assistant(ANSWER)
    folder = make_spoken(tmp_path_factory.mktemp("spoken"), talk.finished("assistant", Flow.SINGLE))
    loaded = load_model(folder, name="timer", slots=2, max_length=256)
    yield loaded
    loaded.thread.close()


@pytest.fixture(scope="module")
def client(model: ServedModel) -> Iterator[httpx.Client]:
    with opened(model) as one:
        yield one


@contextlib.contextmanager
def opened(model: ServedModel, **limits) -> Iterator[httpx.Client]:
    with served(chat_app(model, Limits(**limits))) as url, httpx.Client(base_url=f"{url}/v1/", timeout=60) as client:
        yield client


def body(*more, **changes):
    messages = [{"role": "user", "content": REQUEST}, *more]
    return {"model": "timer", "temperature": 0, "max_tokens": 60, "tools": TOOLS, "messages": messages, **changes}


def ask(client: httpx.Client, *more, **changes):
    response = client.post("chat/completions", json=body(*more, **changes))
    assert response.status_code == 200, response.text
    (choice,) = response.json()["choices"]
    return choice


def events(client: httpx.Client, *more, **changes):
    with client.stream("POST", "chat/completions", json=body(*more, stream=True, **changes)) as response:
        assert (response.status_code, response.headers["content-type"][:17]) == (200, "text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def deltas(found):
    return [event["choices"][0]["delta"] for event in found if event.get("choices")]


def results_of(message):
    (call,) = message["tool_calls"]
    return message, {"role": "tool", "tool_call_id": call["id"], "content": '{"started": 600}'}


def test_a_tool_is_called_and_its_result_is_answered(client):
    choice = ask(client)
    message = choice["message"]
    (call,) = message["tool_calls"]
    assert (choice["finish_reason"], message["content"]) == ("tool_calls", None)
    assert call["function"]["name"] == "start_timer"
    assert json.loads(call["function"]["arguments"]) == {"duration": 600}
    final = ask(client, *results_of(message))
    assert (final["message"], final["finish_reason"]) == ({"role": "assistant", "content": ANSWER}, "stop")


def test_a_stream_brings_the_same_call_whole(client):
    found = events(client)
    pieces = deltas(found)
    assert pieces[0] == {"role": "assistant", "content": ""} and not any(piece.get("content") for piece in pieces)
    ((call,),) = [piece["tool_calls"] for piece in pieces if "tool_calls" in piece]
    assert (call["index"], call["function"]) == (0, ask(client)["message"]["tool_calls"][0]["function"])
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert len({event["id"] for event in found}) == 1


def test_a_stream_of_text_comes_in_pieces_that_make_the_answer(client):
    given = results_of(ask(client)["message"])
    found = events(client, *given, stream_options={"include_usage": True})
    texts = [piece["content"] for piece in deltas(found) if piece.get("content")]
    assert len(texts) > 3 and "".join(texts) == ANSWER
    whole = client.post("chat/completions", json=body(*given)).json()
    assert (found[-1]["choices"], found[-1]["usage"]) == ([], whole["usage"])


def test_a_stream_ends_before_a_stop_string_and_shows_none_of_it(client):
    given = results_of(ask(client)["message"])
    texts = [piece.get("content") or "" for piece in deltas(events(client, *given, stop=["uns: 6"]))]
    assert "".join(texts) == ANSWER[: ANSWER.index("uns: 6")]


def test_a_call_that_is_cut_is_text(client):
    choice = ask(client, max_tokens=6)
    assert choice["finish_reason"] == "length" and choice["message"]["content"].startswith("<tool_call>")
    assert "".join(piece.get("content") or "" for piece in deltas(events(client, max_tokens=6))).startswith(
        "<tool_call>"
    )


def test_tools_that_may_not_be_called_are_not_shown(client):
    without = client.post("chat/completions", json=body(tools=None)).json()["usage"]
    assert client.post("chat/completions", json=body(tool_choice="none")).json()["usage"] == without
    assert client.post("chat/completions", json=body()).json()["usage"]["prompt_tokens"] > without["prompt_tokens"]


def refused(response: httpx.Response):
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["type"], error["message"]


def test_requests_beyond_the_limits_are_refused_in_the_protocols_words(model):
    with opened(model, body_bytes=2000, tokens=70) as client:
        long = client.post("chat/completions", json=body(max_tokens=71))
        assert refused(long) == (400, "invalid_request_error", "max_tokens is 71 and may be at most 70 on this server")
        large = client.post("chat/completions", json=body({"role": "user", "content": "x" * 3000}))
        assert refused(large)[:2] == (413, "invalid_request_error") and "2000 bytes" in refused(large)[2]
        endless = client.post("chat/completions", content=(b" " * 500 for _ in range(100)))
        assert refused(endless)[0] == 413
        missing = client.get("completions")
        assert refused(missing)[:2] == (404, "invalid_request_error") and "/v1/chat/completions" in refused(missing)[2]
        assert refused(client.get("chat/completions"))[0] == 405
        assert client.post("chat/completions", json=body(max_tokens=None)).json()["usage"]["completion_tokens"] <= 70


@contextlib.contextmanager
def paused(model: ServedModel) -> Iterator[None]:
    def set_to(value: bool) -> None:
        model.thread.call(lambda engine: setattr(engine, "paused", value)).result()

    set_to(True)
    try:
        yield
    finally:
        set_to(False)


def streamed(client: httpx.Client):
    return client.stream("POST", "chat/completions", json=body(stream=True))


def test_more_requests_than_allowed_are_told_to_come_later(model):
    with opened(model, requests=2) as client:
        with paused(model), streamed(client) as one, streamed(client) as other:
            # Their first events show that both are under way. An iterator that is dropped would close its stream.
            lines = [one.iter_lines(), other.iter_lines()]
            assert all(next(line) for line in lines)
            response = client.post("chat/completions", json=body())
            assert refused(response)[:2] == (429, "rate_limit_error")
            assert response.headers["retry-after"] == "1"
        assert until_free(client)["finish_reason"] == "tool_calls"


def until_free(client: httpx.Client, seconds: float = 30.0):
    deadline = time.monotonic() + seconds
    while (response := client.post("chat/completions", json=body())).status_code == 429:
        assert time.monotonic() < deadline, "places of clients that have gone are still taken"
    return response.json()["choices"][0]


def test_a_request_that_takes_too_long_ends_whole_or_streamed(model):
    with opened(model, seconds=0.2, requests=1) as client, paused(model):
        assert refused(client.post("chat/completions", json=body()))[:2] == (504, "server_error")
        assert events(client)[-1]["error"]["type"] == "server_error"
        deadline = time.monotonic() + 30
        while model.thread.call(lambda engine: engine.has_work).result():
            assert time.monotonic() < deadline, "what nobody waits for is still to be computed"


def test_a_client_that_leaves_a_stream_frees_its_place(model):
    with opened(model, requests=1) as client:
        with paused(model), streamed(client) as response:
            assert next(response.iter_lines()).startswith("data: ")
        assert until_free(client)["finish_reason"] == "tool_calls"


def test_the_official_client_understands_calls_and_streams(model):
    openai = pytest.importorskip("openai", reason="openai is not installed (pip install openai)")
    with served(chat_app(model)) as url:
        asked = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        plain = asked.chat.completions.create(**body())
        assert plain.choices[0].message.tool_calls[0].function.name == "start_timer"
        streamed = list(asked.chat.completions.create(**body(), stream=True))
        assert streamed[-1].choices[0].finish_reason == "tool_calls"
        with pytest.raises(openai.NotFoundError, match="no model"):
            asked.chat.completions.create(**{**body(), "model": "other"})
