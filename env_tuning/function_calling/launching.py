"""From the flags of the system's origin to a run of verl.

Owns: the flags, what is made when one is not given, and the Hydra keys they stand for. Refuses: starting the training
process (`env_tuning.launch`), logic of the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from env_tuning import launch
from env_tuning.errors import UserError
from env_tuning.function_calling.episode import Rules
from env_tuning.function_calling.families import FAMILIES
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.function_calling.prepare import prepare
from env_tuning.function_calling.records import Dialogue, Tool, read_dataset, read_inventory
from env_tuning.function_calling.retrieval import Missing, retriever

ALGORITHMS = ("APPO", "TPPO", "POAD")
OFFLINE = "offline"
OFFLINE_DIALOGUES = 1200
VALIDATION_DIALOGUES = 64


def parser() -> argparse.ArgumentParser:
    """The flags; what follows them are Hydra overrides."""
    flags = argparse.ArgumentParser(
        description="Train a model to select tools and to fill their parameters, with PPO and a critic.",
        epilog="Every further argument is a Hydra override, for example trainer.total_training_steps=20.",
    )
    text = flags.add_argument
    text("--dataset_name", default=OFFLINE, help="names the results; the default is a small set made here")
    text("--dataset_path", type=Path, help="a JSON list of records")
    text("--tool_inventory_path", type=Path, help="a JSON list of tools")
    text("--model_name_or_path", help="a Hugging Face folder or hub id; on a CPU a tiny model is made without it")
    text("--embedding_model", default="bm25", help="a sentence-transformers model by name or folder, or bm25")
    text("--algorithm_name", choices=ALGORITHMS, default="APPO", help="APPO: action-level PPO, TPPO: token-level PPO")
    text("--ppo_epoch", type=int, default=1, help="passes over the episodes of a step")
    text("--num_mini_batch", type=int, default=4, help="updates in a pass")
    text("--experiment_name", default="default", help="the first folder under results/")
    text("--seed", type=int, default=1)
    text("--family", choices=sorted(FAMILIES), help="how the model writes calls; by default its own family's way")
    text("--candidates", type=int, default=6, help="how many tools a request is shown")
    text("--missing", choices=[item.value for item in Missing], default=Missing.RESAMPLE.value,
         help="what is done with dialogues whose tools retrieval missed")  # fmt: skip
    text("--no_questioning", action="store_true", help="tell withheld parameters at once")
    text("--roles", action="store_true", help="say in every message whose turn it is: selector, questioner, filler")
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare and train; returns the exit status."""
    flags, overrides = parser().parse_known_args(arguments)
    try:
        if unknown := [text for text in overrides if text.startswith("--")]:
            raise UserError(f"unknown flags {' '.join(unknown)}; --help lists them")
        return launch.run(plan(flags, overrides))
    except UserError as error:
        launch.show(f"error: {error}")
        return 2


def plan(flags: argparse.Namespace, overrides: Sequence[str]) -> launch.Launch:
    """Make data and model where they are missing, and say what is started.

    Raises:
        UserError: a flag is wrong.
    """
    if min(flags.ppo_epoch, flags.num_mini_batch) < 1:
        raise UserError("--ppo_epoch and --num_mini_batch must be at least 1")
    home = launch.project_folder()
    data = home / "processed_data" / "function_calling" / flags.dataset_name
    _prepare(flags, data)
    rules = Rules(questioning=not flags.no_questioning, roles=flags.roles)
    overrides = launch.with_hardware(overrides, home / "configs")
    model = flags.model_name_or_path or os.environ.get("MODEL")
    family = flags.family or ("plain" if model is None else family_of(model))
    if model is None:
        if launch.given(overrides, "hardware") != "cpu":
            raise UserError("no model given; give --model_name_or_path a Hugging Face folder or hub id")
        model = _tiny_model(home / ".cache" / "models", data / "train.parquet", family, rules)
    keys = [*settings(flags, data, model, family, rules), *overrides]
    keys.append(_mini_batch(home / "configs", flags.num_mini_batch, keys))
    return launch.plan("function_calling", keys, os.environ)


def settings(flags: argparse.Namespace, data: Path, model: str, family: str, rules: Rules) -> list[str]:
    """The flags as Hydra overrides."""
    results = f"results/{flags.experiment_name}/fctncalling_env/{flags.dataset_name}/{flags.algorithm_name}"
    interaction = "env_tuning.interactions.function_calling.config"
    return [
        f"advantage={flags.algorithm_name.lower()}",
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'val.parquet'}",
        f"data.seed={flags.seed}",
        f"actor_rollout_ref.model.path={model}",
        f"actor_rollout_ref.actor.ppo_epochs={flags.ppo_epoch}",
        f"env_tuning.output_dir={results}/seed_{flags.seed}",
        f"{interaction}.family={family}",
        f"{interaction}.rules.questioning={str(rules.questioning).lower()}",
        f"{interaction}.rules.roles={str(rules.roles).lower()}",
    ]


def family_of(model: str) -> str:
    """The family of a model by its name and its configuration's type; ``plain`` for any other.

    Distilled models carry the name of the teacher, whose calls they learned, and another type.
    """
    names = [Path(model).name.lower()]
    configuration = Path(model).expanduser() / "config.json"
    if configuration.is_file():
        names.append(str(json.loads(configuration.read_text(encoding="utf-8")).get("model_type", "")).lower())
    for name in names:
        for family in ("deepseek", "qwen", "llama"):
            if family in name:
                return family
    return "plain"


def _prepare(flags: argparse.Namespace, data: Path) -> None:
    if (flags.dataset_path is None) is not (flags.tool_inventory_path is None):
        raise UserError("--dataset_path and --tool_inventory_path belong together; give both or none")
    if flags.dataset_path is None and flags.dataset_name != OFFLINE:
        raise UserError(f"the dataset {flags.dataset_name} needs --dataset_path and --tool_inventory_path")
    tools: dict[str, Tool]
    dialogues: list[Dialogue]
    if flags.dataset_path is None:
        tools, dialogues = offline_tools(), offline_dialogues(OFFLINE_DIALOGUES)
    else:
        tools = read_inventory(flags.tool_inventory_path)
        dialogues = read_dataset(flags.dataset_path, tools)
    made = prepare(
        data,
        dialogues,
        tools,
        retriever=retriever(tools, flags.embedding_model),
        source=flags.dataset_name,
        k=flags.candidates,
        missing=Missing(flags.missing),
        validation=min(VALIDATION_DIALOGUES, max(1, len(dialogues) // 10)),
    )
    launch.show(
        f"{made.train} dialogues to train, {made.validation} to validate; recall@{made.candidates} {made.recall:.3f}, "
        f"{made.left_out} left out, {made.injected} injected, {made.incomplete} incomplete ({flags.missing})"
    )


def _mini_batch(configs: Path, count: int, overrides: Sequence[str]) -> str:
    """The size of a mini-batch, as an override."""
    from env_tuning.verl_plugin.compose import compose_config

    batch = compose_config(configs, "function_calling", overrides).data.train_batch_size
    if batch % count:
        raise UserError(
            f"--num_mini_batch {count} does not divide data.train_batch_size={batch}; change one of the two"
        )
    return f"actor_rollout_ref.actor.ppo_mini_batch_size={batch // count}"


def _tiny_model(cache: Path, train_file: Path, family: str, rules: Rules) -> str:
    launch.show("no GPU and no model: using the tiny model of this dataset (made once, about two minutes)")
    command = (
        *(sys.executable, "-m", "env_tuning.function_calling.model"),
        *(str(cache), str(train_file), family, json.dumps(vars(rules))),
    )
    return launch.last_line_of(command, failed="the tiny model could not be made")
