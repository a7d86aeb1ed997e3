"""verl's adapter, which lives in a trainer's worker and sends weights to the server.

Owns: being imported after this package, without which verl's module refuses to be. Refuses: anything of its own: the
adapter finds its server by the configured name.
"""

from verl.workers.rollout.vllm_rollout import ServerAdapter

__all__ = ["ServerAdapter"]
