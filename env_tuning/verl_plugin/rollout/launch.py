"""Starting the transformers rollout's servers: their actors, names and configuration.

Owns: the translation of verl's configuration, and the options of the actor. Refuses: importing verl, whose import a
process on one machine does while its servers start; generation (`server`).
"""

from __future__ import annotations

import os
from typing import Any

import ray
from omegaconf import DictConfig
from ray.actor import ActorHandle

from env_tuning.verl_plugin.rollout.engine import EngineConfig
from env_tuning.verl_plugin.rollout.server import ServerConfig, TransformersServer

ROLLOUT_NAME = "transformers"
# What `rollout.engine_kwargs.transformers` may set.
ENGINE_KEYS = frozenset({"threads", "prefill_tokens", "min_shared_tokens", "keep_kv", "reproducible"})


def server_config(rollout: Any, model: Any, replica_rank: int = 0) -> ServerConfig:
    """Translate verl's rollout and model configuration.

    Args:
        rollout: `actor_rollout_ref.rollout`. Besides verl's own keys, `engine_kwargs.transformers` may hold those of
            `ENGINE_KEYS`.
        model: `actor_rollout_ref.model`.
        replica_rank: Added to the seed: equal seeds would give the rollouts of one group, spread over replicas, equal
            draws.

    Raises:
        ValueError: `engine_kwargs.transformers` has an unknown key, or the rollout's dtype is not fp32.
    """
    extra = dict((rollout.engine_kwargs or {}).get(ROLLOUT_NAME) or {})
    unknown = sorted(extra.keys() - ENGINE_KEYS)
    if unknown:
        raise ValueError(f"rollout.engine_kwargs.transformers: unknown keys {unknown}; known are {sorted(ENGINE_KEYS)}")
    if rollout.dtype not in ("float32", "fp32"):
        raise ValueError(f"rollout.name=transformers computes in fp32; set rollout.dtype=float32 (now {rollout.dtype})")
    threads = int(extra.pop("threads", None) or os.environ.get("OMP_NUM_THREADS") or 1)
    return ServerConfig(
        model_path=model.get("local_path") or model.path,
        engine=EngineConfig(
            max_slots=rollout.max_num_seqs,
            max_length=rollout.max_model_len or rollout.prompt_length + rollout.response_length,
            seed=rollout.seed + replica_rank,
            **extra,
        ),
        prompt_length=rollout.prompt_length,
        response_length=rollout.response_length,
        threads=threads,
        load_weights="dummy" not in rollout.load_format,
        sleeps=rollout.free_cache_engine,
        ignore_eos=rollout.ignore_eos,
    )


def workers_of_replica(rollout: Any) -> int:
    """How many of the trainer's workers verl gives to one replica."""
    return int(rollout.tensor_model_parallel_size * rollout.data_parallel_size * rollout.pipeline_model_parallel_size)


def actor_name(replica_rank: int, suffix: str = "") -> str:
    """The Ray name of a replica's server."""
    return f"{ROLLOUT_NAME}_server_{replica_rank}{suffix}"


def start_server(rollout: Any, model: Any, replica_rank: int, suffix: str = "") -> ActorHandle:
    """The replica's server, which is started unless it was. It lives as long as someone holds it."""
    options = {
        "name": actor_name(replica_rank, suffix),
        "get_if_exists": True,
        # verl/workers/rollout/replica.py: Ray's default, or every slot and calls that control the server.
        "max_concurrency": max(1000, rollout.max_num_seqs + 16),
        "num_cpus": 0,  # The workers' placement group holds the processors; the server shares them by turns.
    }
    return ray.remote(TransformersServer).options(**options).remote(server_config(rollout, model, replica_rank))


def start_all(config: DictConfig) -> list[ActorHandle]:
    """The servers that verl is going to want beside the trainer's workers; of another engine, none."""
    actor = config.actor_rollout_ref
    if actor.rollout.name != ROLLOUT_NAME or not actor.hybrid_engine:
        return []
    replicas = config.trainer.nnodes * config.trainer.n_gpus_per_node // workers_of_replica(actor.rollout)
    return [start_server(actor.rollout, actor.model, rank) for rank in range(replicas)]
