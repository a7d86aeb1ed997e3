"""verl's vLLM replica under the name `vllm_cpu`.

Owns: which class its server actor is made of, and the actor's name. Refuses: starting the engine (`server`).
"""

from __future__ import annotations

from typing import Any

import ray
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMReplica

from env_tuning.verl_plugin.vllm_cpu.server import CpuVllmServer


class CpuVllmReplica(vLLMReplica):
    """One server actor, as verl/workers/rollout/vllm_rollout/vllm_async_server.py starts it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(CpuVllmServer)

    def _get_server_name_prefix(self) -> str:
        return f"{self.config.name}_"  # by which the adapter looks for it
