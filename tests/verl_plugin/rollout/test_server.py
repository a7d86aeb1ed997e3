"""The server's methods, called directly: no Ray, no verl."""

from __future__ import annotations

import ast
import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from env_tuning.verl_plugin.rollout.engine import EngineConfig
from env_tuning.verl_plugin.rollout.request import RequestError
from env_tuning.verl_plugin.rollout.server import ServerConfig, TransformersServer, eos_ids

PROMPT = list(range(10, 40))


@pytest.fixture(scope="session")
def model_path(reference: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model folder with a tokenizer in which token 7 is the word `w7`, and two end tokens."""
    folder = tmp_path_factory.mktemp("model")
    copy.deepcopy(reference).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{index}": index for index in range(384)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w380").save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [380, 381]}))
    yield str(folder)


@pytest.fixture
def config(model_path: str) -> ServerConfig:
    return ServerConfig(model_path=model_path, engine=EngineConfig(max_slots=8, max_length=128), load_weights=True)


@asynccontextmanager
async def serving(config: ServerConfig) -> AsyncIterator[TransformersServer]:
    server = TransformersServer(config)
    try:
        yield server
    finally:
        await server.shutdown()


def arrays(model: PreTrainedModel) -> list[tuple[str, np.ndarray]]:
    return [(name, tensor.numpy()) for name, tensor in model.state_dict().items() if name != "lm_head.weight"]


def test_a_turn_has_the_fields_that_verl_reads(
    config: ServerConfig, full_log_probs: Callable[..., list[float]]
) -> None:
    async def scenario() -> None:
        async with serving(config) as server:
            params = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}
            first = await server.generate("a", PROMPT, {**params, "max_tokens": 8})
            assert first.stop_reason == "length"
            assert first.log_probs == pytest.approx(full_log_probs(PROMPT, first.token_ids), abs=1e-5)
            second = await server.generate("b", PROMPT + first.token_ids, {"max_new_tokens": 3})
            assert (len(second.token_ids), second.log_probs) == (3, None)
            assert second.extra_fields["num_cached_tokens"] == len(PROMPT) + 7
            assert (await server.stats())["prefill_tokens"] == len(PROMPT)

    asyncio.run(scenario())


def test_verls_token_output_can_be_built_from_ours(config: ServerConfig) -> None:
    fields = {"token_ids", "log_probs", "routed_experts", "stop_reason", "num_preempted", "extra_fields"}

    async def scenario() -> None:
        async with serving(config) as server:
            output = await server.generate("a", PROMPT, {"max_tokens": 2})
            assert {name: hasattr(output, name) for name in fields} == dict.fromkeys(fields, True)

    asyncio.run(scenario())


def test_a_request_without_a_limit_gets_what_is_left_of_the_response(config: ServerConfig) -> None:
    async def scenario() -> None:
        async with serving(replace(config, prompt_length=20, response_length=15, ignore_eos=True)) as server:
            assert len((await server.generate("a", PROMPT[:20], {})).token_ids) == 15
            assert len((await server.generate("b", PROMPT, {})).token_ids) == 5
            assert len((await server.generate("c", PROMPT * 2, {"max_tokens": None})).token_ids) == 1

    asyncio.run(scenario())


def test_end_tokens_come_from_tokenizer_and_generation_config(model_path: str, config: ServerConfig) -> None:
    assert eos_ids(model_path) == [380, 381]

    async def scenario() -> None:
        async with serving(config) as server:
            free = await server.generate("a", PROMPT, {"temperature": 0.0, "max_tokens": 6})
            text = f"w{free.token_ids[3]}"
            cut = await server.generate("b", PROMPT, {"temperature": 0.0, "max_tokens": 6, "stop": [text]})
            expected = free.token_ids[: free.token_ids.index(free.token_ids[3]) + 1]
            assert (cut.token_ids, cut.stop_reason) == (expected, "completed")
            assert cut.extra_fields["finish_reason"] == "stop_string"

    asyncio.run(scenario())


def test_weights_in_pieces_change_the_model_at_once_and_stamp_the_version(
    config: ServerConfig, other_model: PreTrainedModel, full_log_probs: Callable[..., list[float]]
) -> None:
    async def scenario() -> None:
        async with serving(replace(config, load_weights=False)) as server:
            with pytest.raises(RuntimeError, match="no weights"):
                await server.generate("a", PROMPT, {})
            named = arrays(other_model)
            named[0][1].flags.writeable = False  # as Ray delivers them
            await server.load_weights(named[:3], 5, final=False)
            await server.drop_staged_weights()
            await server.load_weights(named[:4], 5, final=False)
            await server.load_weights(named[4:], 5)
            output = await server.generate("a", PROMPT, {"max_tokens": 5, "logprobs": True})
            assert [output.extra_fields[f"{name}global_steps"] for name in ("", "min_", "max_")] == [5, 5, 5]
            expected = full_log_probs(PROMPT, output.token_ids, model=other_model)
            assert output.log_probs == pytest.approx(expected, abs=1e-5)
            with pytest.raises(ValueError, match="no weight named"):
                await server.load_weights([("wrong", np.zeros(3, dtype=np.float32))], 6)

    asyncio.run(scenario())


def test_sleep_holds_requests_until_the_kv_cache_is_woken(config: ServerConfig) -> None:
    async def scenario() -> None:
        async with serving(config) as server:
            await server.sleep()
            held = asyncio.ensure_future(server.generate("a", PROMPT, {"max_tokens": 4}))
            await server.wake_up(["weights"])
            await asyncio.sleep(0.02)
            assert not held.done()
            await server.wake_up(["kv_cache"])
            assert len((await held).token_ids) == 4
        async with serving(replace(config, sleeps=False)) as server:
            await server.sleep()
            assert len((await server.generate("a", PROMPT, {"max_tokens": 4})).token_ids) == 4

    asyncio.run(scenario())


@pytest.mark.parametrize("reject", [False, True])
def test_abort_returns_what_there_is_and_the_gate_holds_or_rejects_newcomers(
    config: ServerConfig, reject: bool
) -> None:
    async def scenario() -> None:
        async with serving(config) as server:
            running = [asyncio.ensure_future(server.generate(str(i), PROMPT, {"max_tokens": 90})) for i in range(3)]
            await asyncio.sleep(0.01)
            assert await server.abort_all_requests(reject_request=reject) == {"aborted_count": 3}
            assert [(await task).stop_reason for task in running] == ["aborted"] * 3
            late = asyncio.ensure_future(server.generate("late", PROMPT, {"max_tokens": 4}))
            await asyncio.sleep(0.02)
            assert late.done() is reject
            await server.clear_kv_cache()
            await server.resume_generation()
            assert (await late).stop_reason == ("aborted" if reject else "length")

    asyncio.run(scenario())


def test_one_bad_request_fails_alone_and_a_cancelled_one_is_dropped(config: ServerConfig) -> None:
    async def scenario() -> None:
        async with serving(config) as server:
            good = asyncio.ensure_future(server.generate("good", PROMPT, {"max_tokens": 50}))
            cancelled = asyncio.ensure_future(server.generate("gone", PROMPT, {"max_tokens": 90}))
            await asyncio.sleep(0.01)
            cancelled.cancel()
            for prompt, params in (([], {}), ([999], {}), (PROMPT, {"best_of": 2}), (PROMPT * 9, {})):
                with pytest.raises(RequestError):
                    await server.generate("bad", prompt, params)
            with pytest.raises(RequestError, match="text only"):
                await server.generate("bad", PROMPT, {}, image_data=["picture"])
            assert len((await good).token_ids) == 50
            await server.release("good")
            assert await server.abort_request("gone") == {"aborted": False, "request_id": "gone"}

    asyncio.run(scenario())


ROLLOUT = Path(__file__).parents[3] / "env_tuning" / "verl_plugin" / "rollout"


ABOVE = {"replica.py", "launch.py"}


@pytest.mark.parametrize("file", sorted({path.name for path in ROLLOUT.glob("*.py")} - ABOVE))
def test_server_and_engine_import_neither_verl_nor_ray(file: str) -> None:
    for node in ast.walk(ast.parse((ROLLOUT / file).read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not {name.split(".")[0] for name in names} & {"verl", "ray"}
        assert not any(name.endswith("rollout.replica") for name in names)


def test_the_packages_above_the_server_import_neither_verl_nor_torch() -> None:
    check = "import env_tuning.verl_plugin.rollout.request, sys; print({'verl', 'ray', 'torch'} & set(sys.modules))"
    root = ROLLOUT.parents[2]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
