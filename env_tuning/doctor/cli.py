"""`env-tuning doctor`: the machine, a configuration, or the arithmetic of memory.

Owns: arguments, what is printed, exit statuses. Refuses: rules.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform as python_platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from env_tuning.doctor.finding import Finding, Severity, said_by
from env_tuning.errors import UserError
from env_tuning.working_folder import import_from_here

WRONG = 2
"""Exit status: something would misbehave."""
_GPU_COUNTS = {"gpu1": (1,), "gpu8": (2, 8, 16)}
"""Hardware group to the numbers of GPUs for which its settings are taken."""


def doctor(
    context: typer.Context,
    config: Annotated[
        str | None, typer.Argument(help="A file of configs/ without its ending; Hydra overrides may follow.")
    ] = None,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Estimate memory instead: of a model folder in CONFIG's place, else of many."),
    ] = False,
    gpu_memory: Annotated[float, typer.Option(help="GiB of a GPU for --memory.", min=1)] = 80.0,
) -> None:
    """Say what would go wrong, before anything is started; exit status 2 if something would."""
    import_from_here()
    if memory:
        typer.echo(memory_table(config, context.args, gpu_memory))
        return
    found = of_machine() if config is None else of_config(config, context.args, os.environ)
    typer.echo(report(found))
    raise typer.Exit(WRONG if any(finding.severity is Severity.ERROR for finding in found) else 0)


def report(found: Sequence[Finding]) -> str:
    """Findings for a terminal, errors first."""
    if not found:
        return "nothing found that would go wrong"
    ordered = sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)
    lines = []
    for finding in ordered:
        lines += [f"{finding.severity.value:<8} {finding.rule}: {finding.key}", f"         {finding.problem}"]
        lines += [f"         fix: {finding.fix}"] if finding.fix else []
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    return "\n".join([*lines, f"{errors} errors, {len(found) - errors} warnings"])


def of_config(name: str, overrides: Sequence[str], environ: Mapping[str, str]) -> list[Finding]:
    """What is wrong with a stage as `env-tuning train` would start it; makes data and model as that would.

    Raises:
        UserError: the configuration does not exist or cannot be composed.
    """
    from omegaconf import OmegaConf

    from env_tuning.doctor.examine import examine, stops
    from env_tuning.launch import given, plan, project_folder
    from env_tuning.verl_plugin.compose import compose_config
    from env_tuning.verl_plugin.main import complete, refused_by_verl, set_environment

    unplanned = []
    model = "actor_rollout_ref.model.path"
    try:
        launch = plan(name, overrides, environ)
    except UserError as error:
        if given(overrides, model) is not None or not (project_folder() / "configs" / f"{name}.yaml").is_file():
            raise
        # No model yet, as of a stage whose predecessor has not run: the rest can be looked at all the same.
        unplanned = [replace(said_by(error, model), rule="model")]
        launch = plan(name, [*overrides, f"{model}="], environ)
    os.environ.update({key: value for key, value in launch.variables.items() if key not in os.environ})
    composed = compose_config(launch.config_dir, launch.config_name, launch.overrides)
    complete(composed)
    set_environment(composed, os.environ)
    plain: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    found = [*unplanned, *(item for item in examine(plain) if not (unplanned and item.rule == "model"))]
    if not stops(found):  # what verl says of its own keys takes an import of verl
        with _aside() as said:
            found += refused_by_verl(composed)
        if stops(found):
            typer.echo(said.getvalue(), err=True)
    return found


@contextlib.contextmanager
def _aside() -> Iterator[io.StringIO]:
    """Take what verl says while it is imported: warnings about engines that nobody asked for."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


def of_machine() -> list[Finding]:
    """Print what is here, and say what a run would miss."""
    from env_tuning.doctor import loop_rules, machine_rules, model_rules
    from env_tuning.doctor.evidence import Evidence
    from env_tuning.doctor.machine import GIB, look
    from env_tuning.packages import installed

    machine = look(Path.cwd())
    device = "cuda" if machine.gpus else "cpu"
    gpus = ", ".join(f"{memory / GIB:.0f} GiB" for memory in machine.gpus) or "none: hardware=cpu"
    shared = "none" if machine.shared is None else f"{machine.shared / GIB:.1f} GiB free"
    typer.echo(f"Python    {python_platform.python_version()}, {machine.cores} cores")
    typer.echo(
        f"memory    {machine.memory / GIB:.1f} GiB free, /dev/shm {shared}, disk {machine.disk / GIB:.0f} GiB free"
    )
    typer.echo(f"GPUs      {gpus}")
    for package, version in model_rules.TESTED.items():
        typer.echo(f"{package:<14} {installed(package) or 'not installed':<14} tested {version}")
    for package in sorted({*model_rules.ENGINES.values()} - model_rules.TESTED.keys()):
        typer.echo(f"{package:<14} {installed(package) or 'not installed'}")
    evidence = Evidence({"trainer": {"device": device}}, machine=machine)
    rules = {
        "versions": model_rules.versions,
        "plugin": loop_rules.plugin,
        "platform": loop_rules.platform,
        "memory": machine_rules.memory,
    }
    found = [replace(finding, rule=name) for name, rule in rules.items() for finding in rule(evidence)]
    if installed("verl") is not None:
        from env_tuning.verl_plugin.registered import not_loaded

        with _aside():
            found += not_loaded()
    return found


def memory_table(model: str | None, overrides: Iterable[str], gpu_memory: float) -> str:
    """Estimates for 1, 2, 8 and 16 GPUs with the settings of the hardware groups.

    Args:
        model: a model folder; the sizes of Qwen2.5 from 0.5B to 32B if None.
        overrides: Hydra overrides of stage 1.
        gpu_memory: GiB of each GPU.

    Raises:
        UserError: no such folder, or a kind of model that is not known.
    """
    from omegaconf import OmegaConf

    from env_tuning.doctor.evidence import Evidence
    from env_tuning.doctor.machine import GIB
    from env_tuning.doctor.memory import KNOWN_KINDS, SIZES, Load, table
    from env_tuning.launch import project_folder
    from env_tuning.verl_plugin.compose import compose_config

    shapes: Mapping[str, Any] = SIZES
    if model is not None:
        shape = Evidence({"actor_rollout_ref": {"model": {"path": model}}}).shape
        if shape is None:
            kinds = ", ".join(sorted(KNOWN_KINDS))
            raise UserError(f"{model} is no model folder with a config.json of a known kind ({kinds})")
        shapes = {Path(model).name: shape}
    loads = []
    for group, counts in _GPU_COUNTS.items():
        composed = compose_config(
            project_folder() / "configs", "stage1", [f"hardware={group}", "reward.num_workers=0", *overrides]
        )
        plain: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
        loads += [replace(Load.read(plain), gpus=count) for count in counts]
    single, several = loads[0], loads[1]
    return "\n".join(
        [
            table(shapes, loads, int(gpu_memory * GIB)),
            f"GiB on each GPU, of {gpu_memory:g}. update: states (weights, gradients, moments in fp32), gathered",
            f"layers, activations of {single.tokens} tokens (1 GPU) or {several.tokens}, logits. resting: what stays",
            f"while the engine takes {single.share:g} or {several.share:g} of the GPU for its weights and a cache of "
            f"{several.sequence} tokens an episode.",
            "with: what makes it fit. Under actor_rollout_ref, share is rollout.gpu_memory_utilization, engine over is",
            "rollout.tensor_model_parallel_size, tokens is actor.ppo_max_token_len_per_gpu, and offload is",
            "actor.fsdp_config.param_offload and optimizer_offload, 12 bytes a parameter in the memory of the nodes.",
            "The formulas, and what they leave out, stand in env_tuning/doctor/memory.py.",
        ]
    )
