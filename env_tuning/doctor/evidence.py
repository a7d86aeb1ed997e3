"""`Evidence`: what rules look at, read once.

Owns: reading the files that a configuration names, and its tokenizer and model description when a rule asks for them.
Refuses: judging any of it, except files that cannot be read at all.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from env_tuning.doctor.machine import Machine
from env_tuning.doctor.memory import ModelShape
from env_tuning.protocols import PromptVersion, Protocol, ToolListing, protocol
from env_tuning.task import Task

LOOP = "env_tuning"
"""The agent loop of `verl_plugin.agent_loop`, which is not imported before the start."""

Message = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """A parquet file of the configuration.

    Attributes:
        path: of the file.
        rows: how many.
        columns: their names.
        agents: values of ``agent_name``, None among them for rows without; empty if there is no such column.
        interactions: names of the interactions that rows ask for; empty if no row is played by our loop.
        versions: system prompts that task rows ask for.
        tasks: the tasks, if all rows are tasks of the built-in interaction.
    """

    path: Path
    rows: int = 0
    columns: frozenset[str] = frozenset()
    agents: frozenset[str | None] = frozenset()
    interactions: frozenset[str] = frozenset()
    versions: frozenset[PromptVersion] = frozenset()
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What is known of a run before it starts.

    Attributes:
        config: the composed configuration as plain nested mappings.
        train: its training files.
        validation: its validation files.
        machine: this machine; None if nobody looked.
        environ: environment variables.
    """

    config: Mapping[str, Any]
    train: tuple[RowFile, ...] = ()
    validation: tuple[RowFile, ...] = ()
    machine: Machine | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key, `default` where there is none."""
        value: Any = self.config
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return default if value is None else value

    @property
    def files(self) -> tuple[RowFile, ...]:
        """Training files, then validation files."""
        return (*self.train, *self.validation)

    def agents_of(self, file: RowFile) -> frozenset[str | None]:
        """The agent loops that play the rows of a file: verl takes ``agent_name``, else its default for all."""
        return file.agents or frozenset({self.get("actor_rollout_ref.rollout.agent.default_agent_loop")})

    @property
    def agents(self) -> frozenset[str | None]:
        """The agent loops of the whole run; the default one where no file could be read."""
        of_files = (self.agents_of(file) for file in self.files)
        return frozenset().union(*of_files) if self.files else self.agents_of(RowFile(path=Path()))

    @property
    def gpus(self) -> int:
        """Workers of the run: verl starts one per GPU."""
        return int(self.get("trainer.n_gpus_per_node", 1)) * int(self.get("trainer.nnodes", 1))

    @property
    def has_critic(self) -> bool:
        """Whether a critic is trained: verl adds one for gae, unless told otherwise."""
        enabled = self.get("critic.enable")
        return bool(self.get("algorithm.adv_estimator") == "gae" if enabled is None else enabled)

    @property
    def on_cpu(self) -> bool:
        """Whether it trains without a GPU."""
        return bool(self.get("trainer.device") == "cpu")

    @property
    def tool_settings(self) -> Mapping[str, Any]:
        """The configuration of the built-in interaction."""
        from env_tuning.data.rows import INTERACTION

        return self.get(f"env_tuning.interactions.{INTERACTION}.config", {})  # type: ignore[no-any-return]

    @property
    def protocol(self) -> Protocol:
        """How the model speaks in tasks of the built-in interaction."""
        return protocol(self.tool_settings.get("protocol", "think_answer"))

    @property
    def listing(self) -> ToolListing:
        """How the tools are shown there."""
        return ToolListing(self.tool_settings.get("tool_listing", ToolListing.JSON.value))

    @property
    def version(self) -> PromptVersion:
        """The longest system prompt that rows ask for: the second one is the first and two notes more."""
        asked = {version for file in self.files for version in file.versions}
        return max(asked, key=lambda version: version.value, default=PromptVersion.V1)

    @functools.cached_property
    def model_folder(self) -> Path | None:
        """The model as a folder of this machine; None for a hub id, or what does not exist."""
        folder = Path(str(self.get("actor_rollout_ref.model.path", ""))).expanduser()
        return folder if (folder / "config.json").is_file() else None

    @functools.cached_property
    def shape(self) -> ModelShape | None:
        """Sizes of the model; None where its description cannot be had, or is of an unknown kind."""
        if self.model_folder is not None:
            return ModelShape.read(json.loads((self.model_folder / "config.json").read_text(encoding="utf-8")))
        path = str(self.get("actor_rollout_ref.model.path", ""))
        if not is_hub_id(path):
            return None
        from transformers import AutoConfig

        try:
            return ModelShape.read(AutoConfig.from_pretrained(path).to_dict())
        except (OSError, ValueError):  # `model_rules.model` says so
            return None

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer.

        Raises:
            ValueError: there is none.
        """
        from transformers import AutoTokenizer

        path = self.get("actor_rollout_ref.model.tokenizer_path") or self.get("actor_rollout_ref.model.path")
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} has no tokenizer ({str(error).splitlines()[0]})") from None
        if template := self.get("actor_rollout_ref.model.custom_chat_template"):
            tokenizer.chat_template = template
        return tokenizer

    def render(self, messages: Sequence[Message], *, generation_prompt: bool) -> str:
        """Messages in the model's chat template, as the agent loop renders them."""
        return str(
            self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                add_generation_prompt=generation_prompt,
                tokenize=False,
                **self.get("data.apply_chat_template_kwargs", {}),
            )
        )

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of rendered texts."""
        if not texts:
            return []
        return [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def opening(self, task: Task) -> list[Message]:
        """The messages before the first generation."""
        system = self.protocol.system_prompt(task.visible_tools(0), listing=self.listing, version=self.version)
        return [
            {"role": "system", "content": system},
            {"role": "user", "content": self.protocol.request(task, 0, listing=self.listing)},
        ]


def is_hub_id(path: str) -> bool:
    """Whether a model's path is none of this machine, but a name such as ``Qwen/Qwen3-0.6B``."""
    folder = Path(path).expanduser()
    return not folder.is_dir() and len(folder.parts) == 2 and not path.startswith(("/", ".", "~"))


def read_file(path: Path, default_agent: str | None) -> RowFile:
    """Read what rules ask of a parquet file.

    Args:
        path: of the file.
        default_agent: the agent loop of rows that name none.

    Raises:
        ValueError: it is missing, not whole, or holds no rows that our loop could play.
    """
    from env_tuning.data import rows

    columns = rows.column_names(path)
    agents = rows.agent_names(path)
    if LOOP not in (agents or {default_agent}):
        return RowFile(path=path, rows=rows.row_count(path), columns=columns, agents=agents)
    names = rows.interaction_names(path)
    ours = names == {rows.INTERACTION}
    return RowFile(
        path=path,
        rows=rows.row_count(path),
        columns=columns,
        agents=agents,
        interactions=frozenset(names),
        versions=frozenset(rows.prompt_versions(path)) if ours else frozenset(),
        tasks=tuple(rows.load_tasks(path)) if ours else (),
    )
