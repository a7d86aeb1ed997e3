"""The launcher: from a command line to a running training process, and back to one line a person can read.

Owns: picking the hardware group, making the data and the embedded model when they are missing, the child process
that runs verl (its log file, its progress lines, its end). Refuses: importing verl, torch or ray in this process;
checks of the composed configuration (the `doctor` runs in the child).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from env_tuning.errors import UserError
from env_tuning.verl_plugin.progress import PREFIX

PARENT_VARIABLE = "ENV_TUNING_LAUNCHER"
"""Tells the training process its launcher's process id: when that is gone (killed), it ends itself."""
GRACE_SECONDS = 20.0
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is started: a configuration and the final overrides, in Hydra's own syntax."""

    config_dir: Path
    config_name: str
    overrides: tuple[str, ...]
    log_file: Path

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of the training process."""
        return {"ENV_TUNING_HOME": str(self.config_dir.parent)}

    @property
    def command(self) -> tuple[str, ...]:
        """The training process."""
        return (
            *(sys.executable, "-u", "-m", "env_tuning.verl_plugin.main"),
            *("--config-dir", str(self.config_dir), "--config-name", self.config_name),
            *self.overrides,
        )


class Startable(Protocol):
    """What `run` needs to know of a training process."""

    @property
    def command(self) -> tuple[str, ...]:
        """The process."""

    @property
    def variables(self) -> dict[str, str]:
        """Its further environment variables."""

    @property
    def log_file(self) -> Path:
        """Where its output goes."""


class Relay:
    """Copies a training process's output to the log file and shows its progress lines."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self.named_error = False
        """Whether a line said what went wrong."""

    def line(self, text: str) -> None:
        """Take one line, its end included."""
        self._log.write(text)
        # Ray puts the name of a remote process before its lines, and a progress bar may stand before ours.
        _, found, said = text.partition(PREFIX)
        if found:
            self.named_error |= said.startswith("error: ")
            show(said.rstrip("\n"))


def project_folder() -> Path:
    """The folder that holds ``configs/`` and ``processed_data/``: the working directory or the checkout.

    Raises:
        UserError: neither has a ``configs`` folder.
    """
    for folder in (Path.cwd(), _PROJECT):
        if (folder / "configs" / "base.yaml").is_file():
            return folder
    raise UserError(f"no configs/base.yaml in {Path.cwd()}; run this from a checkout of env_tuning")


def gpu_count() -> int:
    """Number of NVIDIA GPUs that the driver lists, 0 without a driver. Asks no Python package."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listing.splitlines())


def hardware_group(gpus: int, available: Sequence[str]) -> str:
    """The group of `configs/hardware` for a number of GPUs: the largest that fits."""
    if gpus == 0:
        return "cpu"
    fitting = [int(name[3:]) for name in available if name.startswith("gpu") and name[3:].isdigit()]
    fitting = [count for count in fitting if count <= gpus]
    if not fitting:
        raise UserError(f"no hardware group fits {gpus} GPUs (groups: {', '.join(available)}); choose hardware=...")
    return f"gpu{max(fitting)}"


def given(overrides: Sequence[str], key: str) -> str | None:
    """The value of the last override of a key, None when it is not overridden."""
    values = [item.split("=", 1)[1] for item in overrides if item.lstrip("+").startswith(f"{key}=")]
    return values[-1] if values else None


def with_hardware(overrides: Sequence[str], configs: Path) -> list[str]:
    """The overrides with a group of `configs/hardware`: the driver's GPUs pick it unless the user did."""
    if given(overrides, "hardware") is not None:
        return list(overrides)
    group = hardware_group(gpu_count(), sorted(path.stem for path in (configs / "hardware").glob("*.yaml")))
    return [f"hardware={group}", *overrides]


def log_file_of(name: str) -> Path:
    """Where a run of that name that starts now writes what its process prints."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path.cwd() / "logs" / f"{name}_{stamp}.log"


def plan(config_name: str, overrides: Sequence[str], environ: Mapping[str, str]) -> Launch:
    """Decide what to start, making the data and the embedded model if they are missing.

    Args:
        config_name: a file of ``configs/`` without its ending, for example ``stage1``.
        overrides: the user's Hydra overrides; they always win.
        environ: ``MODEL`` names a model folder or hub id; ``WHEEL`` a local bfcl-eval wheel or folder.
    """
    folder = project_folder()
    configs = folder / "configs"
    if not (configs / f"{config_name}.yaml").is_file():
        stages = ", ".join(sorted(path.stem for path in configs.glob("stage*.yaml")))
        raise UserError(f"no configs/{config_name}.yaml; there are: {stages}")
    chosen = with_hardware(overrides, configs)
    if given(chosen, "data.train_files") is None or given(chosen, "data.val_files") is None:
        _make_data(folder, environ)
    if given(chosen, "actor_rollout_ref.model.path") is None:
        model = environ.get("MODEL") or _chosen_model(folder, config_name, chosen)
        chosen.append(f"actor_rollout_ref.model.path={model}")
    log_file = log_file_of(config_name)
    return Launch(config_dir=configs, config_name=config_name, overrides=tuple(chosen), log_file=log_file)


def run(launch: Startable) -> int:
    """Run the training process to its end; returns its exit status (130 after Ctrl-C)."""
    launch.log_file.parent.mkdir(parents=True, exist_ok=True)
    show(f"log file: {_short(launch.log_file)}")
    with launch.log_file.open("w", encoding="utf-8", buffering=1) as log:
        log.write(f"# {shlex.join(launch.command)}\n")
        relay = Relay(log)
        # A session of its own, so that the whole tree can be ended by its group id.
        child = subprocess.Popen(
            launch.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, env={**os.environ, **launch.variables, PARENT_VARIABLE: str(os.getpid())},
        )  # fmt: skip
        # Being told to stop (a scheduler, a time limit) must not leave the training process behind.
        before = signal.signal(signal.SIGTERM, exit_when_told)
        try:
            assert child.stdout is not None
            for line in child.stdout:
                relay.line(line)
            child.wait()
        except KeyboardInterrupt:
            show("interrupted; stopping (the last checkpoint stays, the same command continues)")
            end_group(child, signal.SIGINT)
            return 130
        finally:
            end_group(child, signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)
    if child.returncode != 0 and not relay.named_error:
        show(f"failed with status {child.returncode}; the end of {_short(launch.log_file)} says why")
    return child.returncode


def show(line: str) -> None:
    """Print one line to the person at the terminal."""
    print(f"{PREFIX}{line}", flush=True)


def end_group(child: subprocess.Popen[str], first_signal: signal.Signals) -> None:
    """End a child and its process group: a signal to the child, a grace period, then SIGKILL to all.

    The child alone is told: a training process whose Ray is ended under it dies before it has cleaned up.
    """
    with contextlib.suppress(ProcessLookupError):
        if child.poll() is None:
            child.send_signal(first_signal)
            deadline = time.monotonic() + GRACE_SECONDS
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def exit_when_told(*_: object) -> None:
    """A handler of SIGTERM that lets every ``finally`` run."""
    raise SystemExit(128 + signal.SIGTERM)


def _make_data(folder: Path, environ: Mapping[str, str]) -> None:
    from env_tuning.data.prepare import prepare

    source = environ.get("WHEEL")
    prepare(folder / "processed_data", source=Path(source) if source else None)


def _chosen_model(folder: Path, config_name: str, overrides: Sequence[str]) -> str:
    """What a run without a model starts from: the result of the stage before, or the embedded model.

    Raises:
        UserError: that stage has not been trained to its end, or there is no model for this configuration or machine.
    """
    from env_tuning.verl_plugin.compose import compose_config

    settings = compose_config(folder / "configs", config_name, overrides).get("env_tuning") or {}
    if settings.get("follows") is not None:
        return _previous_result(config_name, settings)
    if settings.get("launcher") is not None:
        raise UserError(f"no model given; set MODEL=/path/to/model, or run python {settings['launcher']}")
    return _own_model(folder, given(overrides, "hardware"))


def _previous_result(config_name: str, settings: Mapping[str, Any]) -> str:
    from env_tuning.curriculum.results import stage_result

    folder = Path(settings["previous_dir"]).expanduser().absolute()
    try:
        result = stage_result(folder)
    except UserError as error:
        raise UserError(f"{config_name} starts from the result of {settings['follows']}: {error}") from None
    show(f"starting from {_short(result.folder)} (step {result.step} of {settings['follows']})")
    return str(result.folder)


def _own_model(folder: Path, hardware: str | None) -> str:
    if hardware != "cpu":
        raise UserError("no model given; set MODEL=/path/to/model (a Hugging Face folder or hub id)")
    show("no GPU and no MODEL: using the embedded tiny model (made once, a few minutes)")
    code = (
        "import sys; from pathlib import Path; from env_tuning.model.embedded import embedded_model; "
        f"say = lambda line: print({PREFIX!r} + line, file=sys.stderr, flush=True); "
        "print('\\n' + str(embedded_model(Path(sys.argv[1]), Path(sys.argv[2]), report=say)))"
    )
    tasks = folder / "processed_data" / "bfcl_v3" / "bfcl_train.parquet"
    arguments = [str(folder / ".cache" / "models"), str(tasks)]
    return last_line_of((sys.executable, "-c", code, *arguments), failed="the embedded model could not be made")


def last_line_of(command: Sequence[str], *, failed: str) -> str:
    """The last line that a command prints, run to its end: making a model loads torch, and this process only watches.

    Raises:
        UserError: it failed; `failed` says what could not be done.
    """
    # Threads that wait must sleep: with spinning ones, a second busy process makes this ten times slower.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if made.returncode != 0:
        raise UserError(f"{failed}; the lines above say why")
    return made.stdout.strip().splitlines()[-1]


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
