"""Rules on who plays the episodes: agent loops, the trainer, the plugin.

Owns: what verl does silently when one of them is not what was meant. Refuses: looking into verl's registries, which
takes an import of verl (`verl_plugin.registered`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

from env_tuning.doctor.evidence import LOOP, Evidence
from env_tuning.doctor.finding import Finding, Severity

_AGENT = "actor_rollout_ref.rollout.agent"
_MULTI_TURN = "actor_rollout_ref.rollout.multi_turn"
SINGLE_TURN, TOOL_LOOP = "single_turn_agent", "tool_agent"
"""verl's own agent loops."""
ASYNCHRONOUS = ("env_tuning_colocate_async", "env_tuning_separate_async")
"""verl's asynchronous trainers with workers for any hardware (`verl_plugin.async_trainer`)."""
_BRINGS_LOOP = "env_tuning."
"""Managers of this package import the agent loop into every process that runs loops."""
PLUGIN = "env_tuning.verl_plugin.registration"


def agent_loop(evidence: Evidence) -> Iterator[Finding]:
    """Refuse single-turn training, verl's own default, and rows or processes without a loop."""
    default = evidence.get(f"{_AGENT}.default_agent_loop")
    rows_without_name = not evidence.files or any(not file.agents for file in evidence.files)
    if default == SINGLE_TURN and rows_without_name:
        yield Finding(
            key=f"{_AGENT}.default_agent_loop",
            problem=f"{_AGENT}.default_agent_loop is {SINGLE_TURN}: nothing would be played",
            fix=f"leave it at {LOOP}",
        )
    for file in evidence.files:
        if SINGLE_TURN in file.agents:
            yield Finding(
                key=f"agent_name of {file.path.name}",
                problem=f"rows of {file.path} have agent_name={SINGLE_TURN}, which goes before the default {default}",
                fix=f"set the column to {LOOP} or remove it",
            )
        if None in file.agents:
            yield Finding(
                key=f"agent_name of {file.path.name}",
                problem=f"rows of {file.path} have no agent_name, though the column is there: verl fails on them",
                fix=f"set the column to {LOOP} in every row, or remove it",
            )
    manager = str(evidence.get(f"{_AGENT}.agent_loop_manager_class", ""))
    described = evidence.get(f"{_AGENT}.agent_loop_config_path")
    if LOOP in evidence.agents and not manager.startswith(_BRINGS_LOOP) and not described:
        yield Finding(
            key=f"{_AGENT}.agent_loop_manager_class",
            problem=f"{_AGENT}.agent_loop_manager_class={manager or 'null'} does not bring the agent loop {LOOP} along",
            fix="leave it as it is in configs/, or name a YAML file with the loop in agent_loop_config_path",
        )


def tool_loop(evidence: Evidence) -> Iterator[Finding]:
    """Refuse verl's own tool loop with its defaults: one parallel call, 256 characters of a result."""
    if TOOL_LOOP not in evidence.agents:
        return
    calls = int(evidence.get(f"{_MULTI_TURN}.max_parallel_calls", 1))
    if calls <= 1:
        yield Finding(
            key=f"{_MULTI_TURN}.max_parallel_calls",
            problem=f"{TOOL_LOOP} runs {calls} call of a message and drops the others without a word",
            fix=f"set {_MULTI_TURN}.max_parallel_calls=100",
        )
    length = int(evidence.get(f"{_MULTI_TURN}.max_tool_response_length", 256))
    if length <= 256:
        yield Finding(
            key=f"{_MULTI_TURN}.max_tool_response_length",
            problem=f"{TOOL_LOOP} cuts what tools say at {length} characters",
            fix=f"set {_MULTI_TURN}.max_tool_response_length=100000",
        )


def trainer(evidence: Evidence) -> Iterator[Finding]:
    """The trainer must be ours for what this project promises, and on a CPU to run at all."""
    if not evidence.get("trainer.use_v1", True):
        yield Finding(
            key="trainer.use_v1",
            problem="trainer.use_v1=false takes verl's old trainer: trainer.v1.trainer_mode and the gate are not read",
            fix="leave it at true",
        )
    mode = evidence.get("trainer.v1.trainer_mode", "sync")
    if mode in ("sync", "colocate_async", "separate_async", *ASYNCHRONOUS):
        runs = mode in ASYNCHRONOUS or not evidence.on_cpu
        yield Finding(
            key="trainer.v1.trainer_mode",
            problem=f"trainer.v1.trainer_mode={mode} is verl's own: no gate, no trajectories, no metrics of episodes",
            fix=f"leave it at {LOOP}",
            severity=Severity.WARNING if runs else Severity.ERROR,
        )


def plugin(evidence: Evidence) -> Iterator[Finding]:
    """Refuse an environment in which verl would not load this package; it says so at DEBUG only."""
    modules = evidence.environ.get("VERL_USE_EXTERNAL_MODULES")
    if modules is None or PLUGIN in modules.split(","):
        return  # `verl_plugin.main` sets the variable where it is not set
    policy = evidence.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()
    installed = any(point.name == LOOP for point in entry_points(group="verl.plugins"))
    if installed and (policy == "auto" or LOOP in (name.strip() for name in policy.split(","))):
        return
    why = f"VERL_USE_EXTERNAL_PLUGINS={policy} leaves it out" if installed else "its entry point is not installed"
    yield Finding(
        key="VERL_USE_EXTERNAL_MODULES",
        problem=f"verl would not load this package: VERL_USE_EXTERNAL_MODULES={modules} does not name it, and {why}",
        fix=f"unset the variable, or add {PLUGIN} to it",
    )


def platform(evidence: Evidence) -> Iterator[Finding]:
    """The variable that chooses verl's platform must agree with the configuration."""
    chosen = evidence.environ.get("VERL_PLATFORM")
    if chosen is not None and (chosen == "cpu") != evidence.on_cpu:
        yield Finding(
            key="VERL_PLATFORM",
            problem=f"VERL_PLATFORM={chosen}, but trainer.device={evidence.get('trainer.device')}",
            fix="unset the variable; it is set as the configuration needs it",
        )
    if evidence.get("env_tuning.deterministic", False) and not evidence.on_cpu:
        yield Finding(
            key="env_tuning.deterministic",
            problem="env_tuning.deterministic works on a CPU only (hardware=cpu)",
            fix="set it to false",
        )
