"""The actor that holds vLLM's engine.

Owns: the settings that the CPU build of vLLM needs of verl's server, the class that its workers are extended by, and
the end of a single request. Refuses: all else of requests, which is verl's.
"""

from __future__ import annotations

from typing import Any

from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer


class CpuVllmServer(vLLMHttpServer):
    """verl/workers/rollout/vllm_rollout/vllm_async_server.py with two of its hooks answered and one method mended."""

    def _init_config(self, config: Any) -> Any:
        settled = super()._init_config(config)
        # verl takes the model's positions for it. vLLM then wants cache for one such sequence before it starts, 32,768
        # tokens of the embedded model, of which an episode has a tenth.
        if settled.max_model_len is None:
            settled.max_model_len = settled.prompt_length + settled.response_length
        return settled

    def _get_worker_extension_cls(self) -> str:
        return "env_tuning.verl_plugin.vllm_cpu.worker.CpuWorkerExtension"

    async def abort_request(self, request_id: str, reset_prefix_cache: bool = True) -> dict[str, Any]:
        """Call one request back; it answers with what it has.

        verl looks for the id among those of the engine, which since vLLM 0.14 end at random (vllm#27987).
        """
        if request_id not in self.engine.output_processor.external_req_ids:
            return {"aborted": False, "request_id": request_id, "error": f"Request {request_id} not found"}
        await self.engine.abort(request_id)
        if reset_prefix_cache:
            await self.clear_kv_cache()
        return {"aborted": True, "request_id": request_id}
