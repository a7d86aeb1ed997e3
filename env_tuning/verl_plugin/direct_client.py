"""The way from the agent loops of this process to the rollout servers, without a router actor in between.

Owns: `DirectClient`. Refuses: choosing a server (`router`), generating (`rollout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig
from verl.workers.rollout.llm_server import LLMServerClient

from env_tuning.verl_plugin.router import LightRouter


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
