"""From settings to running training processes.

Owns: which model is trained, making data and the tiny model when they are missing, checks before anything heavy starts,
the command of the processes, and the environment they need. Refuses: importing torch, verl or trl in this process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from env_tuning.errors import UserError
from env_tuning.launch import gpu_count, log_file_of, project_folder, show
from env_tuning.launch import run as run_process
from env_tuning.run_folder import claim_output
from env_tuning.sft.mixing import DataSettings, generate, read_split, write_splits
from env_tuning.sft.output import RunFolder
from env_tuning.sft.settings import SftSettings, read_choices

CONFIG = Path("recipes") / "sft" / "sft.yaml"
_MODULES = {"verl": "env_tuning.verl_plugin.sft_trainer", "trl": "env_tuning.sft.trl_trainer"}
_NEEDS = {"trl": ("trl", "peft", "accelerate", "datasets"), "verl": ("verl",)}


@dataclass(frozen=True, kw_only=True)
class SftLaunch:
    """What is started.

    Attributes:
        settings: with every choice made.
        processes: on this machine.
        gpus: that the driver lists.
        log_file: everything the processes print.
    """

    settings: SftSettings
    processes: int
    gpus: int
    log_file: Path

    @property
    def command(self) -> tuple[str, ...]:
        """The training processes; torchrun's arguments for more machines may be added with ``TORCHRUN_ARGS``."""
        where = os.environ.get("TORCHRUN_ARGS", "--standalone").split()
        return (
            *(sys.executable, "-m", "torch.distributed.run", *where, f"--nproc-per-node={self.processes}"),
            *("-m", _MODULES[self.settings.trainer], str(RunFolder(self.settings.folder).settings)),
        )

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of the training processes; what is set already stays."""
        wanted = {
            "TOKENIZERS_PARALLELISM": "false",
            "TENSORBOARD_DIR": str(self.settings.folder / "tensorboard"),
            "TENSORBOARD_LOGGING_DIR": str(self.settings.folder / "tensorboard"),
            "VERL_USE_EXTERNAL_MODULES": "env_tuning.verl_plugin",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TQDM_DISABLE": "1",
        }
        if not self.gpus:
            wanted |= {
                "VERL_PLATFORM": "cpu",
                "DS_ACCELERATOR": "cpu",
                # Threads that wait must sleep, or processes that share cores stand in each other's way.
                "OMP_WAIT_POLICY": "PASSIVE",
                "OMP_NUM_THREADS": str(self.settings.threads),
            }
        return {name: value for name, value in wanted.items() if name not in os.environ}


def plan(arguments: Sequence[str], environ: Mapping[str, str], *, config: Path | None = None) -> SftLaunch:
    """Decide what to start, make what is missing, and claim the output folder.

    Args:
        arguments: ``key=value`` pairs.
        environ: ``MODEL`` names a model if no argument does.
        config: the YAML file; the recipe's by default.

    Raises:
        UserError: a setting, a package or a file is wrong; the message names the fix.
    """
    choices = read_choices(config or project_folder() / CONFIG, arguments)
    settings = choices.settle(tiny=False)
    model = settings.model or environ.get("MODEL")
    gpus = gpu_count()
    if model is None and gpus:
        show("no model given: training the tiny one; give MODEL=/path/to/model for one of yours")
    settings = replace(choices.settle(tiny=model is None), model=model)
    _require_packages(settings, gpus)
    _make_data(Path(settings.data), settings.rows)
    if model is None:
        settings = replace(settings, model=_tiny(settings))
    elif not gpus and settings.precision == "bf16":
        settings = replace(settings, precision="fp32")
    _check_rows(settings)
    claim_output(settings.folder, _identity(settings), elsewhere="output_dir=ANOTHER-FOLDER")
    settings.dump(RunFolder(settings.folder).settings)
    processes = settings.processes or max(1, gpus)
    return SftLaunch(settings=settings, processes=processes, gpus=gpus, log_file=log_file_of("sft"))


def run(launch: SftLaunch) -> int:
    """Train to the end; returns the exit status. A run that has ended already is left alone."""
    folder = RunFolder(launch.settings.folder)
    if folder.summary.is_file():
        show(f"{folder.path} holds a finished run; its model is {folder.model}")
        return 0
    show(f"training {launch.settings.model} with {launch.settings.trainer}, {launch.processes} process(es)")
    return run_process(launch)


def _require_packages(settings: SftSettings, gpus: int) -> None:
    missing = [name for name in _NEEDS[settings.trainer] if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"trainer={settings.trainer} needs {', '.join(missing)}: pip install -e '.[sft]'")
    if settings.deepspeed and settings.trainer == "trl":
        if importlib.util.find_spec("deepspeed") is None:
            raise UserError("deepspeed is not installed: pip install -e '.[sft]', or give deepspeed=null")
        if not Path(settings.deepspeed).is_file():
            raise UserError(f"deepspeed={settings.deepspeed}: no such file")
    if settings.load_in_4bit and (not gpus or importlib.util.find_spec("bitsandbytes") is None):
        raise UserError("load_in_4bit needs a GPU and bitsandbytes; give load_in_4bit=false")


def _make_data(folder: Path, rows: int) -> None:
    if folder.exists():
        return
    show(f"making the two data sets in {folder}")
    write_splits(generate(DataSettings(rows=rows)), folder)


def _tiny(settings: SftSettings) -> str:
    # In a process of its own: this one never loads torch.
    code = (
        "import sys; from pathlib import Path; from env_tuning.sft.mixing import read_split; "
        "from env_tuning.sft.tiny import untrained_model; "
        "rows = read_split(Path(sys.argv[1]), 'train'); "
        "print(untrained_model(Path(sys.argv[2]), rows, size=sys.argv[3], seed=int(sys.argv[4])))"
    )
    arguments = [settings.data, str(Path(".cache") / "models"), settings.size, str(settings.seed)]
    made = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        raise UserError("the tiny model could not be made; the lines above say why")
    return made.stdout.strip().splitlines()[-1]


def _check_rows(settings: SftSettings) -> None:
    counts = {name: len(read_split(Path(settings.data), name)) for name in ("train", "validation")}
    for name, count in counts.items():
        if count < settings.batch_size:
            raise UserError(f"{settings.data} has {count} {name} rows; give batch_size={count} or fewer, or more rows")


def _identity(settings: SftSettings) -> dict[str, object]:
    """What makes two runs the same; where and on how many processes they run is not part of it."""
    from env_tuning.hashing import file_sha256

    data = Path(settings.data)
    files = sorted(file for name in ("train", "validation") for file in data.glob(f"{name}.*"))
    values = json.loads(json.dumps(settings.__dict__))
    for name in ("data", "rows", "output_dir", "processes", "threads"):
        del values[name]
    return {**values, "files": {file.name: file_sha256(file) for file in files}}
