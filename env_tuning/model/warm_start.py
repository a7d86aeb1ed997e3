"""Supervised warm start of the embedded model on demonstrations.

Owns: turning messages into tokens with labels, and the settings of one short run of `transformers.Trainer`. Refuses:
a training loop of its own, choosing the demonstrations (`embedded.py`), and perfection: reinforcement learning needs a
model that succeeds often and fails often.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Muon, Optimizer
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Qwen3ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from env_tuning.data.demonstrations import Message

Example = dict[str, list[int]]
"""``input_ids`` and ``labels`` of one demonstration, of equal length."""

NO_LOSS = -100
"""The label of tokens that the model reads and does not write (PyTorch's convention)."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """How long and how hard to train.

    Attributes:
        steps: optimiser updates.
        batch_size: demonstrations per update.
        learning_rate: peak for the embedding and the norms (AdamW); it rises for a few steps and then falls along a
            cosine to zero.
        matrix_learning_rate: peak for the matrices between them (Muon), same schedule.
        longest: demonstrations of more tokens are left out; one of them can cost as much as all the others.
        threads: of PyTorch, shared by the rows of a batch. Set ``OMP_WAIT_POLICY=PASSIVE`` in the environment (the
            launcher does): with threads that spin while they wait, two took seven times as long as one on a busy
            machine.
    """

    steps: int = 900
    batch_size: int = 2
    learning_rate: float = 1e-2
    matrix_learning_rate: float = 2e-2
    longest: int = 2048
    threads: int = 2

    def __post_init__(self) -> None:
        """Reject runs that cannot train."""
        rates = (self.learning_rate, self.matrix_learning_rate)
        if min(self.steps, self.batch_size, self.longest, self.threads) < 1 or min(rates) <= 0:
            raise ValueError(f"{self}: every setting must be positive")


@dataclass(frozen=True, kw_only=True)
class WarmStartFigures:
    """What one warm start did; counts of tokens are of one pass over the demonstrations that were kept."""

    steps: int
    demonstrations: int
    left_out: int
    tokens: int
    supervised_tokens: int
    parameters: int
    loss: float
    """Mean loss per supervised token over the last tenth of the steps, in nats."""
    seconds: float


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Example:
    """Render a demonstration with the tokenizer's template; only what the assistant writes has labels."""
    encoded: Any = tokenizer.apply_chat_template(list(messages), return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    return {"input_ids": ids, "labels": labels_of(ids, mask)}


def labels_of(tokens: Sequence[int], trained: Sequence[int]) -> list[int]:
    """A label for every token: itself where it is trained, else `NO_LOSS`."""
    return [token if own else NO_LOSS for token, own in zip(tokens, trained, strict=True)]


def to_standard_error(line: str) -> None:
    """The default place of progress lines: standard output belongs to the caller, who may print the folder there."""
    print(line, file=sys.stderr, flush=True)


def warm_start(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Sequence[Message]],
    settings: WarmStart,
    *,
    workspace: Path,
    seed: int = 0,
    report: Callable[[str], None] = to_standard_error,
) -> WarmStartFigures:
    """Train the model in place.

    Args:
        model: its weights are changed.
        tokenizer: with the chat template that rollouts will use.
        demonstrations: messages of perfect episodes.
        settings: of the run.
        workspace: the only folder the trainer may write to.
        seed: of the order of demonstrations.
        report: takes a line of progress now and then.

    Raises:
        ValueError: no demonstration is short enough.
    """
    encoded = [encode(tokenizer, messages) for messages in demonstrations]
    examples = [example for example in encoded if len(example["input_ids"]) <= settings.longest]
    if not examples:
        raise ValueError(f"no demonstration has at most {settings.longest} tokens; raise WarmStart.longest")
    started = time.monotonic()
    with _threads(max(1, settings.threads // settings.batch_size)):
        trainer = _RowTrainer(
            model=model,
            args=_arguments(settings, workspace, seed),
            train_dataset=examples,  # type: ignore[arg-type]
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=NO_LOSS),
            callbacks=[_Progress(report)],
            optimizers=(_MuonAndAdamW(model, settings), None),
        )
        trainer.row_threads = min(settings.threads, settings.batch_size)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return WarmStartFigures(
        steps=settings.steps,
        demonstrations=len(examples),
        left_out=len(encoded) - len(examples),
        tokens=sum(len(example["input_ids"]) for example in examples),
        supervised_tokens=sum(label != NO_LOSS for example in examples for label in example["labels"]),
        parameters=model.num_parameters(),
        loss=round(losses[-1], 4),
        seconds=round(time.monotonic() - started, 1),
    )


def loss_and_gradients(
    model: Any, batch: Mapping[str, torch.Tensor], *, threads: int = 1
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The mean loss of all labels of a batch, and its gradients, with every row computed on its own.

    At this size torch's own threads wait for each other more than they work: two rows at once are faster than one after
    the other on two threads. Rows need no padding then. Of their positions four fifths have no label, and with a
    vocabulary this large for a model this small their logits would be most of the work.

    Args:
        model: a causal language model with ``model`` and ``lm_head``, all of whose parameters are trained.
        batch: ``input_ids``, ``attention_mask`` and ``labels``, rows x positions, padded on the right.
        threads: rows at a time. It changes no number.

    Returns:
        a scalar, and a gradient for each of ``model.parameters()``.
    """
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    rows = [
        (ids[None, :length], labels[1:length])
        for ids, labels, length in zip(batch["input_ids"], batch["labels"], lengths, strict=True)
    ]
    count = sum(int((labels != NO_LOSS).sum()) for _, labels in rows)
    parameters = list(model.parameters())

    def share(row: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        ids, labels = row
        chosen = labels != NO_LOSS
        hidden = model.model(input_ids=ids).last_hidden_state[0, :-1]
        loss = cross_entropy(model.lm_head(hidden[chosen]), labels[chosen], reduction="sum") / count
        # Not backward(): threads that add to the same gradients do so in any order.
        return loss.detach(), torch.autograd.grad(loss, parameters)

    with ThreadPoolExecutor(threads) as pool:
        losses, gradients = zip(*pool.map(share, rows), strict=True)
    return _sum(losses), [_sum(shares) for shares in zip(*gradients, strict=True)]


def _sum(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(tensors)).sum(dim=0)


class _RowTrainer(Trainer):
    """Takes loss and gradients from `loss_and_gradients`."""

    row_threads = 1

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        model.train()
        loss, gradients = loss_and_gradients(model, inputs, threads=self.row_threads)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return loss


class _MuonAndAdamW(Optimizer):
    """Muon for the matrices of the layers, AdamW for the embedding and the norms, as one optimiser for the trainer.

    On our demonstrations it reaches the loss of AdamW alone in half the steps, and a step costs the same.
    """

    def __init__(self, model: torch.nn.Module, settings: WarmStart) -> None:
        matrices: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in model.named_parameters():
            (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
        self._parts: tuple[Optimizer, ...] = (
            Muon(matrices, lr=settings.matrix_learning_rate, weight_decay=0.0),
            AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01),
        )
        super().__init__([group for part in self._parts for group in part.param_groups], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step both parts at the learning rates that the schedule set on our groups."""
        groups = iter(self.param_groups)
        for part in self._parts:
            for group in part.param_groups:
                # Not the same object any more: accelerate reloads the state of an optimiser that it wraps.
                group["lr"] = next(groups)["lr"]
            part.step()


class _Progress(TrainerCallback):
    """One line per log entry, in place of the trainer's bars and dictionaries."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            self._report(f"warm start: step {state.global_step}/{state.max_steps}, loss {logs['loss']:.3f}")


def _arguments(settings: WarmStart, workspace: Path, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(workspace),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        lr_scheduler_type="cosine",
        warmup_steps=min(15, settings.steps),
        seed=seed,
        use_cpu=True,
        logging_steps=max(1, settings.steps // 10),
        logging_first_step=False,
        save_strategy="no",
        report_to=[],
        # Grouping by length would save an eighth of the work, but its sampler shows long and short tasks in runs, and
        # the model ends worse for it.
        train_sampling_strategy="random",
        disable_tqdm=True,
    )


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
