"""vLLM writing messages, from the same prompts as `generation.Writer`.

Owns: translating questions and sampling for vLLM, which is imported when a model is loaded. Refuses: templates of its
own: vLLM gets tokens, never messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from env_tuning.errors import UserError
from env_tuning.model.stop_tokens import stop_tokens
from env_tuning.sft.evaluation import Question, Reply
from env_tuning.sft.generation import load_tokenizer, prompt_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class VllmWriter:
    """A model behind vLLM that answers `Question`s."""

    def __init__(self, engine: Any, sampling: Any, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]) -> None:
        self._engine = engine
        self._sampling = sampling
        self._tokenizer = tokenizer
        self._ends = ends

    @classmethod
    def load(cls, path: str, *, max_new_tokens: int = 200, temperature: float = 0.0, top_p: float = 1.0) -> VllmWriter:
        """Load a Hugging Face folder or hub id.

        Raises:
            UserError: vLLM is not installed, or there is no such model.
        """
        try:
            import vllm
        except ImportError:
            raise UserError("--backend vllm needs vLLM and a GPU: pip install -e '.[vllm]'") from None
        tokenizer = load_tokenizer(path)
        ends = stop_tokens(path, tokenizer.eos_token_id)
        sampling = vllm.SamplingParams(
            max_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            stop_token_ids=sorted(ends),
        )
        return cls(vllm.LLM(model=path), sampling, tokenizer, ends)

    def __call__(self, questions: Sequence[Question]) -> list[Reply]:
        """The replies, in order."""
        prompts = [{"prompt_token_ids": prompt_tokens(self._tokenizer, question)} for question in questions]
        written = [output.outputs[0] for output in self._engine.generate(prompts, self._sampling, use_tqdm=False)]
        return [
            Reply(
                # Decoded here: vLLM leaves special tokens out of its text, and the tags of calls may be among them.
                text=self._tokenizer.decode([token for token in one.token_ids if token not in self._ends]),
                finished=one.finish_reason == "stop",
            )
            for one in written
        ]
