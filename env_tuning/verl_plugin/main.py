"""``python -m env_tuning.verl_plugin.main --config-dir configs --config-name stage1 [overrides]``: train.

Owns: the environment of a run (variables that verl, Ray and torch read when they are imported, Ray's folder, clean
ends) and the two ways to start verl's task runner. Refuses: making data or models (`env_tuning.launch`), training.

On a CPU the task runner lives in this process, one process and six seconds less than verl's own entry; on GPU nodes
it is verl's Ray actor, as in ``verl.trainer.main_ppo``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

from env_tuning.curriculum.cluster import OF_THIS_MACHINE
from env_tuning.curriculum.gate import GateSettings
from env_tuning.curriculum.lineage import write_lineage
from env_tuning.data.rows import row_count
from env_tuning.doctor.examine import examine, stops
from env_tuning.doctor.finding import Finding, said_by
from env_tuning.doctor.size_rules import CRITIC_ESTIMATORS
from env_tuning.errors import UserError
from env_tuning.launch import GRACE_SECONDS, PARENT_VARIABLE, exit_when_told
from env_tuning.lock import sole_holder
from env_tuning.outcome import discard_outcome, read_outcome, step_limit, still_holds
from env_tuning.run_folder import claim_output, files, identity
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.progress import PREFIX, Progress
from env_tuning.verl_plugin.watchdog import GO_ON, end_at_once

_ORPHAN_SECONDS = 60.0
_PACKAGES = Path(__file__).resolve().parents[2]
_RAY_PREFIX = "et-"
_PLUGIN = "env_tuning.verl_plugin.registration"
_GARBAGE = "env_tuning.verl_plugin.garbage"
ROUTER = "env_tuning/verl_plugin/router.yaml"
"""`configs/hardware/cpu.yaml` names it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit status: 0, 1 for a failure, 2 for something the user has to fix."""
    parser = argparse.ArgumentParser(description="Train one stage with verl.")
    parser.add_argument("--config-dir", type=Path, default=Path("configs"))
    parser.add_argument("--config-name", required=True)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, for example trainer.total_epochs=1")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, exit_when_told)
    importlib.import_module(_GARBAGE)
    _follow_launcher()
    try:
        config = compose_config(given.config_dir, given.config_name, given.overrides)
        complete(config)
        set_environment(config, os.environ)
        if config.trainer.device != "cpu":
            return _train_if_sound(config, _on_gpu_nodes)
        # Here, and not when it is needed: Ray's processes start while this one imports torch and looks at the data.
        with local_ray(config) as ready:
            return _train_if_sound(config, lambda: _in_this_process(config, ready))
    except UserError as error:
        print(f"{PREFIX}error: {error}", flush=True)
        return 2
    except Exception as error:
        traceback.print_exc()
        print(f"{PREFIX}error: {in_one_line(error)}", flush=True)
        return 1


def _train_if_sound(config: DictConfig, train: Callable[[], None]) -> int:
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    found = examine(plain)
    for finding in found:
        print(f"{PREFIX}{finding.severity.value}: {finding.line}", flush=True)
    if stops(found):
        return 2
    settle_steps(config)
    output = Path(config.env_tuning.output_dir)
    claim_output(output, identity(plain))
    with sole_owner(output):
        if reason := finished(output, config.trainer.total_training_steps):
            print(f"{PREFIX}{reason}", flush=True)
            return 0
        write_lineage(output, plain, identity(plain))
        train()
        Progress(output).tell("done")
    return 0


def in_one_line(error: Exception) -> str:
    """An error for people; of a Ray process that died, which one."""
    error = getattr(error, "cause", None) or error  # Ray's wrapper begins with its own words
    text = str(error).strip()
    dead, pid = re.search(r"class_name: (\S+)", text), re.search(r"pid: (\d+)", text)
    name = type(error).__name__
    if name == "ActorDiedError" and dead:
        where = f" (pid {pid[1]})" if pid else ""
        return f"the process {dead[1]}{where} died; {GO_ON}"
    line = f"{name}: {next(iter(text.splitlines()), '')}"
    # Workers whose collective loses a partner say so before Ray does, gloo's as a RuntimeError.
    gone = name in _LOST or "gloo/transport" in text
    return f"{line.rstrip('.')}; {GO_ON}" if gone else line


_LOST = {
    "ActorDiedError",
    "ActorUnavailableError",
    "DistBackendError",
    "NodeDiedError",
    "ObjectLostError",
    "OwnerDiedError",
    "WorkerCrashedError",
}
"""What Ray and torch.distributed raise when a process or a node is gone."""


def sole_owner(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the output folder's lock while training.

    A holder whose launcher was killed is about to end itself, which takes seconds: that one is waited for.
    """
    refusal = f"another process is training into {folder}; wait for it, end it, or give env_tuning.output_dir=..."
    return sole_holder(folder / ".lock", refusal=refusal, patience=_ORPHAN_SECONDS)


def _follow_launcher(grace: float = GRACE_SECONDS) -> None:
    """End when the launcher is gone: killed, it cannot end us, and a rerun would meet a process it knows nothing of.

    As the launcher would: told first, and after `grace` seconds killed with all that it started, for what it waits for
    may never come (the start of a Ray whose own processes were killed, too).
    """
    launcher = os.environ.get(PARENT_VARIABLE)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        end_at_once()

    threading.Thread(target=watch, daemon=True, name="follow-launcher").start()


def complete(config: DictConfig) -> None:
    """Fill in what the files cannot know: absolute paths, a critic, and workers for verl's own reward function."""
    with open_dict(config):
        # Ray actors may start elsewhere.
        config.env_tuning.output_dir = str(Path(config.env_tuning.output_dir).expanduser().absolute())
        rollout = config.actor_rollout_ref.rollout
        router = rollout.router_config_path
        if router == ROUTER and not rollout.agent.agent_loop_manager_class.endswith(".LocalLoops"):
            # It lives in one process; loops in several need one that they share, which is verl's own.
            router = rollout.router_config_path = None
        if router and not Path(router).is_absolute() and not Path(router).exists():
            rollout.router_config_path = str(_PACKAGES / router)
        if config.critic.enable is None and config.algorithm.adv_estimator in CRITIC_ESTIMATORS:
            config.critic.enable = True  # verl knows of its own gae only that it needs one
        if config.reward.custom_reward_function.path:
            config.reward.num_workers = config.reward.num_workers or 1


def settle_steps(config: DictConfig) -> None:
    """Set the run's steps: the configured ones, else those of its epochs, at most the gate's budget.

    The last step is validated and saved, which a budget needs that the gate alone would notice too late. The epochs
    become as many as the steps need: verl ends after them, without the last save and validation.

    Raises:
        UserError: the gate has unknown keys or impossible values.
    """
    gate = config.env_tuning.gate
    try:
        settings = None if gate is None else GateSettings.from_config(gate)
    except (TypeError, ValueError) as error:
        raise UserError(f"env_tuning.gate: {error}") from error
    rows = sum(row_count(file) for file in files(config.data.train_files))
    per_epoch = rows // config.data.train_batch_size
    steps = step_limit(config.trainer.total_training_steps or per_epoch * config.trainer.total_epochs, settings)
    config.trainer.total_training_steps = steps
    config.trainer.total_epochs = max(config.trainer.total_epochs, -(-steps // per_epoch))


def finished(output: Path, steps: int) -> str:
    """One line when a run that may make `steps` updates has ended already; else empty, and an old outcome is gone."""
    outcome = read_outcome(output)
    if outcome is not None and still_holds(outcome, steps):
        return (
            f"nothing to do: {output} ended at step {outcome.step} ({outcome.decision.verdict.value}: "
            f"{outcome.decision.reason}); give env_tuning.output_dir=ANOTHER-FOLDER to train anew"
        )
    discard_outcome(output)
    return ""


def set_environment(config: DictConfig, environ: MutableMapping[str, str]) -> None:
    """Set the variables that verl, Ray, torch and transformers read when imported; what is set already stays."""
    wanted = {
        "VERL_USE_EXTERNAL_MODULES": _PLUGIN,
        "TENSORBOARD_DIR": str(Path(config.env_tuning.output_dir) / "tensorboard"),
        "WANDB_DIR": str(config.env_tuning.output_dir),
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TQ_NUM_THREADS": "1",
        # verl reads checkpoints with weights_only=False, which runs what a pickle says; this has the last word.
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        # verl's other way to send batches between processes, to reward functions of its own for one, is such a pickle.
        "VERL_DATAPROTO_SERIALIZATION_METHOD": "numpy",
        # Bars end without a newline, and the next progress line would not stand at the start of its own.
        "TQDM_DISABLE": "1",
    }
    if config.trainer.device == "cpu":
        wanted |= {
            "VERL_PLATFORM": "cpu",
            # Threads that wait must sleep: trainer and rollout server take turns on the same cores.
            "OMP_WAIT_POLICY": "PASSIVE",
            # Ray would start idle workers that verl's runtime environment makes useless.
            "RAY_enable_worker_prestart": "0",
            "RAY_prestart_worker_first_driver": "0",
            # verl asks for a free port in a task, whose process would stay for another that never comes.
            "RAY_num_workers_soft_limit": "0",
            # One setting of the collector in all processes: `main` imports it into this one.
            "RAY_preload_python_modules": _GARBAGE,
            # A cluster that is there already has its own mode and address.
            **({} if environ.get("RAY_ADDRESS") else OF_THIS_MACHINE | {"RAY_AUTH_MODE": "disabled"}),
            # What verl/trainer/main_ppo.py:run_ppo gives to its actors.
            "TRANSFER_QUEUE_ENABLE": "1",
        }
    if config.actor_rollout_ref.rollout.name == "vllm_cpu":
        wanted |= _OF_VLLM_ON_A_CPU
    if config.env_tuning.deterministic:
        # Without it, MKL adds up in an order that depends on where in memory the numbers happen to lie.
        wanted |= {"MKL_CBWR": "AUTO", "ENV_TUNING_DETERMINISTIC": "1"}
    if config.env_tuning.threads is not None:
        wanted["OMP_NUM_THREADS"] = str(config.env_tuning.threads)
    if Path(str(config.actor_rollout_ref.model.path)).expanduser().is_dir():
        wanted["HF_HUB_OFFLINE"] = "1"
    for name, value in wanted.items():
        environ.setdefault(name, value)


def _in_this_process(config: DictConfig, ready: Future[None]) -> None:
    """Run verl to the end, on a machine without a GPU."""
    from env_tuning.verl_plugin.head_start import head_start

    with head_start(config, ready) as begun:
        wait([ready])
        # Ray, started in another thread than the main one, puts a handler in the place of ours that aborts.
        signal.signal(signal.SIGTERM, exit_when_told)
        ready.result()
        from env_tuning.verl_plugin.task_runner import LocalTaskRunner

        _refuse(config)
        LocalTaskRunner(begun).run(config)


def _on_gpu_nodes(config: DictConfig) -> None:
    """Run verl to the end, in a Ray actor as it does itself."""
    import ray
    from verl.trainer.main_ppo import run_ppo

    from env_tuning.verl_plugin.task_runner import TaskRunner

    _refuse(config)
    _forward_environment(config)
    run_ppo(config, task_runner_class=ray.remote(TaskRunner))
    ray.shutdown()


@contextlib.contextmanager
def local_ray(config: DictConfig) -> Iterator[Future[None]]:
    """A Ray cluster of this process's own, with a short folder of its own, both gone afterwards.

    With ``RAY_ADDRESS`` set, as it is in every Ray job, the cluster at that address is used and stays. Either starts in
    a thread while the caller goes on; the future says when it is there.
    """
    import ray

    folder: str | None = None
    if os.environ.get("RAY_ADDRESS"):
        # Workers of a cluster that others started inherit nothing from this process.
        options: dict[str, Any] = {"runtime_env": {"env_vars": forwarded(os.environ)}, "log_to_driver": True}
    else:
        _sweep_ray_folders()
        # Ray puts sockets into it, and a socket's path ends at 107 characters.
        folder = tempfile.mkdtemp(prefix=f"{_RAY_PREFIX}{os.getpid()}-", dir="/tmp")
        options = OmegaConf.to_container(config.ray_kwargs.ray_init, resolve=True)  # type: ignore[assignment]
        # verl would set its variables through a runtime environment, which every actor then waits for; the processes
        # of this cluster inherit ours.
        options.pop("runtime_env", None)
        options = {"_temp_dir": folder, **options}
    # The thread has to outlive the cluster: without the thread that made it, Ray's shutdown waits 15 s for nothing.
    with ThreadPoolExecutor(max_workers=1) as pool:
        ready = pool.submit(_join_ray, config, options)
        try:
            yield ready
        finally:
            wait([ready])
            ray.shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def _join_ray(config: DictConfig, options: Mapping[str, Any]) -> None:
    """Start or join the cluster; one that cannot hold the run is an error now, not a wait for ever later.

    Raises:
        UserError: too few logical resources.
    """
    import ray

    ray.init(**options)
    there, needed = ray.cluster_resources(), config.trainer.nnodes * config.trainer.n_gpus_per_node
    # verl's pools count only resources named GPU, also on a CPU, and take three cores for each.
    for name, amount in (("GPU", needed), ("CPU", 3 * needed)):
        if there.get(name, 0) < amount:
            raise UserError(
                f"the Ray cluster has {there.get(name, 0):.0f} logical {name}s, the run needs {amount}: "
                "start it with ray start --head --num-cpus=16 --num-gpus=1 (logical numbers), or unset RAY_ADDRESS"
            )


def refused_by_verl(config: DictConfig) -> list[Finding]:
    """What verl's own checks say of its keys, and which names verl does not know; imports verl."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from env_tuning.verl_plugin.registered import unregistered

    found = list(unregistered(config))
    roles = {"use_reference_policy": need_reference_policy(config), "use_critic": need_critic(config)}
    try:
        validate_config(config=config, **roles)
    except (AssertionError, ValueError, InstantiationException) as error:
        reason = error.__cause__ or error  # Hydra puts its own words around what a dataclass of verl says
        found.append(said_by(ValueError(f"verl refuses the configuration: {reason}"), "verl"))
    return found


def _refuse(config: DictConfig) -> None:
    if found := refused_by_verl(config):
        raise UserError("; ".join(finding.line for finding in found))


def _sweep_ray_folders() -> None:
    """Remove the Ray folders of runs that were killed: the name carries the process id."""
    for folder in Path("/tmp").glob(f"{_RAY_PREFIX}*-*"):
        owner = folder.name[len(_RAY_PREFIX) :].partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


_OF_VLLM_ON_A_CPU = {
    # Its sampler would be compiled at the first request, which takes a C++ compiler, and seconds.
    "TORCHDYNAMO_DISABLE": "1",
    # It would bind its threads to cores that trainer and agent loops use, too, and two replicas to the same ones.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}

_FORWARDED = (
    *("VERL_USE_EXTERNAL_MODULES", "VERL_PLATFORM", "TENSORBOARD_DIR", "TQ_NUM_THREADS", "TRANSFER_QUEUE_ENABLE"),
    *("HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "TQDM_DISABLE"),
    *(
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD",
        "VERL_DATAPROTO_SERIALIZATION_METHOD",
        "MKL_CBWR",
        "ENV_TUNING_DETERMINISTIC",
        "WANDB_DIR",
        *_OF_VLLM_ON_A_CPU,
    ),
)


def forwarded(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that workers on other nodes need as `set_environment` left them here."""
    return {name: environ[name] for name in _FORWARDED if name in environ}


def _forward_environment(config: DictConfig) -> None:
    """Give them to Ray's workers through verl's configuration."""
    with open_dict(config):
        runtime_env = config.ray_kwargs.ray_init.runtime_env
        runtime_env.env_vars = {**forwarded(os.environ), **(runtime_env.get("env_vars") or {})}


if __name__ == "__main__":
    sys.exit(main())
