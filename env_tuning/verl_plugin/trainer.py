"""`EnvTuningTrainer`: verl's synchronous PPO trainer with eyes for episodes, on any hardware.

Owns: the choice of CPU workers, a quick poll, the direct rollout client, per-trajectory metrics, the dump of whole
trajectories, the progress line, and the end of a run whose episodes fail. Refuses: the algorithm, which stays
verl's. ``trainer.v1.trainer_mode=env_tuning`` chooses it.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.workers.rollout.llm_server import LLMServerClient

from env_tuning.verl_plugin import registration  # noqa: F401  (this process starts the rollout replicas)
from env_tuning.verl_plugin.progress import Progress
from env_tuning.verl_plugin.router import LightRouter

NAME = "env_tuning"

_POLL_SECONDS = 0.05
_SPREAD = frozenset({"score", "steps", "response_tokens", "trained_tokens"})
"""What is logged with its smallest and largest value, beside the mean."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One trajectory as it is counted and dumped."""

    uid: str
    group: int
    """Position among the trajectories of the same prompt."""
    data_source: str
    score: float
    numbers: Mapping[str, float]
    trained_tokens: int
    response_tokens: int
    trajectory: Mapping[str, Any] | None

    def line(self, step: int) -> str:
        """One line of a dump."""
        return json.dumps(
            {
                "step": step,
                "uid": self.uid,
                "group": self.group,
                "data_source": self.data_source,
                "score": self.score,
                "reward": self.numbers,
                "trained_tokens": self.trained_tokens,
                "response_tokens": self.response_tokens,
                "trajectory": self.trajectory,
            },
            ensure_ascii=False,
        )


class DirectClient(LLMServerClient):
    """Calls the servers without asking a router actor first: two remote calls less per message.

    Right only where all agent loops share this one object, which is the case in `LocalLoops`. Requests keep the id
    of their episode, so that a server may keep the episode's cache.
    """

    def __init__(self, config: DictConfig, load_balancer_handle: Any, servers: Mapping[str, Any]) -> None:
        super().__init__(config, load_balancer_handle)
        self._router = LightRouter(servers)

    async def _acquire_server(self, request_id: str, **_: Any) -> tuple[str, Any]:
        return self._router.acquire_server(request_id)

    def _release_server(self, server_id: str, request_id: str | None = None) -> None:
        self._router.release_server(server_id)

    def _vllm_request_id(self, request_id: str) -> str:
        return request_id

    def release(self, request_id: str) -> None:
        """Tell the episode's server that the episode is over. Not awaited: nothing depends on it."""
        server = self._router.forget(request_id)
        if server is not None and hasattr(server, "release"):
            server.release.remote(request_id)


class ObservedBuffer:
    """verl's replay buffer, whose samples are shown to the trainer before anything else happens to them."""

    def __init__(self, buffer: Any, *, failed: Callable[[int], None], sampled: Callable[[Any], None]) -> None:
        """Call `failed` with the number of failed groups, then `sampled` with the batch, after every sample."""
        self._buffer = buffer
        self._failed = failed
        self._sampled = sampled

    def sample(self, *, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """See `verl.trainer.ppo.v1.replay_buffer.ReplayBuffer.sample`."""
        try:
            batch, metrics = self._buffer.sample(
                global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
            )
        finally:  # verl itself raises when every group failed, without the reason
            self._failed(len(self._buffer.failure_keys[partition_id]))
        self._sampled(batch)
        return batch, metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)


@register_trainer(NAME)
class EnvTuningTrainer(PPOTrainerSync):
    """The trainer of all hardware groups."""

    def __init__(self, config: DictConfig) -> None:
        with open_dict(config):
            # verl/trainer/ppo/v1 tests `trainer_mode != "sync"` in many places and takes every other name for an
            # asynchronous mode (another buffer, another checkpoint format).
            config.trainer.v1.trainer_mode = "sync"
        self._started = time.monotonic()
        self._on_cpu = config.trainer.device == "cpu"
        self._settings = config.env_tuning
        self._records: list[EpisodeRecord] = []
        self._validation: list[EpisodeRecord] = []
        self._progress = Progress(Path(self._settings.output_dir))
        self._progress.tell("start", stage=self._settings.stage, output_dir=self._settings.output_dir)
        super().__init__(config)

    # What runs where ------------------------------------------------------------------------------------------

    def _build_replay_buffer(self) -> ObservedBuffer:
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = _POLL_SECONDS  # verl's default is 2 s, which a small step would mostly wait for
        return ObservedBuffer(buffer, failed=self._on_failed, sampled=self._on_sampled)

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if self._on_cpu:
            from env_tuning.verl_plugin.workers import CpuActorRolloutRefWorker, CpuTrainingWorker

            for role in self.role_worker_mapping:
                worker = CpuTrainingWorker if role == Role.Critic else CpuActorRolloutRefWorker
                self.role_worker_mapping[role] = ray.remote(worker)

    def get_llm_client(self) -> LLMServerClient:
        """The client of the agent loops."""
        servers = self.llm_server_manager
        if not self._on_cpu:
            return servers.get_client()
        return servers.get_client(
            client_cls=DirectClient,
            servers=dict(zip(servers.server_addresses, servers.server_handles, strict=True)),
        )

    def on_init_end(self) -> None:
        """Report that the run is ready."""
        super().on_init_end()
        self._progress.tell(
            "ready",
            seconds=time.monotonic() - self._started,
            step=self.global_steps,
            total=self.total_training_steps,
            train_rows=len(self.train_dataset),
            val_rows=len(self.val_dataset),
        )

    # What is seen ---------------------------------------------------------------------------------------------

    def on_step_begin(self) -> None:
        """Forget the trajectories of the step before."""
        super().on_step_begin()
        self._records.clear()

    def _on_failed(self, failed_groups: int) -> None:
        # verl trains on what is left of a batch when agent loops raise; here a tool's error is data and an exception
        # is a bug or a wrong setting, which a hundred more steps would not mend.
        if failed_groups > self._settings.max_failed_groups:
            errors = getattr(self.agent_loop_manager, "errors", [])
            raise RuntimeError(
                f"{failed_groups} groups of episodes failed in step {self.global_steps} "
                f"(env_tuning.max_failed_groups={self._settings.max_failed_groups})"
                + (f"; the first error: {errors[0]}" if errors else "; see the tracebacks above")
            ) from (errors[0] if errors else None)

    def _on_sampled(self, batch: Any) -> None:
        records = _read_records(batch)
        (self._validation if batch.partition_id == "val" else self._records).extend(records)

    def _validate(self) -> dict[str, float]:
        self._validation.clear()
        started = time.monotonic()
        metrics = super()._validate()
        means = _means(self._validation)
        metrics.update({f"val/{name}": value for name, value in means.items()})
        self._progress.tell(
            "validation",
            step=self.global_steps,
            episodes=len(self._validation),
            seconds=time.monotonic() - started,
            **means,
        )
        return metrics

    def _compute_metrics(
        self, batch: Any, metrics: dict[str, Any], timing_raw: dict[str, float], global_steps: int, epoch: int
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        columns = _columns(self._records)
        for name, values in columns.items():
            metrics[f"env/{name}/mean"] = float(np.mean(values))
        for name in _SPREAD & columns.keys():
            metrics[f"env/{name}/min"] = float(np.min(columns[name]))
            metrics[f"env/{name}/max"] = float(np.max(columns[name]))
        if "actor/entropy_loss" in metrics:  # without the old-log-prob pass verl has only this name for it
            metrics.setdefault("actor/entropy", metrics["actor/entropy_loss"])
        metrics["env/groups_without_signal"] = _share_without_signal(self._records)
        self._progress.tell("step", **self._step_record(metrics, timing_raw, global_steps))

    def _step_record(self, metrics: Mapping[str, Any], timings: Mapping[str, float], step: int) -> dict[str, Any]:
        means = _means(self._records)
        known = {
            "kl": "actor/kl_loss",
            "loss": "actor/pg_loss",
            "entropy": "actor/entropy",
            "lr": "actor/lr",
            "grad_norm": "actor/grad_norm",
        }
        parts = {"gen", "old_log_prob", "ref", "update_actor", "update_weights", "save_checkpoint", "testing"}
        return {
            "step": step,
            "total": self.total_training_steps,
            "reward": means.pop("score", None),
            **{name: metrics[key] for name, key in known.items() if key in metrics},
            **means,
            "val_score": metrics.get("val/score"),
            "seconds": sum(timings.get(name, 0.0) for name in ("step", "testing")),
            "timings": {name: timings[name] for name in sorted(parts & timings.keys())},
        }

    def _save_checkpoint(self) -> None:
        super()._save_checkpoint()
        path = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        self._progress.tell("checkpoint", step=self.global_steps, path=str(path))

    # What is dumped -------------------------------------------------------------------------------------------

    def _log_rollout_data(self, batch: Any, timing_raw: dict[str, float], rollout_data_dir: str) -> None:
        """Replaces verl's dump of decoded prompts and responses by whole trajectories."""
        self._dump(self._records, rollout_data_dir)

    def _dump_generations(self, *args: Any, dump_path: str, **kwargs: Any) -> None:
        """What `_validate` of the base class calls with decoded texts; the trajectories say more."""
        self._dump(self._validation, dump_path)

    def _dump(self, records: Iterable[EpisodeRecord], folder: str) -> None:
        lines = [record.line(self.global_steps) for record in sorted(records, key=lambda r: (r.uid, r.group))]
        path = Path(folder) / f"{self.global_steps}.jsonl"
        self._dump_futures = [
            future for future in self._dump_futures if not (future.done() and future.result() is None)
        ]
        self._dump_futures.append(self._dump_executor.submit(_write_lines, path, lines))


def _read_records(batch: Any) -> list[EpisodeRecord]:
    """The trajectories of a sampled batch; empty when their rewards are not known yet (a colocated reward model)."""
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    if not keys:
        return []
    fields = ["rm_scores", "data_source", "extra_fields"]
    data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
    if "rm_scores" not in data.keys():  # noqa: SIM118  (a TensorDict iterates over rows)
        return []
    scores = [float(row.sum()) for row in data["rm_scores"]]
    sources = list(data["data_source"])
    records = []
    for key, score, source, extra in zip(keys, scores, sources, list(data["extra_fields"]), strict=True):
        uid, _, rest = key.partition("_")
        extra = getattr(extra, "data", extra)
        text = extra.get("trajectory_json")
        records.append(
            EpisodeRecord(
                uid=uid,
                group=int(rest.partition("_")[0]),
                data_source=str(getattr(source, "data", source)),
                score=score,
                numbers=_numbers(extra.get("reward_extra_info") or {}),
                trained_tokens=int(extra.get("trained_tokens", 0)),
                response_tokens=int(extra.get("response_tokens", 0)),
                trajectory=None if text is None else json.loads(text),
            )
        )
    return records


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in info.items() if isinstance(value, int | float | np.number)}


def _columns(records: Iterable[EpisodeRecord]) -> dict[str, list[float]]:
    """Values by name: the reward's parts, the episode's numbers, tokens."""
    columns: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for name, value in {**record.numbers, "score": record.score}.items():
            columns[name].append(value)
        columns["trained_tokens"].append(record.trained_tokens)
        columns["response_tokens"].append(record.response_tokens)
    return dict(columns)


def _means(records: Iterable[EpisodeRecord]) -> dict[str, float]:
    return {name: float(np.mean(values)) for name, values in _columns(records).items()}


def _share_without_signal(records: Iterable[EpisodeRecord]) -> float:
    """The share of groups whose members all have the same score: GRPO learns nothing from them."""
    groups: dict[str, list[float]] = defaultdict(list)
    for record in records:
        groups[record.uid].append(record.score)
    return float(np.mean([max(scores) - min(scores) < 1e-8 for scores in groups.values()])) if groups else 0.0


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)
