"""The engine against transformers' own forward pass and `generate`, and its promises about reuse, ends and failures."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from env_tuning.verl_plugin.rollout.engine import EngineConfig, RolloutEngine
from env_tuning.verl_plugin.rollout.request import Request, RequestError, Result, SamplingParams, StepError, StopReason
from env_tuning.verl_plugin.rollout.runner import EngineClosed, EngineThread
from env_tuning.verl_plugin.rollout.sampling import choose_tokens

LogProbs = Callable[..., list[float]]
VOCABULARY = 384


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return random.Random(f"{length}/{seed}").choices(range(VOCABULARY), k=length)


def make_engine(
    model: PreTrainedModel, decode: Callable[[list[int]], str] | None = None, **sizes: object
) -> RolloutEngine:
    sizes = {"max_slots": 8, "max_length": 256, **sizes}
    eos_ids = sizes.pop("eos_ids", ())
    return RolloutEngine(model, EngineConfig(**sizes), eos_ids=eos_ids, decode=decode)


def add(engine: RolloutEngine, prompt: list[int], name: str = "episode", **params: object) -> Future[Result]:
    params = {"max_tokens": 12, **params}
    return engine.add(Request(request_id=name, prompt_ids=prompt, params=SamplingParams(**params)))


def run(engine: RolloutEngine, prompt: list[int], name: str = "episode", **params: object) -> Result:
    future = add(engine, prompt, name, **params)
    engine.run_until_idle()
    return future.result(timeout=0)


def greedy_reference(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    output = model.generate(
        torch.tensor([prompt]), max_new_tokens=count, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    return output[0, len(prompt) :].tolist()


# The right numbers.


@pytest.mark.parametrize("prefill_tokens", [2048, 7])
def test_greedy_output_of_a_mixed_batch_is_what_transformers_generates(
    model: PreTrainedModel, reference: PreTrainedModel, prefill_tokens: int
) -> None:
    engine = make_engine(model, prefill_tokens=prefill_tokens)
    prompts = [prompt_of(length) for length in (1, 2, 19, 60, 130)]
    futures = [add(engine, prompt, temperature=0.0) for prompt in prompts]
    engine.run_until_idle()
    for prompt, future in zip(prompts, futures, strict=True):
        assert future.result().token_ids == greedy_reference(reference, prompt, 12)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_those_of_a_full_forward_pass(
    model: PreTrainedModel, full_log_probs: LogProbs, temperature: float
) -> None:
    engine = make_engine(model, prefill_tokens=50)
    prompts = [prompt_of(length) for length in (3, 40, 90, 41)]
    limits = (30, 5, 60, 17)
    futures = [
        add(engine, prompt, temperature=temperature, top_p=0.9, top_k=50, max_tokens=limit)
        for prompt, limit in zip(prompts, limits, strict=True)
    ]
    engine.run_until_idle()
    for prompt, limit, future in zip(prompts, limits, futures, strict=True):
        result = future.result()
        assert len(result.token_ids) == limit
        assert result.log_probs == pytest.approx(full_log_probs(prompt, result.token_ids, temperature), abs=1e-5)


def test_llama_and_qwen2_are_served_too_and_other_architectures_are_refused(reference: PreTrainedModel) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"vocab_size": VOCABULARY, "intermediate_size": 64, "initializer_range": 0.15}
    for config_class, model_class in ((LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2ForCausalLM)):
        torch.manual_seed(1)
        model = model_class(config_class(**sizes, eos_token_id=None)).eval()
        prompt = prompt_of(20)
        expected = greedy_reference(copy.deepcopy(model), prompt, 12)
        assert run(make_engine(model), prompt, temperature=0.0).token_ids == expected
    with pytest.raises(ValueError, match="gpt2"):
        make_engine(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=16)))


def test_tokens_are_drawn_with_their_probabilities() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(20_000, 1)
    rows = {"temperatures": torch.full((20_000,), 0.8), "uniforms": torch.rand(20_000, generator=torch.manual_seed(0))}
    everything = {"top_ks": torch.zeros(20_000, dtype=torch.long), "top_ps": torch.ones(20_000)}
    tokens, _ = choose_tokens(logits, **rows, **everything)
    frequencies = torch.bincount(tokens, minlength=4) / 20_000
    assert frequencies.tolist() == pytest.approx(torch.softmax(logits[0] / 0.8, -1).tolist(), abs=0.01)
    top_two, _ = choose_tokens(logits, **rows, **{**everything, "top_ks": torch.full((20_000,), 2)})
    assert set(top_two.tolist()) == {0, 1}
    nucleus, _ = choose_tokens(logits, **rows, **{**everything, "top_ps": torch.full((20_000,), 0.5)})
    assert set(nucleus.tolist()) == {0}


def test_the_largest_uniform_number_draws_a_token_that_has_a_probability() -> None:
    logits = torch.tensor([[0.0, 1.0, float("-inf")]])
    options = {"temperatures": torch.ones(1), "top_ks": torch.zeros(1, dtype=torch.long), "top_ps": torch.ones(1)}
    tokens, _ = choose_tokens(logits, uniforms=torch.tensor([1.0]), **options)
    assert tokens.tolist() == [1]


# Reuse.


def test_later_turns_compute_only_their_new_tokens(model: PreTrainedModel, full_log_probs: LogProbs) -> None:
    engine = make_engine(model)
    prompt = prompt_of(50)
    for turn in range(3):
        cold = run(make_engine(copy.deepcopy(model), keep_kv=False), prompt, seed=turn)
        before = engine.stats.copy()
        # verl's client sends a fresh id with every turn, so reuse must not need the same one.
        warm = run(engine, prompt, name=f"request-{turn}", seed=turn)
        assert warm.token_ids == cold.token_ids
        assert warm.log_probs == pytest.approx(cold.log_probs, abs=1e-5)
        assert warm.log_probs == pytest.approx(full_log_probs(prompt, warm.token_ids), abs=1e-5)
        # The output's last token was sampled but never computed, so it counts as new in the next turn.
        new = 50 if turn == 0 else 1 + 20
        assert engine.stats["prefill_tokens"] - before["prefill_tokens"] == new
        assert warm.reused_tokens == (0 if turn == 0 else len(prompt) - new)
        prompt = [*prompt, *warm.token_ids, *prompt_of(20, seed=turn)]


def test_a_prompt_that_leaves_the_kept_tokens_midway_reuses_what_agrees(
    model: PreTrainedModel, full_log_probs: LogProbs
) -> None:
    engine = make_engine(model)
    first = run(engine, prompt_of(60))
    changed = [*prompt_of(60), *first.token_ids[:4], *prompt_of(10, seed=9)]
    result = run(engine, changed)
    assert result.reused_tokens in (64, 65)
    assert result.log_probs == pytest.approx(full_log_probs(changed, result.token_ids), abs=1e-5)


@pytest.mark.parametrize("prefill_tokens", [2048, 16])
def test_a_group_computes_its_prompt_once(
    model: PreTrainedModel, full_log_probs: LogProbs, prefill_tokens: int
) -> None:
    engine = make_engine(model, prefill_tokens=prefill_tokens)
    prompt = prompt_of(100)
    futures = [add(engine, prompt, name=f"rollout-{index}") for index in range(6)]
    engine.run_until_idle()
    outputs = [future.result() for future in futures]
    assert engine.stats["prefill_tokens"] == 100
    assert engine.stats["reused_tokens"] == 5 * 99
    assert len({tuple(output.token_ids) for output in outputs}) == 6, "rollouts of one group must differ"
    for output in outputs:
        assert output.log_probs == pytest.approx(full_log_probs(prompt, output.token_ids), abs=1e-5)


def test_episodes_with_a_shared_system_prompt_do_not_disturb_each_other(
    model: PreTrainedModel, full_log_probs: LogProbs
) -> None:
    engine = make_engine(model, max_slots=6)
    random_source = random.Random(0)
    contexts = {name: prompt_of(40) + prompt_of(10, seed=name) for name in range(9)}
    for _ in range(4):
        names = random_source.sample(sorted(contexts), k=6)
        limits = {name: random_source.randint(1, 15) for name in names}
        futures = {name: add(engine, contexts[name], name=str(name), max_tokens=limits[name]) for name in names}
        engine.run_until_idle()
        for name, future in futures.items():
            result = future.result()
            expected = full_log_probs(contexts[name], result.token_ids)
            assert result.log_probs == pytest.approx(expected, abs=1e-5)
            contexts[name] = [*contexts[name], *result.token_ids, *prompt_of(random_source.randint(1, 12))]


def test_kept_episodes_are_evicted_when_slots_run_out_the_oldest_first(
    model: PreTrainedModel, full_log_probs: LogProbs
) -> None:
    engine = make_engine(model, max_slots=3)
    prompts = [prompt_of(30, seed=seed) for seed in range(5)]
    results = [run(engine, prompt, name=str(index)) for index, prompt in enumerate(prompts)]
    assert engine.stats["evicted"] == 2
    again = [run(engine, prompts[index] + results[index].token_ids, name=str(index)) for index in (4, 3, 2, 0)]
    assert [result.reused_tokens > 0 for result in again] == [True, True, True, False]
    assert again[3].log_probs == pytest.approx(
        full_log_probs(prompts[0] + results[0].token_ids, again[3].token_ids), abs=1e-5
    )


def test_more_requests_than_slots_wait_for_their_turn(model: PreTrainedModel) -> None:
    engine = make_engine(model, max_slots=2)
    futures = [add(engine, prompt_of(20, seed=index), temperature=0.0) for index in range(7)]
    engine.run_until_idle()
    alone = [run(make_engine(copy.deepcopy(model)), prompt_of(20, seed=index), temperature=0.0) for index in range(7)]
    assert [future.result().token_ids for future in futures] == [result.token_ids for result in alone]


def test_a_released_episode_is_forgotten(model: PreTrainedModel) -> None:
    engine = make_engine(model)
    run(engine, prompt_of(40), name="done")
    engine.release("done")
    assert run(engine, prompt_of(40), name="next").reused_tokens == 0


def test_memory_follows_use(model: PreTrainedModel) -> None:
    engine = make_engine(model, max_slots=64, max_length=2048)
    assert engine.kv_bytes == 0
    run(engine, prompt_of(20))
    per_position = 8 * 2 * 2 * 16
    assert engine.kv_bytes == per_position * 8 * 128
    engine.give_memory_back()
    assert engine.kv_bytes == 0
    assert run(engine, prompt_of(200)).reused_tokens == 0


# New weights.


def test_new_weights_drop_kept_kv(
    model: PreTrainedModel, other_model: PreTrainedModel, full_log_probs: LogProbs
) -> None:
    engine = make_engine(model)
    prompt = prompt_of(40)
    first = run(engine, prompt)
    named = [(name, tensor) for name, tensor in other_model.state_dict().items() if name != "lm_head.weight"]
    engine.load_weights(named, version=7)
    prompt = prompt + first.token_ids
    result = run(engine, prompt)
    assert (first.last_version, result.first_version, result.last_version) == (None, 7, 7)
    assert result.reused_tokens == 0
    assert result.log_probs == pytest.approx(full_log_probs(prompt, result.token_ids, model=other_model), abs=1e-5)


def test_requests_under_way_go_on_under_new_weights(
    model: PreTrainedModel, other_model: PreTrainedModel, full_log_probs: LogProbs
) -> None:
    engine = make_engine(model)
    engine.load_weights(model.state_dict().items(), version=1)
    futures = [add(engine, prompt_of(40), name=str(index)) for index in range(3)]
    for _ in range(5):
        engine.step()
    engine.load_weights(other_model.state_dict().items(), version=2)
    engine.run_until_idle()
    for future in futures:
        result = future.result()
        assert (result.first_version, result.last_version) == (1, 2)
        old = full_log_probs(prompt_of(40), result.token_ids)
        new = full_log_probs(prompt_of(40), result.token_ids, model=other_model)
        assert result.log_probs[:2] == pytest.approx(old[:2], abs=1e-5)
        assert result.log_probs[-7:] == pytest.approx(new[-7:], abs=1e-5)


def test_weights_that_do_not_fit_are_refused_whole(model: PreTrainedModel, other_model: PreTrainedModel) -> None:
    engine = make_engine(model)
    before = run(engine, prompt_of(30), temperature=0.0)
    fresh = dict(other_model.state_dict())
    with pytest.raises(ValueError, match=r"no weight named 'model\.norm\.wieght'.*model\.norm\.weight"):
        engine.load_weights({**fresh, "model.norm.wieght": fresh["model.norm.weight"]}.items(), version=1)
    with pytest.raises(ValueError, match=r"were not sent.*model\.norm\.weight"):
        engine.load_weights([item for item in fresh.items() if item[0] != "model.norm.weight"], version=1)
    with pytest.raises(ValueError, match="shape"):
        engine.load_weights({**fresh, "model.norm.weight": torch.zeros(3)}.items(), version=1)
    assert engine.version is None
    assert run(engine, prompt_of(30), temperature=0.0).token_ids == before.token_ids


# Ends.


def test_a_stop_token_ends_the_output_and_stays_in_it(model: PreTrainedModel) -> None:
    free = run(make_engine(model), prompt_of(25), temperature=0.0)
    token = free.token_ids[5]
    expected = free.token_ids[: free.token_ids.index(token) + 1]
    for ending in ({"stop_token_ids": (token,)}, {}):
        engine = make_engine(copy.deepcopy(model), eos_ids=[] if ending else [token])
        result = run(engine, prompt_of(25), temperature=0.0, **ending)
        assert (result.token_ids, result.stop_reason) == (expected, StopReason.STOP_TOKEN)
    engine = make_engine(copy.deepcopy(model), eos_ids=[token])
    assert run(engine, prompt_of(25), temperature=0.0, ignore_eos=True).token_ids == free.token_ids


def test_min_tokens_holds_stop_tokens_back_but_not_out_of_the_log_probs(
    model: PreTrainedModel, full_log_probs: LogProbs
) -> None:
    everything_stops = make_engine(model, eos_ids=range(1, VOCABULARY))
    result = run(everything_stops, prompt_of(25), min_tokens=4)
    assert result.token_ids[:4] == [0, 0, 0, 0]
    assert result.stop_reason in (StopReason.STOP_TOKEN, StopReason.LENGTH)
    assert result.log_probs == pytest.approx(full_log_probs(prompt_of(25), result.token_ids), abs=1e-5)


def spell(ids: list[int]) -> str:
    return "".join(f"<{token}>" for token in ids)


def test_a_stop_string_may_span_tokens_and_stays_in_the_output(model: PreTrainedModel) -> None:
    free = run(make_engine(model), prompt_of(25), temperature=0.0)
    third, fourth = free.token_ids[2:4]
    engine = make_engine(copy.deepcopy(model), decode=spell)
    other = add(engine, prompt_of(26), name="other", temperature=0.0)
    result = run(engine, prompt_of(25), temperature=0.0, stop=("never", f"{third}><{fourth}"))
    assert (result.token_ids, result.stop_reason) == (free.token_ids[:4], StopReason.STOP_STRING)
    assert other.result().stop_reason is StopReason.LENGTH
    assert (
        run(engine, [*prompt_of(25), third], temperature=0.0, stop=(f"<{third}><{fourth}><nothing",)).stop_reason
        is StopReason.LENGTH
    ), "text of the prompt does not count"


def test_an_output_that_fills_the_context_ends_there(model: PreTrainedModel, full_log_probs: LogProbs) -> None:
    engine = make_engine(model, max_length=64)
    result = run(engine, prompt_of(60), max_tokens=None)
    assert (len(result.token_ids), result.stop_reason) == (4, StopReason.LENGTH)
    assert result.log_probs == pytest.approx(full_log_probs(prompt_of(60), result.token_ids), abs=1e-5)
    assert len(run(engine, prompt_of(63), max_tokens=None).token_ids) == 1


def test_an_aborted_request_returns_what_it_has_and_resumes_without_loss(model: PreTrainedModel) -> None:
    engine = make_engine(model)
    whole = run(make_engine(copy.deepcopy(model)), prompt_of(30), temperature=0.0)
    futures = [add(engine, prompt_of(30), name=str(index), temperature=0.0) for index in range(2)]
    late = add(engine, prompt_of(31), name="0")
    for _ in range(5):
        engine.step()
    assert engine.abort("0") == 2
    partial = futures[0].result(timeout=0)
    assert partial.stop_reason is StopReason.ABORTED
    assert late.result(timeout=0).stop_reason.is_truncated
    engine.run_until_idle()
    assert futures[1].result().token_ids == whole.token_ids
    rest = run(engine, prompt_of(30) + partial.token_ids, max_tokens=12 - len(partial.token_ids), temperature=0.0)
    assert partial.token_ids + rest.token_ids == whole.token_ids
    assert rest.reused_tokens > 0
    assert engine.abort_all() == 0


def test_a_paused_engine_computes_nothing_and_then_goes_on(model: PreTrainedModel) -> None:
    engine = make_engine(model)
    future = add(engine, prompt_of(30))
    engine.step()
    engine.paused = True
    steps = engine.stats["steps"]
    engine.step()
    assert (engine.stats["steps"], future.done()) == (steps, False)
    engine.paused = False
    engine.run_until_idle()
    assert len(future.result().token_ids) == 12


# Failures.


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([], "empty"),
        (prompt_of(256), "256 tokens"),
        ([1, VOCABULARY, 2], f"token id {VOCABULARY}"),
        ([1, -1], "token id -1"),
        ([1.5, 2.0], "integers"),
        ([[1], [2]], "flat"),
        ([[1], [2, 3]], "not a list"),
    ],
)
def test_a_bad_prompt_fails_alone(model: PreTrainedModel, prompt: list[int], words: str) -> None:
    engine = make_engine(model)
    good = add(engine, prompt_of(20))
    bad = add(engine, prompt)
    with pytest.raises(RequestError, match=words):
        bad.result(timeout=0)
    engine.run_until_idle()
    assert len(good.result().token_ids) == 12


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temprature": 1.0}, "did you mean 'temperature'"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"stop": [""]}, "stop string"),
        ({"top_k": None}, "wrong type"),
    ],
)
def test_a_bad_sampling_parameter_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        SamplingParams.from_mapping(values)


def test_outsized_parameters_mean_all_there_is(model: PreTrainedModel) -> None:
    result = run(make_engine(model, max_length=32), prompt_of(20), top_k=2**80, min_tokens=2**80, max_tokens=2**80)
    assert (len(result.token_ids), result.stop_reason) == (12, StopReason.LENGTH)


def test_verls_names_are_understood() -> None:
    params = SamplingParams.from_mapping(
        {"max_new_tokens": 5, "top_k": -1, "logprobs": True, "stop": "x", "include_stop_str_in_output": True}
    )
    assert params == SamplingParams(max_tokens=5, top_k=-1, stop=("x",))


def test_a_stop_string_without_a_tokenizer_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(RequestError, match="tokenizer"):
        run(make_engine(model), prompt_of(20), stop=("x",))


def test_a_failed_forward_pass_ends_only_its_own_requests(
    model: PreTrainedModel, full_log_probs: LogProbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(model, max_slots=2)
    inside = [add(engine, prompt_of(20, seed=seed)) for seed in range(2)]
    outside = add(engine, prompt_of(21))
    engine.step()
    calls = iter([True])
    forward = engine._model.base_model.forward

    def broken(*args: object, **kwargs: object) -> object:
        if next(calls, False):
            raise MemoryError("no room")
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine._model.base_model, "forward", broken)
    engine.run_until_idle()
    for future in inside:
        with pytest.raises(StepError, match="no room"):
            future.result(timeout=0)
    result = outside.result(timeout=0)
    assert result.log_probs == pytest.approx(full_log_probs(prompt_of(21), result.token_ids), abs=1e-5)


def test_diverged_weights_are_reported_and_leave_no_trace(model: PreTrainedModel, full_log_probs: LogProbs) -> None:
    engine = make_engine(model)
    good = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    engine.load_weights({**good, "model.norm.weight": torch.full((64,), float("nan"))}.items(), version=1)
    with pytest.raises(StepError, match="not finite"):
        run(engine, prompt_of(30))
    broken_layer = {**good, "model.layers.0.mlp.down_proj.weight": torch.full((64, 128), float("inf"))}
    engine.load_weights(broken_layer.items(), version=2)
    futures = [add(engine, prompt_of(200, seed=seed)) for seed in range(4)]
    engine.run_until_idle()
    assert all(isinstance(future.exception(timeout=0), StepError) for future in futures)
    engine.load_weights(good.items(), version=3)
    futures = [add(engine, prompt_of(length)) for length in (10, 200, 30)]
    engine.run_until_idle()
    for length, future in zip((10, 200, 30), futures, strict=True):
        result = future.result()
        assert result.log_probs == pytest.approx(full_log_probs(prompt_of(length), result.token_ids), abs=1e-5)


# Determinism.


def test_equal_seeds_and_arrivals_give_equal_outputs(model: PreTrainedModel) -> None:
    def outputs(seed: int) -> list[list[int]]:
        engine = make_engine(copy.deepcopy(model), seed=seed)
        futures = [add(engine, prompt_of(20, seed=index % 3)) for index in range(6)]
        engine.run_until_idle()
        return [future.result().token_ids for future in futures]

    assert outputs(0) == outputs(0)
    assert outputs(0) != outputs(1)


def test_a_requests_own_seed_decides_alone(model: PreTrainedModel) -> None:
    engine = make_engine(model)
    alone = run(make_engine(copy.deepcopy(model)), prompt_of(20), seed=3)
    futures = [add(engine, prompt_of(20 + index), name=str(index)) for index in range(4)]
    crowded = add(engine, prompt_of(20), seed=3)
    engine.run_until_idle()
    assert crowded.result().token_ids == alone.token_ids
    assert futures[0].result().token_ids != alone.token_ids


def test_the_turns_of_an_episode_share_a_seed_but_no_draws(model: PreTrainedModel) -> None:
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()  # every token is as likely as any other, so the draws alone choose
    engine = make_engine(model)
    first, again, longer = (run(engine, prompt_of(length), seed=3).token_ids for length in (20, 20, 21))
    assert first == again
    assert not set(enumerate(first)) & set(enumerate(longer))


def test_a_reproducible_engine_gives_the_same_bits_whatever_came_before_or_waits(model: PreTrainedModel) -> None:
    def outputs(engine: RolloutEngine, chosen: Sequence[int]) -> dict[int, tuple[list[int], list[float]]]:
        futures = {index: add(engine, prompt_of(30 + 9 * index), name=str(index), seed=index) for index in chosen}
        engine.run_until_idle()
        results = {index: future.result(timeout=0) for index, future in futures.items()}
        return {index: (result.token_ids, result.log_probs) for index, result in results.items()}

    engines = [make_engine(copy.deepcopy(model), reproducible=True, prefill_tokens=16) for _ in range(3)]
    together = outputs(engines[0], range(8))
    backwards = outputs(engines[1], range(7, -1, -1))
    alone = {index: outputs(engines[2], [index])[index] for index in (5, 0, 5, 7)}
    assert together == backwards
    assert all(together[index] == output for index, output in alone.items())
    engines[2].give_memory_back()
    assert outputs(engines[2], [5])[5] == together[5]
    assert engines[0].stats["reused_tokens"] == 0


# Watchers.


def test_a_watcher_hears_every_token_of_its_request_but_the_stop_token(model: PreTrainedModel) -> None:
    plain = run(make_engine(model), prompt_of(20), temperature=0).token_ids
    stop = next(token for place, token in enumerate(plain) if token not in plain[:place] and place > 2)
    heard: dict[str, list[int]] = {"whole": [], "stopped": []}
    engine = make_engine(model)
    for name, ids in (("whole", ()), ("stopped", (stop,)), ("silent", ())):
        params = SamplingParams(max_tokens=12, temperature=0, stop_token_ids=ids)
        watcher = heard[name].append if name in heard else None
        engine.add(Request(request_id=name, prompt_ids=prompt_of(20), params=params, on_token=watcher))
    engine.run_until_idle()
    assert heard == {"whole": plain, "stopped": plain[: plain.index(stop)]}


# The thread.


def test_the_thread_serves_many_callers_and_closes_cleanly(model: PreTrainedModel) -> None:
    thread = EngineThread(make_engine(model))
    futures = [thread.submit(Request(request_id=str(index), prompt_ids=prompt_of(20 + index))) for index in range(5)]
    assert thread.call(lambda engine: engine.abort("4")).result(timeout=5) == 1
    assert [len(future.result(timeout=10).token_ids) for future in futures[:4]] == [236, 235, 234, 233]
    cancelled = thread.submit(Request(request_id="c", prompt_ids=prompt_of(20)))
    cancelled.cancel()
    assert thread.call(lambda engine: engine.has_work).result(timeout=5) is False
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda engine: 1 // 0).result(timeout=5)
    thread.call(lambda engine: setattr(engine, "paused", True)).result(timeout=5)
    stuck = thread.submit(Request(request_id="x", prompt_ids=[1, 2]))
    thread.close()
    thread.close()
    with pytest.raises(EngineClosed):
        stuck.result(timeout=5)
    with pytest.raises(EngineClosed):
        thread.call(lambda engine: None)


def test_a_bug_in_the_engine_reaches_its_callers(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(model)
    monkeypatch.setattr(engine, "_admit", lambda: 1 // 0)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    thread = EngineThread(engine)
    future = thread.submit(Request(request_id="x", prompt_ids=[1, 2]))
    with pytest.raises(ZeroDivisionError):
        future.result(timeout=5)
    with pytest.raises(EngineClosed):
        thread.submit(Request(request_id="y", prompt_ids=[1, 2]))
