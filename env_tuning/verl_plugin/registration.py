"""Fill verl's registries with what its processes need: platform, rollout, advantages and losses over actions.

Owns: the order of registration, its error report, and the one package that verl must not find. Refuses: the trainer,
the workers and the agent loop, which are heavy and register themselves when the process that runs them imports them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import traceback
from pathlib import Path


def register() -> None:
    """Register platform, rollout, advantages and losses; harmless when repeated.

    Raises:
        Exception: whatever went wrong, after the traceback went to stderr: verl swallows the errors of entry
            points at DEBUG level, and a run without its platform fails far away from the cause.
    """
    try:
        from env_tuning.verl_plugin.cpu_platform import register_platform
        from env_tuning.verl_plugin.rollout.replica import register as register_rollout

        register_platform()
        register_rollout()
        register_vllm_cpu()
        hide_trl_without_value_head()
        allow_random_states()
        # Decorators register them, the losses in the workers and the advantages in the trainer.
        from env_tuning.verl_plugin import action_advantages, joint_ratio_loss  # noqa: F401
    except Exception:
        print("env_tuning: registering the plugin in verl failed", file=sys.stderr)
        traceback.print_exc()
        raise


def register_vllm_cpu() -> None:
    """Make `actor_rollout_ref.rollout.name=vllm_cpu` known to verl, without importing its package.

    verl imports what the two names stand for in a run that uses them.
    """
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    _ROLLOUT_REGISTRY[("vllm_cpu", "async")] = "env_tuning.verl_plugin.vllm_cpu.adapter.ServerAdapter"
    RolloutReplicaRegistry.register(
        "vllm_cpu", lambda: importlib.import_module("env_tuning.verl_plugin.vllm_cpu.replica").CpuVllmReplica
    )


def allow_random_states() -> None:
    """Let torch's reader of mere weights read numpy's random state, which verl writes into every checkpoint."""
    import numpy as np
    import torch

    reconstruct = np.random.get_state(legacy=False)["state"]["key"].__reduce__()[0]  # numpy moved it in 2.0
    torch.serialization.add_safe_globals([reconstruct, np.ndarray, np.dtype, np.dtypes.UInt32DType])


def hide_trl_without_value_head() -> None:
    """Let verl believe that trl is absent if it is a version that verl cannot use.

    verl 0.9.1 (models/transformers/monkey_patch.py) imports ``AutoModelForCausalLMWithValueHead`` whenever trl is
    installed, and trl 1 no longer has it; the warm start of the embedded model needs trl in the same environment.
    verl asks `is_trl_available` first, which remembers its first answer: it is asked here while trl is out of sight.
    """
    from verl.utils.import_utils import is_trl_available

    spec = importlib.util.find_spec("trl") if "trl" not in sys.modules else sys.modules["trl"].__spec__
    if spec is None or spec.origin is None:
        return
    old = int(importlib.metadata.version("trl").partition(".")[0]) < 1
    if old or (Path(spec.origin).parent / "experimental" / "ppo").is_dir():
        return
    absent = object()
    seen = sys.modules.get("trl", absent)
    sys.modules["trl"] = None  # type: ignore[assignment]
    try:
        is_trl_available()
    finally:
        if seen is absent:
            del sys.modules["trl"]
        else:
            sys.modules["trl"] = seen  # type: ignore[assignment]


register()
