"""What can be known of a command without running it: programs, files, options and overrides exist.

Owns: one rule per program that the documentation names; an unknown program is an error. Refuses: running anything.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Sequence

from documented import PROJECT, Command
from typer.main import get_command

from env_tuning.cli import app
from env_tuning.curriculum.plan import read_plan, split_overrides
from env_tuning.verl_plugin.compose import compose_config

CONFIGS = PROJECT / "configs"
VARIABLES = ("MODEL", "PYTHONPATH", "RAY_ADDRESS")


def resolve(command: Command) -> None:
    """Check a command; whatever is wrong raises."""
    unknown = set(command.variables) - set(VARIABLES)
    assert not unknown, f"variables {unknown} are read by nothing"
    program, *arguments = command.words
    _PROGRAMS[program](arguments)


@functools.cache
def composed(stage: str, overrides: tuple[str, ...]) -> None:
    """The stage composes with these overrides."""
    assert not [item for item in overrides if item.startswith("-")], "an option that the command does not have"
    compose_config(CONFIGS, stage, overrides)


def _bash(arguments: Sequence[str]) -> None:
    script, *overrides = arguments
    text = (PROJECT / script).read_text(encoding="utf-8")
    (stage,) = re.findall(r'^exec env-tuning train (\w+) "\$@"$', text, re.MULTILINE)
    composed(stage, tuple(overrides))


def _env_tuning(arguments: Sequence[str]) -> None:
    name, *rest = arguments
    assert name in ("train", "curriculum"), f"env-tuning {name} is cheap: run it instead"
    context = get_command(app).commands[name].make_context(name, list(rest))  # type: ignore[attr-defined]
    if name == "train":
        composed(context.params["stage"], tuple(context.args))
        return
    mine, every_stage = split_overrides(context.args)
    # One stage: what goes to every stage is the same override in each, and composing takes a second.
    first = read_plan(CONFIGS, context.params["plan"], mine).stages[0]
    composed(first.config, (*first.overrides, *every_stage))


def _make(arguments: Sequence[str]) -> None:
    (target,) = arguments
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def _pip(arguments: Sequence[str]) -> None:
    install, *rest = arguments
    assert install == "install"
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    for option, value in zip(rest[:-1:2], rest[1::2], strict=False):
        assert option in ("-c", "-e")
        if option == "-c":
            assert (PROJECT / value).is_file()
    what = rest[-1]
    if extras := re.fullmatch(r"\.\[([\w,-]+)\]", what):
        assert rest[-2] == "-e"
        for extra in extras[1].split(","):
            assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"no extra {extra}"
    else:
        assert f'"{what}"' in project, f"{what} is not what pyproject.toml asks for"


def _python(arguments: Sequence[str]) -> None:
    flag, module, *_ = arguments
    assert flag == "-m"
    assert importlib.util.find_spec(module) is not None


def _ray(arguments: Sequence[str]) -> None:
    from ray.scripts.scripts import cli

    name, *rest = arguments
    cli.commands[name].make_context(name, list(rest))


def _sbatch(arguments: Sequence[str]) -> None:
    (script,) = (word for word in arguments if not word.startswith("--"))
    assert "#SBATCH" in (PROJECT / script).read_text(encoding="utf-8")


def _source(arguments: Sequence[str]) -> None:
    assert list(arguments) == [".venv/bin/activate"]
    assert "-m venv" in (PROJECT / "scripts" / "setup.sh").read_text(encoding="utf-8")


def _timeout(arguments: Sequence[str]) -> None:
    seconds, *command = arguments
    assert int(seconds) > 0
    resolve(Command(variables={}, words=list(command)))


_PROGRAMS = {
    "bash": _bash,
    "env-tuning": _env_tuning,
    "make": _make,
    "pip": _pip,
    "python3": _python,
    "ray": _ray,
    "sbatch": _sbatch,
    "source": _source,
    "timeout": _timeout,
}
