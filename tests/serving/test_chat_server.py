"""The chat server: what clients of the protocol get from it, over HTTP, with a nano model behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from nano import make_nano

from env_tuning.serving.chat import ServedModel, chat_app, load_model
from env_tuning.serving.local import served

TEXTS = ["Park the car. Where is it?\nuser assistant system", "0123456789 abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    loaded = load_model(make_nano(tmp_path_factory.mktemp("nano") / "tiny", TEXTS), slots=4, max_length=256)
    yield loaded
    loaded.thread.close()


@pytest.fixture(scope="module")
def client(model: ServedModel) -> Iterator[httpx.Client]:
    with served(chat_app(model)) as url, httpx.Client(base_url=f"{url}/v1/", timeout=30) as opened:
        yield opened


def body(text: str = "Where is the car?", **changes):
    given = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 8, "seed": 1, **changes}
    return {key: value for key, value in given.items() if value is not None}


def ask(client: httpx.Client, **changes):
    response = client.post("chat/completions", json=body(**changes))
    assert response.status_code == 200, response.text
    return response.json()


def test_the_model_is_listed(client):
    assert [item["id"] for item in client.get("models").json()["data"]] == ["tiny"]


def test_a_completion_has_the_form_and_counts_of_the_protocol(client, model):
    answer = ask(client)
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in ("stop", "length")
    prompt = model.tokenizer.apply_chat_template(body()["messages"], add_generation_prompt=True, return_dict=False)
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (len(prompt), len(prompt) + usage["completion_tokens"])
    assert 1 <= usage["completion_tokens"] <= 8


def test_an_answer_that_is_cut_says_so(client):
    answer = ask(client, max_tokens=1)
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 1)
    assert ask(client, max_tokens=None, max_completion_tokens=2)["usage"]["completion_tokens"] <= 2


def test_a_seed_or_no_temperature_gives_the_same_answer_again(client):
    def text(**changes):
        return ask(client, max_tokens=24, **changes)["choices"][0]["message"]["content"]

    assert text(seed=3) == text(seed=3)
    assert text(temperature=0, seed=None) == text(temperature=0, seed=None)
    assert len({text(seed=seed) for seed in range(4)}) > 1


def test_a_stop_string_ends_the_answer_before_itself(client):
    whole = ask(client, max_tokens=24)["choices"][0]["message"]["content"]
    ending = whole[len(whole) // 2]
    answer = ask(client, max_tokens=24, stop=[ending])
    assert answer["choices"][0]["message"]["content"] == whole[: whole.index(ending)]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_content_in_parts_is_the_same_text(client):
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "the car?"}]
    in_parts = ask(client, messages=[{"role": "user", "content": parts}])
    assert in_parts["choices"] == ask(client)["choices"]


def test_requests_that_arrive_together_are_all_answered(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: ask(client, seed=seed, max_tokens=16), range(12)))
    alone = [ask(client, seed=seed, max_tokens=16) for seed in range(12)]
    assert [answer["choices"] for answer in answers] == [answer["choices"] for answer in alone]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"model": "gpt"}, 404, "no model 'gpt'; this server has 'tiny'"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "message 0: it must be an object with a role, one of"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "its tool_call_id None is no open call"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "must be text"),
        ({"messages": [{"role": "user", "content": [{"image": 1}]}]}, 400, "must be text"),
        ({"messages": ["hello"]}, 400, "message 0: it must be an object"),
        ({"text": "car " * 400}, 400, "leaves no room to generate"),
        ({"max_tokens": 0}, 400, "max_tokens must be at least 1"),
        ({"max_tokens": "many"}, 400, "max_tokens is 'many' and must be int"),
        ({"max_tokens": True}, 400, "max_tokens is True"),
        ({"temperature": -1}, 400, "temperature must be finite"),
        ({"temperature": [1]}, 400, "temperature is [1] and must be int or float"),
        ({"stop": [1]}, 400, "stop must hold texts"),
        ({"seed": -3}, 400, "seed must lie"),
        ({"stop": ""}, 400, "empty stop string"),
        ({"stream": "yes"}, 400, "stream is 'yes' and must be true or false"),
        ({"n": 2}, 400, "n must be 1"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format must be"),
        ({"tools": {}}, 400, "tools must be a list"),
        ({"tools": [{"name": "park"}]}, 400, "tool 0: no function schema"),
        ({"tool_choice": "required"}, 400, "tool_choice 'required' cannot be promised"),
        ({"parallel_tool_calls": False}, 400, "parallel_tool_calls must be True"),
        ({"logit_bias": {}}, 400, "does not know logit_bias"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(client, changes, status, words):
    response = client.post("chat/completions", json=body(**changes))
    assert response.status_code == status, response.text
    assert words in response.json()["error"]["message"]


def test_a_body_that_is_no_request_is_refused(client):
    for content in (b"{", b"[]", b"\xff"):
        assert client.post("chat/completions", content=content).status_code == 400


def test_a_client_that_goes_away_is_no_longer_computed_for(client, model, monkeypatch):
    monkeypatch.setattr("env_tuning.serving.chat._POLL_SECONDS", 0.02)

    def pause(paused: bool) -> None:
        model.thread.call(lambda engine: setattr(engine, "paused", paused)).result()

    pause(True)
    with pytest.raises(httpx.ReadTimeout):
        client.post("chat/completions", json=body(), timeout=0.3)
    deadline = time.monotonic() + 10
    while (waits := model.thread.call(lambda engine: engine.has_work).result()) and time.monotonic() < deadline:
        time.sleep(0.02)
    pause(False)
    assert not waits
    assert ask(client)["choices"]


def test_an_engine_that_was_closed_is_an_error_of_the_server(tmp_path: Path):
    closed = load_model(make_nano(tmp_path / "tiny", TEXTS), max_length=64)
    closed.thread.close()
    with served(chat_app(closed)) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json=body())
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "server_error"
