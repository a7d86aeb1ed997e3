"""Who runs the agent loops: Ray actors on GPU nodes, a thread of the trainer's process on a CPU.

Owns: the two managers that ``rollout.agent.agent_loop_manager_class`` may name, and the worker both use. Refuses: the
loop itself (`agent_loop`). Importing this module registers the agent loop, which is why verl needs no path of a YAML
file: the class named in the configuration brings the loop with it into every process that runs loops.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Mapping
from typing import Any

import ray
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ
from verl.utils.rollout_trace import rollout_trace_attr

from env_tuning.verl_plugin.agent_loop import NAME, InteractionAgentLoop
from env_tuning.verl_plugin.seeds import episode_seed

LOCAL_LOOPS = f"{__name__}.LocalLoops"
"""The manager whose loops all share one client, by the name that configurations give it."""

_LARGE_COLUMNS = ("prompt", "extra_info", "interaction_kwargs", "tools_kwargs")
"""Columns no later step reads once the reward is known; every trajectory would carry its task a second time."""


class EpisodeWorker(AgentLoopWorkerTQ.__ray_metadata__.modified_class):  # type: ignore[misc, name-defined]
    """verl's worker, with what it does not offer.

    It tells the loop whether it validates; it makes the loop once, not once per trajectory (1.8 ms each through
    Hydra); it reports a failed episode loudly, where verl only marks the group.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.errors: list[BaseException] = []
        self._seed = int(self.config.data.seed or 0) if self.config.env_tuning.deterministic else None
        self._episodes = InteractionAgentLoop(
            trainer_config=DictConfigWrap(config=self.config),
            server_manager=self.llm_client,
            tokenizer=self.tokenizer,
            processor=self.processor,
            hf_model_type=self.hf_model_type,
            dataset_cls=self.dataset_cls,
            data_config=DictConfigWrap(self.config.data),
        )

    async def _run_agent_loop(
        self,
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
        *,
        agent_name: str,
        trace: bool = True,
        **row: Any,
    ) -> None:
        """Overrides verl/experimental/agent_loop/agent_loop.py:AgentLoopWorker._run_agent_loop."""
        if agent_name != NAME:
            await super()._run_agent_loop(sampling_params, trajectory, agent_name=agent_name, trace=trace, **row)
            return
        try:
            if self._seed is not None:
                seed = episode_seed(
                    self._seed,
                    step=int(trajectory["step"]),
                    validate=bool(trajectory["validate"]),
                    row=row,
                    rollout=row["session_id"],
                )
                sampling_params = {**sampling_params, "seed": seed}
            attributes = {key: trajectory[key] for key in ("step", "sample_index", "rollout_n", "validate")}
            with rollout_trace_attr(**attributes, name="agent_loop", trace=trace):
                output = await self._episodes.run(sampling_params, validate=trajectory["validate"], **row)
                kept = row if output.reward_score is None else _without_large_columns(row)
                await self._agent_loop_postprocess(output, trajectory["validate"], **kept)
        except Exception as error:
            self.errors.append(error)
            traceback.print_exc()
            raise


def _without_large_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _LARGE_COLUMNS}


class RayLoops(AgentLoopManagerTQ):
    """Loops in ``rollout.agent.num_workers`` Ray actors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(EpisodeWorker)  # verl's __init__ sets its own class


class LocalLoops:
    """Loops in a thread of the trainer's process: one process, 400 MB and seconds of imports less."""

    def __init__(self, **kwargs: Any) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="agent-loops").start()

        async def make() -> EpisodeWorker:
            return EpisodeWorker(
                kwargs["config"],
                kwargs["llm_client"],
                kwargs.get("teacher_client"),
                kwargs.get("reward_loop_worker_handles"),
            )

        self._worker = asyncio.run_coroutine_threadsafe(make(), self._loop).result()

    @classmethod
    def create(cls, **kwargs: Any) -> LocalLoops:
        """The way verl makes a manager."""
        return cls(**kwargs)

    @property
    def errors(self) -> list[BaseException]:
        """What went wrong in episodes, oldest first."""
        return self._worker.errors

    def generate_sequences(self, prompts: Any) -> None:
        """Start the episodes of a batch; they put their outputs into TransferQueue one by one."""
        asyncio.run_coroutine_threadsafe(self._worker.generate_sequences(prompts), self._loop).result()

    def stop(self) -> None:
        """Give up the episodes that nobody waits for: an asynchronous trainer ends with some on their way."""

        async def give_up() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(give_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
