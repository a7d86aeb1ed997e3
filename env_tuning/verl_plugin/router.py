"""A load balancer without a process of its own: verl's is an actor, which takes seconds and 400 MB.

Owns: the least-loaded, sticky choice of a server. Refuses: anything cluster-wide; ``rollout.router_config_path`` names
it on a CPU, where all requests come from one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.actor import ActorClass

_STICKY_KEPT = 20_000


class LightRouter:
    """Sends a request to the server it had before, and a new one to the server with the fewest in flight."""

    def __init__(self, servers: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> None:
        """Route between servers, given by address."""
        self._servers = dict(servers)
        self._in_flight = dict.fromkeys(servers, 0)
        self._sticky: dict[str, str] = {}

    def acquire_server(self, request_id: str, **_: Any) -> tuple[str, Any]:
        """Choose a server; returns its address and handle."""
        if not self._servers:
            raise RuntimeError("No available servers in load balancer")  # verl's async client looks for these words
        address = self._sticky.get(request_id)
        if address not in self._servers:
            address = min(self._in_flight, key=self._in_flight.__getitem__)
            self._sticky[request_id] = address
            if len(self._sticky) > _STICKY_KEPT:
                self._sticky.pop(next(iter(self._sticky)))
        self._in_flight[address] += 1
        return address, self._servers[address]

    def release_server(self, server_id: str, request_id: str | None = None) -> None:
        """A request is done."""
        if self._in_flight.get(server_id, 0) > 0:
            self._in_flight[server_id] -= 1

    def forget(self, request_id: str) -> Any | None:
        """The handle of the server that serves a request id, which no further request will have; None if unknown."""
        return self._servers.get(self._sticky.pop(request_id, ""))

    def require_acquire_fields(self) -> list[str]:
        """Only the request id is needed."""
        return []

    def require_release_fields(self) -> list[str]:
        """Only the server's address is needed."""
        return []

    def add_servers(self, servers: Mapping[str, Any]) -> None:
        """Take more servers."""
        self._servers.update(servers)
        self._in_flight.update({address: self._in_flight.get(address, 0) for address in servers})

    def remove_servers(self, server_ids: list[str]) -> None:
        """Forget servers; their requests move."""
        for address in server_ids:
            self._servers.pop(address, None)
            self._in_flight.pop(address, None)

    def get_all_servers(self) -> list[str]:
        """Addresses."""
        return list(self._servers)

    def get_status(self) -> dict[str, Any]:
        """Load per server."""
        return {
            "servers": dict(self._in_flight),
            "total_inflight": self.get_total_inflight(),
            "active_servers": len(self._servers),
        }

    def clear_sticky_cache(self) -> dict[str, Any]:
        """Forget who had which server."""
        cleared = len(self._sticky)
        self._sticky.clear()
        return {"cleared_entries": cleared, "server_loads": dict(self._in_flight)}

    def get_total_inflight(self) -> int:
        """Requests in flight on all servers."""
        return sum(self._in_flight.values())

    def get_inflight_count(self, server_id: str) -> int:
        """Requests in flight on one server."""
        return self._in_flight.get(server_id, 0)


class _Here(ActorClass):  # type: ignore[misc, type-arg]
    """What verl takes for the class of an actor, and makes a plain object.

    verl/workers/rollout/router.py makes a Ray actor of whatever class the file of ``router_config_path`` names, unless
    it is an actor's class already; of one it calls `remote` and keeps what that returns for the client.
    """

    def __init__(self) -> None:
        """Not Ray's, which refuses subclasses of actors."""

    def remote(self, servers: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> LightRouter:
        """The router, in this process."""
        return LightRouter(servers, config)


HERE = _Here()
