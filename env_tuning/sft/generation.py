"""A model writing messages, with the template it was trained with.

Owns: prompts as tokens, batches, greedy or sampled decoding. Refuses: reading what was written, running tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from env_tuning.errors import UserError
from env_tuning.model.stop_tokens import named_stop_tokens
from env_tuning.sft.evaluation import Question, Reply
from env_tuning.sft.rendering import render


class Writer:
    """A loaded model that answers `Question`s.

    Attributes:
        tokenizer: the model's own.
        batch_size: questions at once.
        max_new_tokens: the longest reply.
        temperature: 0 takes the likeliest token.
        top_p: at other temperatures, draw among the fewest tokens whose probabilities sum to this.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = 32,
        max_new_tokens: int = 200,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> None:
        self._model = model.eval()
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.top_p = top_p
        self._ends = named_stop_tokens(getattr(model, "generation_config", None), tokenizer.eos_token_id)

    @classmethod
    def load(cls, path: str, **options: Any) -> Writer:
        """Load a Hugging Face folder or hub id, onto a GPU if there is one.

        Raises:
            UserError: there is no such model, or it has no chat template.
        """
        tokenizer = load_tokenizer(path)
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        except (OSError, ValueError) as error:
            raise _unloadable(path, error) from None
        return cls(model.to("cuda") if torch.cuda.is_available() else model, tokenizer, **options)

    def __call__(self, questions: Sequence[Question]) -> list[Reply]:
        """The replies, in order. Questions of similar length share a batch."""
        prompts = [prompt_tokens(self.tokenizer, question) for question in questions]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        replies: dict[int, Reply] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            replies |= zip(batch, self._write([prompts[number] for number in batch]), strict=True)
        return [replies[number] for number in range(len(prompts))]

    @torch.inference_mode()
    def _write(self, prompts: list[list[int]]) -> list[Reply]:
        width = max(map(len, prompts))
        filler = next(iter(self._ends)) if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        # On the left, so that every prompt ends where writing starts.
        tokens = torch.tensor([[filler] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        sampling: dict[str, Any] = {"do_sample": False}
        if self.temperature:
            # top_k: transformers would draw among 50 tokens unless told not to.
            sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
        written = self._model.generate(
            input_ids=tokens.to(self._model.device),
            attention_mask=mask.to(self._model.device),
            max_new_tokens=self.max_new_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=filler,
            **sampling,
        )
        return [self._reply(row[width:].tolist()) for row in written]

    def _reply(self, tokens: list[int]) -> Reply:
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        return Reply(text=self.tokenizer.decode(tokens[:end]), finished=end is not None)


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a Hugging Face folder or hub id.

    Raises:
        UserError: there is none, or it has no chat template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise _unloadable(path, error) from None
    if not tokenizer.chat_template:
        raise UserError(f"the tokenizer of {path} has no chat template; choose an instruct model")
    return tokenizer


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, question: Question) -> list[int]:
    """The tokens that a question is shown as: those that stood before the message in training."""
    text = render(tokenizer, question.messages, question.tools, prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


def _unloadable(path: str, error: Exception) -> UserError:
    where = "" if Path(path).exists() else " (there is no such folder)"
    return UserError(f"{path} is no model that can be loaded{where}: {str(error).splitlines()[0]}")
