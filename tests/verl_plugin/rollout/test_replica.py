"""verl's side, with a real Ray actor: two replicas, weights from two trainer ranks, and a client's turn."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from toys import rollout_config
from transformers import PreTrainedModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model_path(reference: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    copy.deepcopy(reference).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    import ray

    root = str(Path(__file__).parents[3])
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": root}})
    yield
    ray.shutdown()


def test_the_name_is_known_to_verl() -> None:
    from verl.workers.rollout.base import get_rollout_class
    from verl.workers.rollout.replica import get_rollout_replica_class

    from env_tuning.verl_plugin.rollout import replica

    replica.register()
    replica.register()
    assert get_rollout_class("transformers") is replica.ServerAdapter
    assert get_rollout_replica_class("transformers") is replica.TransformersReplica


def test_two_replicas_get_weights_from_their_leaders_and_generate(
    ray_here: None,
    model_path: str,
    other_model: PreTrainedModel,
    full_log_probs: Callable[..., list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from omegaconf import OmegaConf
    from verl.workers.rollout.replica import TokenOutput

    from env_tuning.verl_plugin.rollout.launch import start_server
    from env_tuning.verl_plugin.rollout.replica import ServerAdapter, TransformersReplica

    config, model = rollout_config(), OmegaConf.create({"path": model_path})
    workers = SimpleNamespace(workers=[object(), object()])
    prompt = list(range(10, 40))

    def adapter(rank: int) -> ServerAdapter:
        monkeypatch.setenv("RANK", str(rank))
        return ServerAdapter(config, SimpleNamespace(path=model_path), device_mesh=None)

    early = start_server(OmegaConf.structured(config), model, 0)

    async def scenario() -> None:
        process = await early.ready.remote()
        replicas = [TransformersReplica(rank, config, model, gpus_per_node=2) for rank in range(2)]
        await asyncio.gather(*[replica.init_hybrid(workers) for replica in replicas])
        assert len({replica.server_address for replica in replicas}) == 2
        assert replicas[0].server_address.endswith(f":{process}/0"), "the server that was there is not started again"
        for rank, replica in enumerate(replicas):
            trainer = adapter(rank)
            await replica.sleep()
            await trainer.resume(["weights"])
            with pytest.raises(ValueError, match="no weight named"):
                await trainer.update_weights(iter([("wrong", next(other_model.parameters()))]), global_steps=3)
            await trainer.update_weights(iter(other_model.state_dict().items()), global_steps=3, base_sync_done=True)
            await trainer.resume(["kv_cache"])
        params = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}
        asked = [
            replica.server_handle.generate.remote(
                request_id="x", prompt_ids=prompt, sampling_params=params, image_data=None, video_data=None
            )
            for replica in replicas
        ]
        outputs = await asyncio.gather(*asked)
        assert outputs[0].token_ids != outputs[1].token_ids, "replicas must not draw alike"
        for output in outputs:
            assert output.extra_fields["global_steps"] == 3
            expected = full_log_probs(prompt, output.token_ids, model=other_model)
            assert output.log_probs == pytest.approx(expected, abs=1e-5)
            TokenOutput(**{name: getattr(output, name) for name in TokenOutput.model_fields})
        await replicas[0].abort_all_requests()
        await replicas[0].resume_generation()
        await replicas[0].clear_kv_cache()
        await replicas[0].release_kv_cache()
        await replicas[0].resume_kv_cache()
        await replicas[0].start_profile()
        await replicas[0].stop_profile()

    asyncio.run(scenario())


def test_what_the_adapter_cannot_send_is_refused(model_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from env_tuning.verl_plugin.rollout.replica import ServerAdapter

    monkeypatch.setenv("RANK", "0")
    adapter = ServerAdapter(rollout_config(), SimpleNamespace(path=model_path), device_mesh=None)
    with pytest.raises(ValueError, match="delta_flush"):
        asyncio.run(adapter.update_weights(iter([]), wire_format="delta_flush"))
    with pytest.raises(ValueError, match=r"lora\.merge"):
        asyncio.run(adapter.update_weights(iter([]), peft_config=object()))
