"""What a run on one machine starts while its own process still imports verl: rollout servers and TransferQueue.

Owns: the thread that starts them, and TransferQueue's end. Refuses: importing verl. On two cores the imports of these
processes are most of a start-up, and verl/trainer/main_ppo.py:TaskRunnerV1.run starts one after the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from ray.actor import ActorHandle

from env_tuning.verl_plugin.rollout.launch import start_all


@contextlib.contextmanager
def head_start(config: DictConfig, cluster: Future[None]) -> Iterator[Future[list[ActorHandle]]]:
    """Start them as soon as the cluster is there.

    Args:
        config: the run's configuration, whose interpolations are resolved.
        cluster: done when Ray can be used.

    Yields:
        Done when TransferQueue can be used; the servers live as long as this does.
    """
    config.transfer_queue.enable = True
    OmegaConf.resolve(config)

    def begin() -> list[ActorHandle]:
        cluster.result()
        servers = start_all(config)
        tq.init(config.transfer_queue)
        return servers

    with ThreadPoolExecutor(max_workers=1) as pool:
        begun = pool.submit(begin)
        try:
            yield begun
        finally:
            wait([begun])
            tq.close()
