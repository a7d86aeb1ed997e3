"""Whether verl knows what a configuration names.

Owns: looking into verl's registries after verl and the plugin were imported, as `doctor.finding.Finding` records.
Refuses: registering anything (`registration`). verl looks a name up when the first process needs it: an agent loop in
every single episode, where the error only marks the episode's group as failed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from env_tuning.doctor.finding import Finding

RULE = "registered"


def unregistered(config: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Names of the configuration that verl does not know.

    Args:
        config: the composed configuration, as plain mappings or OmegaConf's.
    """
    import verl  # noqa: F401  (loads the plugins)

    return tuple(Finding(key=key, problem=problem, fix=fix, rule=RULE) for key, problem, fix in _missing(config))


_PROBE = """
import sys
import verl
if "env_tuning.verl_plugin.registration" in sys.modules:
    sys.exit(0)
try:
    import env_tuning.verl_plugin.registration
except Exception as error:
    sys.exit(f"its import fails ({type(error).__name__}: {error})")
sys.exit("its entry point env_tuning of the group verl.plugins is not installed")
"""


def not_loaded() -> tuple[Finding, ...]:
    """Whether verl finds this package by itself, through its entry point; what it raises verl tells at DEBUG only.

    Asked in a fresh process: where this module is loaded, the package was imported before verl could load it.
    """
    probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False)
    if probe.returncode == 0:
        return ()
    why = (probe.stderr.strip().splitlines() or [f"the process that imports verl ended with {probe.returncode}"])[-1]
    return (
        Finding(key="verl.plugins", problem=f"verl does not load the plugin: {why}", fix="pip install -e .", rule=RULE),
    )


def _missing(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    from verl.plugin.platform.platform_manager import PlatformRegistry
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, POLICY_LOSS_REGISTRY
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    from env_tuning.verl_plugin import async_trainer, trainer  # noqa: F401  (as the task runner does)

    rollout = config["actor_rollout_ref"]["rollout"]
    names = {
        "actor_rollout_ref.rollout.name": (rollout["name"], RolloutReplicaRegistry._registry),
        "trainer.v1.trainer_mode": (config["trainer"]["v1"]["trainer_mode"], TRAINER_REGISTRY),
        "algorithm.adv_estimator": (config["algorithm"]["adv_estimator"], ADV_ESTIMATOR_REGISTRY),
        "actor_rollout_ref.actor.policy_loss.loss_mode": (
            config["actor_rollout_ref"]["actor"]["policy_loss"]["loss_mode"],
            POLICY_LOSS_REGISTRY,
        ),
    }
    if config["trainer"]["device"] == "cpu":
        names["trainer.device"] = ("cpu", dict.fromkeys(PlatformRegistry.registered_names()))
    for key, (name, registry) in names.items():
        if name not in registry:
            known = ", ".join(sorted(str(getattr(item, "value", item)) for item in registry))
            yield key, f"{key}={name} is not registered in verl (there are: {known})", _SEE_ABOVE
    yield from _loop(rollout["agent"])


_SEE_ABOVE = "an error of the plugin stands above; without one, reinstall this package, or correct the name"


def _loop(agent: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry

    key = "actor_rollout_ref.rollout.agent.agent_loop_manager_class"
    if path := agent.get("agent_loop_manager_class"):
        module, _, name = str(path).rpartition(".")
        try:
            getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            yield key, f"{key}={path} cannot be imported ({error})", "leave it as it is in configs/"
            return
    loop = agent["default_agent_loop"]
    if loop not in _agent_loop_registry and not agent.get("agent_loop_config_path"):
        known = ", ".join(sorted(_agent_loop_registry))
        key = "actor_rollout_ref.rollout.agent.default_agent_loop"
        yield key, f"{key}={loop} is not registered in verl (there are: {known})", _SEE_ABOVE
