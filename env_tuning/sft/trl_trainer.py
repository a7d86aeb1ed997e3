"""TRL's SFTTrainer on conversations, alone or over DeepSpeed.

Owns: TRL's configuration made from `SftSettings`, adapters and quantised loading, early stopping, resuming, and the
folder with the best weights. Refuses: which tokens carry loss (`rendering.py`), the training loop (TRL's).

Started by torchrun: ``python -m torch.distributed.run ... -m env_tuning.sft.trl_trainer SETTINGS.json``. The package's
extra ``sft`` brings trl, peft and deepspeed.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    EarlyStoppingCallback,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from env_tuning.model.warm_start import labels_of
from env_tuning.sft.mixing import read_split
from env_tuning.sft.model_folder import publish
from env_tuning.sft.output import RunFolder, boards
from env_tuning.sft.rendering import Example, all_examples
from env_tuning.sft.settings import SftSettings


class Teller(TrainerCallback):
    """Steps and validations as events of the run folder."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Called by the trainer with whatever it measured."""
        if not state.is_world_process_zero or not logs:
            return
        for theirs, ours in (("loss", "loss"), ("eval_loss", "validation_loss")):
            if theirs in logs:
                self._run.tell(state.global_step, **{ours: logs[theirs]})


def rows(examples: Sequence[Example]) -> Dataset:
    """Examples as TRL takes prepared data: ids, and labels where a token carries loss."""
    return Dataset.from_dict(
        {
            "input_ids": [list(example.tokens) for example in examples],
            "labels": [labels_of(example.tokens, example.trained) for example in examples],
        }
    )


def trl_config(settings: SftSettings, *, steps_per_epoch: int, processes: int, cpu: bool) -> SFTConfig:
    """TRL's arguments for a run."""
    run = RunFolder(settings.folder)
    every = max(1, math.ceil(steps_per_epoch / settings.checks_per_epoch))
    share = settings.batch_size // processes
    micro = math.gcd(share, settings.micro_batch_size)
    return SFTConfig(
        output_dir=str(run.checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(settings.warmup_ratio * steps_per_epoch * settings.epochs),
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        max_length=settings.max_length,
        # The labels come with the rows, made by `rendering`; TRL's own mask needs a template with generation marks.
        dataset_kwargs={"skip_prepare_dataset": True},
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        report_to=boards(os.environ),
        bf16=settings.precision == "bf16",
        # accelerate takes no DeepSpeed once it is told of a CPU; see `join_deepspeed_on_cpu`.
        use_cpu=cpu and settings.deepspeed is None,
        accelerator_config={"use_configured_state": cpu and settings.deepspeed is not None},
        gradient_checkpointing=not cpu,
        deepspeed=settings.deepspeed,
        seed=settings.seed,
        data_seed=settings.seed,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )


def load_model(settings: SftSettings) -> Any:
    """The model in float32, or quantised to 4 bits."""
    options: dict[str, Any] = {"dtype": torch.float32}
    if settings.load_in_4bit:
        from transformers import BitsAndBytesConfig

        options = {
            "dtype": torch.bfloat16,
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
            ),
            "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))},
        }
    return AutoModelForCausalLM.from_pretrained(settings.model, **options)


def adapters(settings: SftSettings) -> Any:
    """The configuration of LoRA adapters; None when all weights are trained."""
    if not settings.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def join_deepspeed_on_cpu() -> None:
    """Bring up DeepSpeed's process group over gloo before the trainer's arguments do.

    accelerate 1.x (state.py) knows no backend for DeepSpeed without an accelerator, and would take every process for
    the only one.
    """
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    PartialState(backend="gloo")


def main(settings_file: Path) -> None:
    """Train in this process, one of torchrun's."""
    settings = SftSettings.load(settings_file)
    if settings.deepspeed and not torch.cuda.is_available():
        join_deepspeed_on_cpu()
    run = RunFolder(settings.folder)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    folder, longest = Path(settings.data), settings.max_length
    training, validation = (
        all_examples(tokenizer, read_split(folder, name), longest=longest)[0] for name in ("train", "validation")
    )
    trainer = SFTTrainer(
        model=load_model(settings),
        args=trl_config(
            settings,
            steps_per_epoch=math.ceil(len(training) / settings.batch_size),
            processes=processes,
            cpu=not torch.cuda.is_available(),
        ),
        train_dataset=rows(training),
        eval_dataset=rows(validation),
        processing_class=tokenizer,
        peft_config=adapters(settings),
        callbacks=[Teller(run), *([EarlyStoppingCallback(settings.patience)] if settings.patience else [])],
    )
    trainer.remove_callback(PrinterCallback)
    start, before = time.monotonic(), get_last_checkpoint(str(run.checkpoints)) if run.checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=before)
    if trainer.is_world_process_zero():
        model = trainer.accelerator.unwrap_model(trainer.model)
        publish(model.merge_and_unload() if settings.lora_rank else model, tokenizer, run.model)
        first = int(before.rpartition("-")[2]) if before else 0
        run.finish(
            best_step=trainer.state.best_global_step or trainer.state.global_step,
            best_loss=trainer.state.best_metric or math.nan,
            steps=trainer.state.global_step,
            conversations=(trainer.state.global_step - first) * settings.batch_size,
            seconds=time.monotonic() - start,
        )
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
