"""``python -m env_tuning.verl_plugin.main --config-dir configs --config-name stage1 [overrides]``: train.

Owns: the environment of a run (variables that verl, Ray and torch read when they are imported, Ray's folder, clean
ends) and the two ways to start verl's task runner. Refuses: making data or models (`env_tuning.launch`), training.

On a CPU the task runner lives in this process, one process and six seconds less than verl's own entry; on GPU nodes
it is verl's Ray actor, as in ``verl.trainer.main_ppo``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from env_tuning.errors import UserError
from env_tuning.launch import PARENT_VARIABLE, exit_when_told
from env_tuning.preflight import check, files, row_count
from env_tuning.verl_plugin.compose import compose_config
from env_tuning.verl_plugin.progress import PREFIX, Progress

_PACKAGES = Path(__file__).resolve().parents[2]
_RAY_PREFIX = "et-"
_PLUGIN = "env_tuning.verl_plugin.registration"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit status: 0, 1 for a failure, 2 for something the user has to fix."""
    parser = argparse.ArgumentParser(description="Train one stage with verl.")
    parser.add_argument("--config-dir", type=Path, default=Path("configs"))
    parser.add_argument("--config-name", required=True)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, for example trainer.total_epochs=1")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, exit_when_told)
    _follow_launcher()
    try:
        config = compose_config(given.config_dir, given.config_name, given.overrides)
        complete(config)
        set_environment(config, os.environ)
        check(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
        grant_epochs(config)
        with sole_owner(Path(config.env_tuning.output_dir)):
            train(config)
    except UserError as error:
        print(f"{PREFIX}error: {error}", flush=True)
        return 2
    except Exception as error:
        traceback.print_exc()
        first_line = next(iter(str(error).strip().splitlines()), "")
        print(f"{PREFIX}error: {type(error).__name__}: {first_line}", flush=True)
        return 1
    return 0


@contextlib.contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold the output folder's lock while training; the kernel frees it however the process ends.

    Raises:
        UserError: another process is training into the folder.
    """
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is training into {folder}; wait for it, end it, or give env_tuning.output_dir=..."
            ) from None
        yield


def _follow_launcher() -> None:
    """End when the launcher is gone: killed, it cannot end us, and a rerun would meet a process it knows nothing of."""
    launcher = os.environ.get(PARENT_VARIABLE)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="follow-launcher").start()


def complete(config: DictConfig) -> None:
    """Fill in what the files cannot know: absolute paths, and workers for verl's own reward function.

    Raises:
        UserError: two rewards are configured.
    """
    with open_dict(config):
        # Ray actors may start elsewhere.
        config.env_tuning.output_dir = str(Path(config.env_tuning.output_dir).expanduser().absolute())
        router = config.actor_rollout_ref.rollout.router_config_path
        if router and not Path(router).is_absolute() and not Path(router).exists():
            config.actor_rollout_ref.rollout.router_config_path = str(_PACKAGES / router)
        if config.reward.custom_reward_function.path:
            if config.env_tuning.reward is not None:
                raise UserError(
                    "env_tuning.reward and reward.custom_reward_function.path are both set; set one of them to null"
                )
            config.reward.num_workers = config.reward.num_workers or 1


def grant_epochs(config: DictConfig) -> None:
    """Give a run as many epochs as its steps need: verl ends after the epochs, without the last save and validation."""
    steps = config.trainer.total_training_steps
    if steps is None:
        return
    rows = sum(row_count(file) for file in files(config.data.train_files))
    needed = -(-steps // (rows // config.data.train_batch_size))
    config.trainer.total_epochs = max(config.trainer.total_epochs, needed)


def set_environment(config: DictConfig, environ: MutableMapping[str, str]) -> None:
    """Set the variables that verl, Ray, torch and transformers read when imported; what is set already stays."""
    wanted = {
        "VERL_USE_EXTERNAL_MODULES": _PLUGIN,
        "TENSORBOARD_DIR": str(Path(config.env_tuning.output_dir) / "tensorboard"),
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TQ_NUM_THREADS": "1",
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
            # Ray 2.60 writes a token into the home folder otherwise; the cluster is this machine alone.
            "RAY_AUTH_MODE": "disabled",
            # What verl/trainer/main_ppo.py:run_ppo gives to its actors.
            "TRANSFER_QUEUE_ENABLE": "1",
        }
    if config.env_tuning.threads is not None:
        wanted["OMP_NUM_THREADS"] = str(config.env_tuning.threads)
    if Path(str(config.actor_rollout_ref.model.path)).expanduser().is_dir():
        wanted["HF_HUB_OFFLINE"] = "1"
    for name, value in wanted.items():
        environ.setdefault(name, value)


def train(config: DictConfig) -> None:
    """Run verl to the end."""
    if config.trainer.device == "cpu":
        with local_ray(config) as ready:
            from env_tuning.verl_plugin.task_runner import LocalTaskRunner

            _validate(config)
            ready.result()
            LocalTaskRunner().run(config)
    else:
        import ray
        from verl.trainer.main_ppo import run_ppo

        from env_tuning.verl_plugin.task_runner import TaskRunner

        _validate(config)
        _forward_environment(config)
        run_ppo(config, task_runner_class=ray.remote(TaskRunner))
        ray.shutdown()
    Progress(Path(config.env_tuning.output_dir)).tell("done")


@contextlib.contextmanager
def local_ray(config: DictConfig) -> Iterator[Future[Any]]:
    """A Ray cluster of this process's own, with a short folder of its own, both gone afterwards.

    The cluster starts in a thread while the caller imports verl; the future says when it is there.
    """
    import ray

    _sweep_ray_folders()
    # Ray puts sockets into it, and a socket's path ends at 107 characters.
    folder = tempfile.mkdtemp(prefix=f"{_RAY_PREFIX}{os.getpid()}-", dir="/tmp")
    options: dict[str, Any] = OmegaConf.to_container(config.ray_kwargs.ray_init, resolve=True)  # type: ignore[assignment]
    # verl would set its variables through a runtime environment, which every actor then waits for; the processes of
    # this cluster inherit ours.
    options.pop("runtime_env", None)
    # The thread has to outlive the cluster: without the thread that made it, Ray's shutdown waits 15 s for nothing.
    with ThreadPoolExecutor(max_workers=1) as pool:
        ready = pool.submit(ray.init, **{"_temp_dir": folder, **options})
        try:
            yield ready
        finally:
            wait([ready])
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _validate(config: DictConfig) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    roles = {"use_reference_policy": need_reference_policy(config), "use_critic": need_critic(config)}
    try:
        validate_config(config=config, **roles)
    except (AssertionError, ValueError) as error:
        raise UserError(f"verl refuses the configuration: {error}") from error


def _sweep_ray_folders() -> None:
    """Remove the Ray folders of runs that were killed: the name carries the process id."""
    for folder in Path("/tmp").glob(f"{_RAY_PREFIX}*-*"):
        owner = folder.name[len(_RAY_PREFIX) :].partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _forward_environment(config: DictConfig) -> None:
    """Give Ray workers on other nodes the variables that `set_environment` set here."""
    names = ("VERL_USE_EXTERNAL_MODULES", "TENSORBOARD_DIR", "TQ_NUM_THREADS", "HF_HUB_OFFLINE")
    with open_dict(config):
        runtime_env = config.ray_kwargs.ray_init.runtime_env
        variables = {name: os.environ[name] for name in names if name in os.environ}
        runtime_env.env_vars = {**variables, **(runtime_env.get("env_vars") or {})}


if __name__ == "__main__":
    sys.exit(main())
