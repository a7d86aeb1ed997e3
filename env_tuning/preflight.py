"""Checks of a composed configuration before anything heavy starts.

Owns: turning wrong paths, files, lengths and folders into one `UserError` each, and the run's identity file. Refuses:
starting anything, overwriting anything. verl would meet the same mistakes minutes later, in another process, as a
traceback or as a hang.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from env_tuning.atomic import replace_text
from env_tuning.curriculum.results import recorded_weights
from env_tuning.errors import UserError
from env_tuning.hashing import file_sha256
from env_tuning.interaction.base import make_interaction

RUN_FILE = "run.json"


def check(config: Mapping[str, Any]) -> None:
    """Check a configuration; returns only if training can start.

    Args:
        config: the composed Hydra configuration as plain nested mappings.

    Raises:
        UserError: the first thing found wrong.
    """
    try:
        _check(config)
    # The rooms speak of wrong data and settings as `ValueError`; before the start each of them is the user's to fix.
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


def _check(config: Mapping[str, Any]) -> None:
    model, data = config["actor_rollout_ref"]["model"]["path"], config["data"]
    check_model(model)
    check_agent_loop(config)
    check_critic(config)
    if config["env_tuning"]["reward"] is not None:
        from env_tuning.rewards.registry import resolve_reward

        resolve_reward(config["env_tuning"]["reward"])
    check_placement(config["env_tuning"])
    for name, settings in config["env_tuning"]["interactions"].items():
        make_interaction(name, settings["class_name"], settings.get("config") or {})
    train = [task for file in files(data["train_files"]) for task in check_data(file, config)]
    validation = [task for file in files(data["val_files"]) for task in check_data(file, config)]
    check_batch(sum(row_count(file) for file in files(data["train_files"])), data["train_batch_size"])
    check_lengths(train, validation, config)
    claim_output(Path(config["env_tuning"]["output_dir"]), identity(config))


def check_model(model: str) -> None:
    """A model is a Hugging Face folder, or a hub id."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"the model folder {model} has no config.json; give a Hugging Face model folder")
        return
    looks_like_hub_id = len(folder.parts) <= 2 and not model.startswith(("/", ".", "~"))
    if not looks_like_hub_id or model.count("/") == 0:
        raise UserError(
            f"the model {model} does not exist; set MODEL=/path/to/model or actor_rollout_ref.model.path=..."
        )
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the model {model} is no folder here and cannot be had from the hub ({reason})") from None


def check_agent_loop(config: Mapping[str, Any]) -> None:
    """Refuse verl's own default: it trains single-turn a word."""
    loop = config["actor_rollout_ref"]["rollout"]["agent"]["default_agent_loop"]
    if loop == "single_turn_agent":
        raise UserError(
            "actor_rollout_ref.rollout.agent.default_agent_loop is single_turn_agent: nothing would be played; "
            "leave it at env_tuning"
        )


CRITIC_ESTIMATORS = ("tppo", "poad", "appo")
"""Names of `verl_plugin.action_advantages`, which is not imported before the start."""


def check_critic(config: Mapping[str, Any]) -> None:
    """An estimator that reads values has a critic, and a loss over actions is aggregated over actions."""
    estimator, actor = config["algorithm"]["adv_estimator"], config["actor_rollout_ref"]["actor"]
    if estimator in CRITIC_ESTIMATORS and not config["critic"]["enable"]:
        raise UserError(f"algorithm.adv_estimator={estimator} needs a critic; set critic.enable=true")
    loss, aggregation = actor["policy_loss"]["loss_mode"], actor["loss_agg_mode"]
    if loss.startswith("appo_") and aggregation not in ("seq-mean-token-mean", "seq-mean-token-sum"):
        raise UserError(
            f"actor_rollout_ref.actor.policy_loss.loss_mode={loss} is a mean over messages; set "
            f"actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean (now {aggregation})"
        )


def check_placement(settings: Mapping[str, Any]) -> None:
    """A known placement; one by turns needs a reward that knows turns."""
    from env_tuning.rewards.placement import Placement

    if Placement.read(settings["reward_placement"]) is Placement.TURNS and settings["reward"] is None:
        raise UserError("env_tuning.reward_placement=turns needs env_tuning.reward; set one, or reward_placement=last")


def check_data(file: Path, config: Mapping[str, Any]) -> list[Any]:
    """The tasks of a parquet file; rows of a user's own interaction are only looked at by name."""
    from env_tuning.data.rows import INTERACTION, interaction_names, load_tasks

    known = set(config["env_tuning"]["interactions"])
    names = interaction_names(file)
    if unknown := names - known:
        raise UserError(
            f"{file} has rows for the interactions {sorted(unknown)}; known: {sorted(known)} "
            "(add env_tuning.interactions.NAME to the configuration)"
        )
    return load_tasks(file) if names == {INTERACTION} else []


def row_count(file: Path) -> int:
    """Number of rows of a parquet file, from its footer."""
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(file).num_rows)


def check_batch(rows: int, batch: int) -> None:
    """At least one batch: what does not fill a batch is left out, and verl would train on nothing."""
    if rows < batch:
        raise UserError(
            f"{rows} training rows do not fill a batch of {batch}; set data.train_batch_size={max(rows, 1)}"
        )


def check_lengths(train: Sequence[Any], validation: Sequence[Any], config: Mapping[str, Any]) -> None:
    """Every opening fits into the prompt length; every first turn's solution of a training task into the response."""
    if not train and not validation:
        return
    from transformers import AutoTokenizer

    from env_tuning.data.demonstrations import Pacing, demonstration
    from env_tuning.data.rows import INTERACTION, interaction_names, prompt_versions
    from env_tuning.environments.bfcl.long_context import LongContext
    from env_tuning.episode import Rules
    from env_tuning.protocols import ToolListing, protocol

    data, settings = config["data"], config["env_tuning"]["interactions"][INTERACTION]["config"]
    tokenizer = AutoTokenizer.from_pretrained(config["actor_rollout_ref"]["model"]["path"])

    def tokens(messages: Sequence[Mapping[str, str]], *, generation_prompt: bool) -> int:
        return len(tokenizer.apply_chat_template(messages, add_generation_prompt=generation_prompt)["input_ids"])

    rules = Rules(**(settings.get("rules") or {}))
    sources = [file for key in ("train_files", "val_files") for file in files(data[key])]
    asked = {v for file in sources if interaction_names(file) == {INTERACTION} for v in prompt_versions(file)}
    # The second prompt is the first one and two notes more.
    version = max(asked, key=lambda version: version.value)
    speak, listing = protocol(settings["protocol"]), ToolListing(settings["tool_listing"])
    longest_opening, longest_turn = (0, ""), (0, "")
    for task in validation:
        messages = [
            {
                "role": "system",
                "content": speak.system_prompt(task.visible_tools(0), listing=listing, version=version),
            },
            {"role": "user", "content": speak.request(task, 0, listing=listing)},
        ]
        longest_opening = max(longest_opening, (tokens(messages, generation_prompt=True), task.id))
    padding = (
        LongContext.load(Path(settings["long_context_file"])) if any(task.long_context for task in train) else None
    )
    for task in train:
        played = demonstration(
            task,
            protocol=speak,
            listing=listing,
            version=version,
            pacing=Pacing.TOGETHER,
            long_context=padding,
            rules=rules,
        )
        # Opening, then the calls of the first turn and their results if it has any, then its answer.
        messages = played[: 5 if task.ground_truth[0] else 3]
        opening = tokens(messages[:2], generation_prompt=True)
        longest_opening = max(longest_opening, (opening, task.id))
        longest_turn = max(longest_turn, (tokens(messages, generation_prompt=False) - opening, task.id))
    _fits(*longest_opening, "the opening", "data.max_prompt_length", data["max_prompt_length"])
    _fits(*longest_turn, "the first turn's solution", "data.max_response_length", data["max_response_length"])


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs the same run: a rerun with the same identity continues, another is refused."""
    actor = config["actor_rollout_ref"]
    return {
        "stage": config["env_tuning"]["stage"],
        "model": actor["model"]["path"],
        # The same path holds other weights when the stage before was trained again.
        "model_weights": recorded_weights(Path(actor["model"]["path"])),
        "train_files": {file.name: file_sha256(file) for file in files(config["data"]["train_files"])},
        "reward": config["env_tuning"]["reward"],
        "reward_placement": config["env_tuning"]["reward_placement"],
        "interactions": config["env_tuning"]["interactions"],
        "adv_estimator": config["algorithm"]["adv_estimator"],
        "rollouts_per_prompt": actor["rollout"]["n"],
        "train_batch_size": config["data"]["train_batch_size"],
        "learning_rate": actor["actor"]["optim"]["lr"],
        "seed": config["data"]["seed"],
    }


def claim_output(
    folder: Path, run: Mapping[str, Any], *, elsewhere: str = "env_tuning.output_dir=ANOTHER-FOLDER"
) -> None:
    """Make the output folder this run's, or find that it is already.

    Args:
        folder: where the run writes.
        run: what makes two runs the same one.
        elsewhere: how a user gives another folder.

    Raises:
        UserError: it holds another run, or files that no run wrote; nothing was touched.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} holds files but no {RUN_FILE} of a run; give {elsewhere}")
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(run, indent=2, default=str) + "\n")
        return
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{file} is broken; remove {folder} or give {elsewhere}") from None
    here, wanted = _leaves(there), _leaves(json.loads(json.dumps(run, default=str)))
    if different := [key for key in {**wanted, **here} if here.get(key) != wanted.get(key)]:
        key = different[0]
        before, now = json.dumps(here.get(key)), json.dumps(wanted.get(key))
        raise UserError(
            f"{folder} holds another run ({key} there: {before}, now: {now}); "
            f"remove it or give {elsewhere}"
        )


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        path: leaf
        for key, item in value.items()
        for path, leaf in _leaves(item, f"{prefix}.{key}" if prefix else key).items()
    }


def _fits(tokens: int, task: str, what: str, key: str, limit: int) -> None:
    if tokens > limit:
        raise UserError(
            f"{key}={limit} is too small: {what} of {task} takes {tokens} tokens; set {key}={_round_up(tokens)}"
        )


def _round_up(tokens: int) -> int:
    return -(-tokens // 256) * 256


def files(value: Any) -> list[Path]:
    """The paths of a setting that is one path or a list of them, as ``data.train_files``."""
    return [Path(item) for item in ([value] if isinstance(value, str) else value)]
