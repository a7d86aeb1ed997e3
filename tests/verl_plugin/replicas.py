"""A rollout replica as a trainer has it, of any engine that verl knows, in a process of its own.

Owns: starting it from a composed configuration and asking it what verl asks. Refuses: judging answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from running import PROJECT, TEST_PATH, toy_overrides
from toys import make_model

LIMIT_SECONDS = 600
"""The outer limit of one question: an engine that hangs must not hang the suite."""


class _Nothing:
    """A worker: it is asked only where it lives."""


class Trainer:
    """A trainer's side of one replica. Only what runs in its process imports verl."""

    async def start(self, config: Mapping[str, Any]) -> None:
        """Start the replica's server and make the adapter of the one worker."""
        import verl  # noqa: F401  (registers the plugin)
        from omegaconf import OmegaConf
        from verl.utils.config import omega_conf_to_dataclass
        from verl.workers.config import HFModelConfig
        from verl.workers.rollout.base import get_rollout_class
        from verl.workers.rollout.replica import get_rollout_replica_class

        os.environ.update({"RANK": "0", "RAY_LOCAL_WORLD_SIZE": "1"})
        rollout = omega_conf_to_dataclass(OmegaConf.create(dict(config["rollout"])))
        model = omega_conf_to_dataclass(OmegaConf.create(dict(config["model"])), dataclass_type=HFModelConfig)
        self._replica = get_rollout_replica_class(rollout.name)(0, rollout, model, gpus_per_node=1)
        self._worker = ray.remote(num_gpus=1)(_Nothing).remote()
        await self._replica.init_hybrid(SimpleNamespace(workers=[self._worker]))
        self._adapter = get_rollout_class(rollout.name)(config=rollout, model_config=model, device_mesh=None)

    async def send(self, folder: Path, step: int, *, rename: Mapping[str, str] | None = None) -> None:
        """Send the weights of a model folder, some perhaps under other names."""
        from transformers import AutoModelForCausalLM

        weights = AutoModelForCausalLM.from_pretrained(folder).state_dict()
        named = {(rename or {}).get(name, name): tensor for name, tensor in weights.items()}
        await self._adapter.update_weights(iter(named.items()), global_steps=step)

    async def generate(self, request_id: str, prompt: Sequence[int], **params: Any) -> dict[str, Any]:
        """One answer, as plain values."""
        output = await self._replica.server_handle.generate.remote(
            request_id=request_id, prompt_ids=list(prompt), sampling_params={"logprobs": True, **params}
        )
        return {
            "tokens": list(output.token_ids),
            "log_probs": output.log_probs,
            "stop": output.stop_reason,
            "cached": output.extra_fields.get("num_cached_tokens"),
            "step": output.extra_fields.get("global_steps"),
        }

    async def generate_all(self, prompts: Sequence[Sequence[int]], **params: Any) -> list[dict[str, Any]]:
        """Answers to several at once."""
        asked = [self.generate(f"r{at}", prompt, **params) for at, prompt in enumerate(prompts)]
        return await asyncio.gather(*asked)

    async def abort_all(self) -> None:
        """Call all requests back, and let new ones in."""
        await self._replica.abort_all_requests()
        await self._replica.resume_generation()

    async def abort(self, request_id: str) -> bool:
        """Call one request back."""
        return bool((await self._replica.server_handle.abort_request.remote(request_id))["aborted"])


class Replica:
    """The trainer's side, asked from the test's process."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Ask and wait."""
        return ray.get(self.start(name, *args, **kwargs), timeout=LIMIT_SECONDS)

    def start(self, name: str, *args: Any, **kwargs: Any) -> ray.ObjectRef:
        """Ask, for `ray.get` to wait."""
        return getattr(self._actor, name).remote(*args, **kwargs)


@contextlib.contextmanager
def replica_of(engine: str, folder: Path) -> Iterator[Replica]:
    """A replica of an engine (a name of configs/rollout), with the model of `folder / "model"` and no weights yet."""
    from omegaconf import OmegaConf

    from env_tuning.verl_plugin.compose import compose_config
    from env_tuning.verl_plugin.main import set_environment

    overrides = [
        *toy_overrides(folder),
        f"rollout={engine}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
        f"env_tuning.output_dir={folder / 'run'}",
        "data.max_prompt_length=1024",
        "data.max_response_length=3072",
    ]
    config = compose_config(PROJECT / "configs", "stage1", overrides)
    of_a_run: dict[str, str] = {}
    set_environment(config, of_a_run)
    # Those of Ray count where a cluster starts, which this process has settled.
    environment = {name: value for name, value in of_a_run.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = TEST_PATH
    plain = OmegaConf.to_container(config.actor_rollout_ref, resolve=True)
    ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, runtime_env={"env_vars": environment})
    try:
        replica = Replica(ray.remote(Trainer).remote())
        replica.ask("start", plain)
        yield replica
    finally:
        ray.shutdown()


def make_models(folder: Path) -> None:
    """Models of one shape: `model` and `other` at random, and `counting`, which writes the token after the last one."""
    import torch
    from transformers import AutoModelForCausalLM

    shape = {"head_dim": 32, "hidden_size": 64, "tie_word_embeddings": False, "initializer_range": 0.15}
    for seed, name in enumerate(("model", "other", "counting")):
        make_model(folder / name, seed, **shape)
    model = AutoModelForCausalLM.from_pretrained(folder / "counting")
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding = model.get_input_embeddings().weight
        torch.nn.init.normal_(embedding, std=0.15)  # the row of the padding token was zero
        model.get_output_embeddings().weight.copy_(10 * embedding.roll(1, dims=0))
    model.save_pretrained(folder / "counting")
