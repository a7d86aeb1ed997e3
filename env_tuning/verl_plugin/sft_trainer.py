"""verl's SFT trainer (FSDP) on conversations, on GPUs and on a CPU.

Owns: verl's configuration made from `SftSettings`, a dataset of rendered examples, early stopping, and the folder with
the best weights. Refuses: which tokens carry loss (`sft.rendering`), the training loop (verl's).

Started by torchrun: ``python -m torch.distributed.run ... -m env_tuning.verl_plugin.sft_trainer SETTINGS.json``.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# First: verl looks its platform up while it is imported.
from env_tuning.verl_plugin import registration  # noqa: F401  # isort: skip

import torch
from omegaconf import DictConfig
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from verl.trainer.sft_trainer import SFTTrainer
from verl.utils import tensordict_utils as tu
from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group

from env_tuning.sft.mixing import read_split
from env_tuning.sft.model_folder import publish
from env_tuning.sft.output import Patience, RunFolder, boards
from env_tuning.sft.rendering import Example, all_examples
from env_tuning.sft.settings import SftSettings
from env_tuning.verl_plugin import cpu_engine  # noqa: F401  (registers the engines of a CPU)
from env_tuning.verl_plugin.compose import compose_config, verl_config_dir
from env_tuning.verl_plugin.progress import read_events


class Examples(Dataset):
    """Rendered examples in the layout of verl's SFT dataset with ``pad_mode=no_padding``."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Tokens, positions and the loss mask, one-dimensional."""
        example = self._examples[number]
        return {
            "input_ids": torch.tensor(example.tokens),
            "position_ids": torch.arange(len(example.tokens)),
            "loss_mask": torch.tensor(example.trained),
        }


class ConversationTrainer(SFTTrainer):
    """verl's trainer with our rows, early stopping and the best weights kept."""

    def __init__(self, config: DictConfig, settings: SftSettings) -> None:
        self.settings = settings
        self.run = RunFolder(settings.folder)
        self._validation_losses: list[float] = []
        super().__init__(config)
        self.patience = Patience.replayed(
            settings.patience, read_events(self.run.metrics), until=self.resume_global_step
        )

    def _build_dataset(self) -> None:
        tokenizer: PreTrainedTokenizerBase = self.model_config.tokenizer
        folder, longest = Path(self.settings.data), self.settings.max_length
        self.train_dataset, self.val_dataset = (
            Examples(all_examples(tokenizer, read_split(folder, name), longest=longest)[0])
            for name in ("train", "validation")
        )

    def _init_engine(self) -> None:
        # As often as our setting says; verl's own key takes steps, which are known only here.
        every = max(1, math.ceil(len(self.train_dataloader) / self.settings.checks_per_epoch))
        self.config.trainer.save_freq = self.config.trainer.test_freq = every
        super()._init_engine()

    def _build_ckpt_handler(self) -> None:
        super()._build_ckpt_handler()
        # verl's loop (trainer/sft_trainer.py:fit) offers no hook, so its parts are watched: the client that computes
        # losses, and the handler that is called after every validation.
        train, infer = self.training_client.train_batch, self.training_client.infer_batch
        save = self.ckpt_handler.save_checkpoint
        self._steps_seen = 0

        def train_batch(data: Any) -> Any:
            output = train(data=data)
            self._steps_seen += 1
            metrics = tu.get(output, "metrics") if self.engine.is_mp_src_rank_with_outputs() else {}
            if self.rank == 0:
                self.run.tell(self.resume_global_step + self._steps_seen, loss=_number(metrics["loss"]))
            return output

        def infer_batch(data: Any) -> Any:
            output = infer(data)
            if self.engine.is_mp_src_rank_with_outputs():
                self._validation_losses.append(_number(tu.get(output, "metrics")["loss"]))
            return output

        def save_checkpoint(step: int) -> None:
            self._judge(step)
            save(step=step)

        self.training_client.train_batch, self.training_client.infer_batch = train_batch, infer_batch
        self.ckpt_handler.save_checkpoint = save_checkpoint

    def _judge(self, step: int) -> None:
        """Take the validation before a checkpoint: publish the best weights, end the run when patience is exhausted."""
        losses, self._validation_losses = self._validation_losses, []
        if not losses:
            return
        total = torch.tensor([sum(losses), float(len(losses))], device=self.device_name)
        torch.distributed.all_reduce(total)
        loss = (total[0] / total[1]).item()
        best = self.patience.see(step, loss)
        if self.rank == 0:
            self.run.tell(step, validation_loss=loss)
        if best:
            self._publish()
        if self.patience.exhausted:
            # The loop asks at its next step whether it was the last.
            self.total_training_steps = min(self.total_training_steps, step + 1)

    def _publish(self) -> None:
        """Replace ``model/`` by the present weights, adapters merged in."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights = get_model_state_dict(self.engine.module, options=options)
        if self.rank == 0:
            base: Any = AutoModelForCausalLM.from_pretrained(self.settings.model, dtype=torch.float32)
            if self.settings.lora_rank:
                from peft import get_peft_model

                base = get_peft_model(base, self.engine.module.peft_config["default"])
                base.load_state_dict(weights)
                base = base.merge_and_unload()
            else:
                base.load_state_dict(weights)
            publish(base, self.model_config.tokenizer, self.run.model)
        torch.distributed.barrier()


def verl_overrides(settings: SftSettings, *, device: str, processes: int) -> list[str]:
    """The keys of verl's ``sft_trainer_engine`` for a run, as overrides."""
    run = RunFolder(settings.folder)
    keys: dict[str, Any] = {
        "data.train_files": settings.data,
        "data.val_files": settings.data,
        "data.train_batch_size": settings.batch_size,
        "data.micro_batch_size_per_gpu": settings.micro_batch_size,
        "data.max_token_len_per_gpu": settings.micro_batch_size * settings.max_length,
        "data.max_length": settings.max_length,
        "data.num_workers": 0,
        "model.path": settings.model,
        "model.lora_rank": settings.lora_rank,
        "model.lora_alpha": settings.lora_alpha,
        "optim.lr": settings.learning_rate,
        "optim.lr_warmup_steps_ratio": settings.warmup_ratio,
        "optim.lr_scheduler_type": "cosine",
        "optim.weight_decay": settings.weight_decay,
        "engine.strategy": "fsdp2",
        "engine.seed": settings.seed,
        "trainer.seed": settings.seed,
        "trainer.total_epochs": settings.epochs,
        "trainer.default_local_dir": run.checkpoints,
        "trainer.max_ckpt_to_keep": 2,
        "trainer.project_name": "env_tuning",
        "trainer.experiment_name": "sft",
        "trainer.logger": f"[{','.join(boards(os.environ))}]",
        "trainer.device": device,
        "trainer.n_gpus_per_node": processes,
        "checkpoint.save_contents": "[model,optimizer,extra]",
    }
    if device == "cpu":
        keys |= {
            "model.use_remove_padding": False,
            "model.enable_gradient_checkpointing": False,
            "+model.override_config.attn_implementation": "sdpa",
            "engine.use_torch_compile": False,
        }
    if settings.precision == "fp32":
        keys["+engine.mixed_precision"] = "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}"
    return [f"{name}={value}" for name, value in keys.items()]


def _number(value: Any) -> float:
    return float(value[0] if isinstance(value, list) else value)


def main(settings_file: Path) -> None:
    """Train in this process, one of torchrun's."""
    settings = SftSettings.load(settings_file)
    device = os.environ.get("VERL_PLATFORM", "cuda")
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    overrides = verl_overrides(settings, device=device, processes=processes)
    config = compose_config(verl_config_dir(), "sft_trainer_engine", overrides)
    if device == "cpu":
        from env_tuning.verl_plugin.workers import join_process_group

        join_process_group()
    else:
        initialize_global_process_group()
    trainer = ConversationTrainer(config, settings)
    start = time.monotonic()
    trainer.fit()
    if trainer.rank == 0:
        steps = trainer._steps_seen
        trainer.run.finish(
            best_step=trainer.patience.best_step,
            best_loss=trainer.patience.best_loss,
            steps=trainer.resume_global_step + steps,
            conversations=steps * settings.batch_size,
            seconds=time.monotonic() - start,
        )
    destroy_global_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
