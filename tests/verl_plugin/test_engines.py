"""What a rollout engine owes the trainer, held for every engine that runs without a GPU.

The transformers rollout is this project's own; `vllm_cpu` is verl's vLLM path with the real engine, so what is held
here of requests, prefix caching, stops, aborts and weights is held of the code that GPU nodes run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from env_tuning.packages import installed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(installed("verl") is None, reason="verl is not installed")]

TOLERANCE = 1e-4
"""Between log-probabilities of an engine and of transformers' forward pass, both in fp32."""

WITHOUT_VLLM = pytest.mark.skipif(installed("vllm-cpu") is None, reason="the extra vllm-cpu is not installed")
ENGINES = ["transformers", pytest.param("vllm_cpu", marks=WITHOUT_VLLM)]

PROMPT = [ord("a") + index % 26 for index in range(300)]
"""Longer than a block of vLLM's cache, which keeps whole blocks only."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from replicas import make_models

    folder = tmp_path_factory.mktemp("models")
    make_models(folder)
    return folder


@pytest.fixture(scope="module", params=ENGINES)
def replica(request: pytest.FixtureRequest, models: Path) -> Iterator[object]:
    from replicas import replica_of

    with replica_of(request.param, models) as running:
        yield running


def ids(text: str, folder: Path) -> list[int]:
    """Tokens of a text without special tokens."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]


def forward(folder: Path, prompt: Sequence[int], output: Sequence[int]) -> list[float]:
    """Log-probabilities of an output, from one forward pass of transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *output]])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(output)[:, None])[:, 0].tolist()


def test_log_probs_are_those_of_the_weights_last_sent(replica, models):
    prompts = [PROMPT[at:] for at in range(8)]
    told = {}
    for step, name in enumerate(("model", "other"), start=1):
        replica.ask("send", models / name, step)
        told[name] = replica.ask("generate_all", prompts, max_tokens=24)
        for prompt, answer in zip(prompts, told[name], strict=True):
            assert answer["step"] == step
            expected = forward(models / name, prompt, answer["tokens"])
            assert answer["log_probs"] == pytest.approx(expected, abs=TOLERANCE)
    old = told["model"][0]
    new = forward(models / "other", PROMPT, old["tokens"])
    assert max(abs(one - two) for one, two in zip(old["log_probs"], new, strict=True)) > 100 * TOLERANCE


def test_a_turn_reuses_the_one_before_until_weights_change(replica, models):
    replica.ask("send", models / "model", 3)
    first = replica.ask("generate", "a", PROMPT, max_tokens=8)
    assert first["cached"] == 0
    longer = [*PROMPT, *first["tokens"], *PROMPT[:20]]
    second = replica.ask("generate", "b", longer, max_tokens=8)
    assert 0 < second["cached"] <= len(PROMPT) + len(first["tokens"])
    assert second["log_probs"] == pytest.approx(forward(models / "model", longer, second["tokens"]), abs=TOLERANCE)
    replica.ask("send", models / "other", 4)
    third = replica.ask("generate", "c", longer, max_tokens=8)
    assert third["cached"] == 0
    assert third["log_probs"] == pytest.approx(forward(models / "other", longer, third["tokens"]), abs=TOLERANCE)


def test_a_message_ends_with_the_stop_token_the_stop_string_or_its_limit(replica, models):
    from transformers import AutoTokenizer

    folder = models / "counting"
    replica.ask("send", folder, 5)
    eos = AutoTokenizer.from_pretrained(folder).eos_token_id
    ended = replica.ask("generate", "a", [5, eos - 9], temperature=0.0, max_tokens=100)
    # The agent loop tells an end from a cut by the stop token, which therefore has to be there.
    assert ended["tokens"] == list(range(eos - 8, eos + 1))
    assert ended["stop"] in ("completed", "stop")
    letters = ids("abcdefgh", folder)
    named = replica.ask("generate", "b", letters[:1], temperature=0.0, max_tokens=100, stop=["efg"])
    assert named["tokens"] == letters[1:7]
    cut = replica.ask("generate", "c", letters[:1], temperature=0.0, max_tokens=3)
    assert cut["tokens"] == letters[1:4]
    past = replica.ask("generate", "d", [5, eos - 2], temperature=0.0, max_tokens=4, ignore_eos=True)
    assert past["tokens"][:2] == [eos - 1, eos]
    assert len(past["tokens"]) == 4


def test_aborted_requests_return_what_they_have_and_others_go_on(replica, models):
    import ray

    replica.ask("send", models / "model", 6)
    endless = {"max_tokens": 3600, "ignore_eos": True}
    running = [replica.start("generate", f"long{at}", PROMPT[at:], **endless) for at in range(3)]
    for _ in range(60):  # on a busy machine the first call may come before the requests
        replica.ask("abort_all")
        if len(ray.wait(running, num_returns=len(running), timeout=1.0)[0]) == len(running):
            break
    answers = ray.get(running, timeout=60)
    assert [answer["stop"] for answer in answers] == ["aborted"] * 3
    assert all(len(answer["tokens"]) < 3600 for answer in answers)
    assert len(replica.ask("generate", "after", PROMPT, max_tokens=5, ignore_eos=True)["tokens"]) == 5


def test_one_request_is_aborted_by_the_id_it_was_given(replica, models):
    import ray

    replica.ask("send", models / "model", 7)
    running = [
        replica.start("generate", name, PROMPT, max_tokens=limit, ignore_eos=True)
        for name, limit in (("lost", 3600), ("kept", 40))
    ]
    assert any(replica.ask("abort", "lost") or time.sleep(0.1) for _ in range(600))
    lost, kept = ray.get(running, timeout=60)
    assert (lost["stop"], len(kept["tokens"])) == ("aborted", 40)
    assert not replica.ask("abort", "nobody")


def test_weights_that_do_not_fit_are_an_error_and_no_hang(replica, models):
    with pytest.raises(Exception, match="wrong"):
        replica.ask("send", models / "other", 8, rename={"model.norm.weight": "model.wrong.weight"})
    replica.ask("send", models / "other", 9)
    answer = replica.ask("generate", "a", PROMPT, max_tokens=8)
    assert answer["step"] == 9
    assert answer["log_probs"] == pytest.approx(forward(models / "other", PROMPT, answer["tokens"]), abs=TOLERANCE)


@pytest.mark.parametrize("engine", ENGINES)
def test_stage_1_trains_and_the_engines_log_probs_are_the_trainers(folder, processed_data, engine):
    from running import SECONDS, events, real_tasks, run_stage

    status, log = run_stage(
        folder,
        *real_tasks(folder, processed_data),
        f"rollout={engine}",
        "algorithm.rollout_correction.bypass_mode=false",  # so that the trainer computes its own
        "trainer.total_training_steps=3",
        seconds=2 * SECONDS,
    )
    assert status == 0, log[-4000:]
    assert [step["step"] for step in events(folder, "step")] == [1, 2, 3]
    # The weights differ from step to step (the learning rate is high), so the last two hold the hand-over, too.
    assert all(step["grad_norm"] > 0 for step in events(folder, "step"))
    differences = scalars(folder / "run" / "tensorboard", "training/rollout_probs_diff_max")
    assert len(differences) == 3
    assert max(differences) < TOLERANCE


def scalars(board: Path, name: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(board), {"scalars": 0})
    accumulator.Reload()
    return [event.value for event in accumulator.Scalars(name)]
