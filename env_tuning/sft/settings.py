"""What one run of supervised fine-tuning is asked to do.

Owns: the keys of ``recipes/sft/sft.yaml``, their checks, reading them from the file and ``key=value`` arguments.
Refuses: deciding what a machine can do (`launch.py`).
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from env_tuning.errors import UserError, refuse_unknown


@dataclass(frozen=True, kw_only=True)
class SftSettings:
    """The keys of a run; ``tiny.KEY`` in the file gives the value for the tiny model.

    Attributes:
        trainer: ``verl`` (FSDP) or ``trl`` (SFTTrainer with DeepSpeed; needs the extra ``sft``).
        model: a Hugging Face folder or hub id; None: the tiny model.
        data: the folder with train, validation and test rows; generated if it is missing.
        rows: of each of the two sets, when they are generated.
        output_dir: everything the run writes.
        epochs: passes over the training rows, unless early stopping ends the run before.
        batch_size: conversations per update, over all processes.
        micro_batch_size: conversations per process and forward pass.
        learning_rate: the peak; it falls along a cosine to zero.
        warmup_ratio: share of the steps on which the rate rises.
        weight_decay: of AdamW.
        max_length: longer examples are left out, in tokens.
        checks_per_epoch: validations, each with a checkpoint, in one epoch.
        patience: validations without a lower loss before the run stops; 0: never.
        processes: of this machine, one per GPU; None: all GPUs, or one process without any.
        precision: of the arithmetic; weights of a full fine-tuning and the optimiser are float32.
        lora_rank: 0 trains all weights; the resulting model has adapters merged in.
        lora_alpha: scale of the adapters.
        load_in_4bit: quantised base weights under adapters; needs a GPU, bitsandbytes and ``trainer=trl``.
        deepspeed: DeepSpeed's configuration for ``trainer=trl``; None: plain data parallelism.
        size: of the tiny model, a name from `model.tiny.SIZES`.
        threads: of PyTorch in each process on a CPU.
        seed: of data order and weights.
    """

    trainer: Literal["verl", "trl"] = "verl"
    model: str | None = None
    data: str = "processed_data/sft"
    rows: int = 200
    output_dir: str = "outputs/sft"
    epochs: int = 3
    batch_size: int = 16
    micro_batch_size: int = 4
    learning_rate: float = 2e-5
    warmup_ratio: float = 0.05
    weight_decay: float = 0.01
    max_length: int = 2048
    checks_per_epoch: int = 2
    patience: int = 3
    processes: int | None = None
    precision: Literal["bf16", "fp32"] = "bf16"
    lora_rank: int = 0
    lora_alpha: int = 32
    load_in_4bit: bool = False
    deepspeed: str | None = None
    size: str = "small"
    threads: int = 2
    seed: int = 1

    def __post_init__(self) -> None:
        """Reject values of a wrong kind, and runs that cannot train."""
        hints = typing.get_type_hints(type(self))
        for name in (part.name for part in fields(self)):
            _check(name, getattr(self, name), hints[name])
        positive = ("epochs", "batch_size", "micro_batch_size", "learning_rate", "lora_alpha", "max_length", "threads")
        for name in (*positive, "checks_per_epoch", "rows"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name}={getattr(self, name)}: it must be positive")
        if self.patience < 0 or self.lora_rank < 0 or not 0 <= self.warmup_ratio < 1:
            raise UserError("patience and lora_rank must be at least 0, warmup_ratio between 0 and 1")
        if self.load_in_4bit and (self.trainer != "trl" or not self.lora_rank):
            raise UserError("load_in_4bit needs trainer=trl and lora_rank=16 or so: quantised weights are not trained")

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.output_dir)

    def dump(self, file: Path) -> None:
        """Write the settings for the training processes."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> SftSettings:
        """Read what `dump` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


@dataclass(frozen=True, kw_only=True)
class Choices:
    """A configuration file with a user's values on top, before it is known which model is trained.

    Attributes:
        plain: the file's values.
        tiny: the file's values for the tiny model.
        chosen: the user's values; they always win.
    """

    plain: Mapping[str, Any]
    tiny: Mapping[str, Any]
    chosen: Mapping[str, Any]

    def settle(self, *, tiny: bool) -> SftSettings:
        """The settings.

        Raises:
            UserError: an unknown key or a wrong value.
        """
        known = [part.name for part in fields(SftSettings)]
        for values in (self.plain, self.tiny, self.chosen):
            refuse_unknown("sft", values, known)
        return replace(SftSettings(), **{**self.plain, **(self.tiny if tiny else {}), **self.chosen})


def read_choices(file: Path, arguments: Sequence[str]) -> Choices:
    """Read a YAML file and ``key=value`` arguments.

    Raises:
        UserError: no such file, no YAML, an argument that is no ``key=value``.
    """
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not isinstance(values.get("tiny", {}), dict):
        raise UserError(f"{file}: expected keys and values")
    chosen = {}
    for argument in arguments:
        key, sign, text = argument.partition("=")
        if not sign:
            raise UserError(f"{argument!r} is no key=value; for example epochs=5")
        chosen[key] = yaml.safe_load(text)
    return Choices(
        plain={key: _number(value) for key, value in values.items() if key != "tiny"},
        tiny={key: _number(value) for key, value in values.get("tiny", {}).items()},
        chosen={key: _number(value) for key, value in chosen.items()},
    )


def _number(value: Any) -> Any:
    """YAML takes 1e-3 for text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value


def _check(name: str, value: Any, hint: Any) -> None:
    options = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value not in options:
            raise UserError(f"{name}={value!r}: it must be one of {', '.join(map(repr, options))}")
        return
    kinds = tuple(options) if options else (hint,)
    if float in kinds:
        kinds = (*kinds, int)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
        raise UserError(f"{name}={value!r}: expected {expected}")
