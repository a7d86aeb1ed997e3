"""From the flags of the systems' documents to a run of verl.

Owns: the flags, the Hydra keys that they stand for, and what is made when one is not given. Refuses: starting the
training process (`env_tuning.launch`), logic of the parts.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import math
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from env_tuning import launch
from env_tuning.atomic import replace_text
from env_tuning.errors import UserError
from env_tuning.task import AnswerKind
from env_tuning.tool_grpo.offline import (
    Conversation,
    assistant_conversations,
    maths_conversations,
    mixed_conversations,
)
from env_tuning.tool_grpo.public_sets import PUBLIC_SETS, load_public_set

VALIDATION_DIALOGUES = 24
"""Held back of data that comes without validation, or a tenth of fewer than ten times as many."""

_MODEL = "actor_rollout_ref.model.path"


@dataclass(frozen=True, kw_only=True)
class System:
    """A configuration of ``configs/`` with its offline data.

    Attributes:
        name: of the configuration, and of the folder of its data.
        about: one line for ``--help``.
        offline: makes the conversations of the first run.
        model: on GPUs, when none is given; None: one has to be given.
        adapter: whether GPU runs train adapters, unless the user chooses.
        public_sets: whether rows may be problems of public sets.
    """

    name: str
    about: str
    offline: Callable[[], list[Conversation]]
    model: str | None = None
    adapter: bool = False
    public_sets: bool = False


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "assistant": System(
            name="assistant",
            about="Train an assistant with a calculator, the weather, a search and a clock.",
            offline=assistant_conversations,
        ),
        "maths": System(
            name="maths",
            about="Train a model to solve mathematical problems with programs.",
            offline=maths_conversations,
            model="Qwen/Qwen2.5-0.5B-Instruct",
            adapter=True,
            public_sets=True,
        ),
        "mixed": System(
            name="mixed",
            about="Train on both kinds of tasks at once; every row chooses its tools.",
            offline=mixed_conversations,
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A flag that stands for one Hydra key."""

    flag: str
    key: str
    kind: type
    help: str


ALIASES = (
    Alias(flag="--output_dir", key="env_tuning.output_dir", kind=str, help="everything the run writes"),
    Alias(flag="--learning_rate", key="actor_rollout_ref.actor.optim.lr", kind=float, help="peak, of the actor"),
    Alias(flag="--num_epochs", key="trainer.total_epochs", kind=int, help="passes over the data"),
    Alias(flag="--num_generations", key="actor_rollout_ref.rollout.n", kind=int, help="episodes of a group"),
    Alias(flag="--max_new_tokens", key="env_tuning.max_message_tokens", kind=int, help="of one assistant message"),
    Alias(flag="--temperature", key="actor_rollout_ref.rollout.temperature", kind=float, help="of training episodes"),
    Alias(flag="--seed", key="data.seed", kind=int, help="of the order of rows and of sampling"),
)
"""Whatever is not given keeps the configuration's value."""


def parser(system: System) -> argparse.ArgumentParser:
    """The flags; what follows them are Hydra overrides."""
    flags = argparse.ArgumentParser(
        description=system.about,
        epilog="Every further argument is a Hydra override, for example trainer.total_training_steps=20.",
        allow_abbrev=False,
    )
    text = flags.add_argument
    text("--model_name", help="a Hugging Face folder or hub id; on a CPU a tiny model is made without it")
    text("--data_path", type=Path, help="conversations to train on, JSONL; by default a small set is made here")
    text("--val_path", type=Path, help="conversations to validate with; by default some of the others are held back")
    if system.public_sets:
        known = ", ".join(PUBLIC_SETS)
        text("--dataset", help=f"a public set to train on in place of --data_path: {known}")
        text("--val_dataset", help="a public set to validate with")
        text("--dataset_path", help="a copy of --dataset on this machine; by default the hub is asked")
        text("--val_dataset_path", help="a copy of --val_dataset on this machine")
    text("--batch_size", type=int, help="prompts of a batch; times --gradient_accumulation_steps those of an update")
    text("--gradient_accumulation_steps", type=int, help="batches of an update; memory is bounded by tokens instead")
    for alias in ALIASES:
        text(alias.flag, type=alias.kind, help=f"{alias.help} ({alias.key})")
    text("--bf16", action="store_true", help="compute in bfloat16, which GPUs do anyway and CPUs never")
    return flags


def main(name: str, arguments: Sequence[str] | None = None) -> int:
    """Prepare and train the system of a name; returns the exit status."""
    system = SYSTEMS[name]
    known = parser(system)
    flags, overrides = known.parse_known_args(arguments)
    try:
        _refuse_unknown_flags(known, overrides)
        return launch.run(plan(system, flags, overrides))
    except (UserError, ValueError) as error:
        launch.show(f"error: {error}")
        return 2


def plan(system: System, flags: argparse.Namespace, overrides: Sequence[str]) -> launch.Launch:
    """Make data and model where they are missing, and say what is started.

    Raises:
        UserError: a flag is wrong, or a model is missing.
    """
    home = launch.project_folder()
    data = _prepare(system, flags, home / "processed_data" / "tool_grpo" / system.name)
    overrides = launch.with_hardware(overrides, home / "configs")
    cpu = launch.given(overrides, "hardware") == "cpu"
    keys = [f"data.train_files={data / 'train.parquet'}", f"data.val_files={data / 'val.parquet'}"]
    keys += [*_aliases(flags), *_batch(flags), *_precision(flags, cpu=cpu)]
    if not cpu and system.adapter and launch.given(overrides, "adapter") is None:
        keys.insert(0, "adapter=lora")
    keys += overrides
    model = launch.given(overrides, _MODEL) or flags.model_name or os.environ.get("MODEL")
    if model is None:
        model = _tiny_model(home, system, data, keys) if cpu else system.model
    if model is None:
        raise UserError("no model given; give --model_name a Hugging Face folder or hub id")
    if launch.given(overrides, _MODEL) is None:
        keys.append(f"{_MODEL}={model}")
    return launch.plan(system.name, keys, os.environ)


def _refuse_unknown_flags(known: argparse.ArgumentParser, rest: Sequence[str]) -> None:
    unknown = [text.partition("=")[0] for text in rest if text.startswith("-")]
    if not unknown:
        return
    flags = [word.strip("[]") for word in known.format_usage().split() if word.strip("[]").startswith("--")]
    near = difflib.get_close_matches(unknown[0], flags, n=1)
    hint = f"did you mean {near[0]}?" if near else "--help lists them"
    raise UserError(f"unknown flag {unknown[0]}; {hint}")


def _aliases(flags: argparse.Namespace) -> list[str]:
    """The given flags as overrides."""
    values = {alias.key: getattr(flags, alias.flag.removeprefix("--")) for alias in ALIASES}
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def _batch(flags: argparse.Namespace) -> list[str]:
    """Prompts of an update: how they are cut into pieces for memory is decided by tokens."""
    given = [count for count in (flags.batch_size, flags.gradient_accumulation_steps) if count is not None]
    if not given:
        return []
    if min(given) < 1:
        raise UserError("--batch_size and --gradient_accumulation_steps must be at least 1")
    return [f"data.train_batch_size={math.prod(given)}"]


def _precision(flags: argparse.Namespace, *, cpu: bool) -> list[str]:
    if not flags.bf16:
        return []
    if cpu:
        launch.show("--bf16 is for GPUs; a CPU computes in float32")
        return []
    return [
        "actor_rollout_ref.rollout.dtype=bfloat16",
        "+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype:bf16,reduce_dtype:fp32,buffer_dtype:fp32}",
    ]


def _prepare(system: System, flags: argparse.Namespace, data: Path) -> Path:
    """Write train and validation rows, and say how many."""
    from env_tuning.data.conversations import read_conversations, write_dialogues

    dataset, val_dataset = getattr(flags, "dataset", None), getattr(flags, "val_dataset", None)
    if (flags.data_path and dataset) or (flags.val_path and val_dataset):
        raise UserError("rows come from a file or from a public set; give one of the two")
    if dataset or flags.data_path:
        data = data / (dataset or flags.data_path.stem)
    data.mkdir(parents=True, exist_ok=True)
    if dataset:
        train = load_public_set(dataset, flags.dataset_path)
    elif flags.data_path:
        train = read_conversations(flags.data_path)
    else:
        conversations, rest = _held_back(system.offline())
        _write_lines(conversations, data / "train.jsonl")
        _write_lines(rest, data / "val.jsonl")
        train, validation = (read_conversations(data / f"{part}.jsonl") for part in ("train", "val"))
    if val_dataset:
        validation = load_public_set(val_dataset, flags.val_dataset_path)
    elif flags.val_path:
        validation = read_conversations(flags.val_path)
    elif dataset or flags.data_path:
        train, validation = _held_back(train)
    _refuse_unjudgeable([*train, *validation])
    counts = [write_dialogues(rows, data / f"{part}.parquet", split=part)
              for part, rows in (("train", train), ("val", validation))]  # fmt: skip
    launch.show(f"{counts[0]} dialogues to train, {counts[1]} to validate")
    return data


def _refuse_unjudgeable(rows: Sequence[Mapping[str, Any]]) -> None:
    """Whatever a model puts into a box may have to be compared by meaning: better known now than in the tenth step."""
    kinds = {(known or {}).get("kind") for row in rows for known in row.get("expected") or ()}
    if AnswerKind.MATHS.value in kinds and importlib.util.find_spec("math_verify") is None:
        raise UserError("answers of the kind maths are judged by math-verify; pip install 'env-tuning[math]'")


def _held_back(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows in a drawn order, cut into those to train and those to validate with."""
    if len(rows) < 2:
        raise UserError("one dialogue is not enough to train and to validate; give more, or --val_path")
    drawn = random.Random(0).sample(rows, len(rows))
    validation = min(VALIDATION_DIALOGUES, max(1, len(rows) // 10))
    return drawn[validation:], drawn[:validation]


def _write_lines(rows: Sequence[Conversation], file: Path) -> None:
    replace_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _tiny_model(home: Path, system: System, data: Path, keys: Sequence[str]) -> str:
    """The tiny model that knows the offline set; of other data it would know no word."""
    from env_tuning.verl_plugin.compose import compose_config

    file = data / "train.jsonl"
    if not file.is_file():
        raise UserError("no model given; the tiny model knows the offline set only: give --model_name a model's folder")
    composed = compose_config(home / "configs", system.name, keys)
    config = _plain(composed.env_tuning.interactions.dialogue.config)
    launch.show("no GPU and no model: using the tiny model of this set (made once, a few minutes)")
    return launch.last_line_of(
        (sys.executable, "-m", "env_tuning.tool_grpo.model", str(home / ".cache" / "models"), str(file), config),
        failed="the tiny model could not be made",
    )


def _plain(config: Any) -> str:
    from omegaconf import OmegaConf

    return json.dumps(OmegaConf.to_container(config, resolve=True))
