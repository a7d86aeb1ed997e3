"""Messages to tokens, each message once.

Owns: the tokens of an opening and of one further message, and the memory of texts rendered before. Refuses: masks
and log-probabilities (`agent_loop`). The boundary rules of model families (the newline after ``<|im_end|>`` and its
like) stay verl's: a continuous-token builder renders a further message inside a short synthetic conversation, so
tokens the model generated are never re-tokenised, and a chat template that drops earlier ``<think>`` blocks cannot
change what is already there.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, str]]

_MEMORY_TOKENS = 1_000_000
"""Roughly 40 MB of lists: the openings of a batch, and what tools said."""


class ChatTokens:
    """Tokens of chat messages for one tokenizer.

    Rendering costs 0.4 ms a message and more than a millisecond per thousand tokens; the members of a group share
    their opening and often their tool results, and the synthetic prefix is always the same. So rendered
    conversations are remembered.
    """

    def __init__(self, builder: Any) -> None:
        """Use a `verl.utils.tokenizer.continuous_token.ContinuousTokenBuilder`, which from now on remembers."""
        # verl 0.9.1 renders through this one method of the builder (utils/tokenizer/continuous_token.py) and offers
        # no hook around it; the attribute shadows it on this instance only.
        builder._render_tokens = _Remembered(builder._render_tokens)
        self._builder = builder

    def opening(self, messages: Messages) -> list[int]:
        """Tokens before the first generation, generation prompt included."""
        return list(self._builder.build_initial_tokens([dict(message) for message in messages]))

    def append(
        self,
        tokens: list[int],
        mask: list[int],
        log_probs: list[float] | None,
        messages: list[dict[str, str]],
    ) -> tuple[list[int], list[int], list[float] | None]:
        """All tokens, the response mask and the log-probabilities after the last of `messages` was added.

        The mask and the log-probabilities of the new tokens are 0. Some model families drop a stop token at the
        border; then the mask and the log-probabilities lose it, too.
        """
        merged = self._builder.merge_context_tokens(messages[:-1], messages, tokens)
        mask, log_probs = self._builder.align_response_metadata(merged, mask, log_probs)
        return merged.token_ids, mask, log_probs


class _Remembered:
    """A rendering function with a memory bounded by tokens, the least recently used leaving first."""

    def __init__(self, render: Callable[..., list[int]]) -> None:
        self._render = render
        self._memory: OrderedDict[str, list[int]] = OrderedDict()
        self._size = 0

    def __call__(self, messages: list[dict[str, Any]], *, add_generation_prompt: bool, tools: Any = None) -> list[int]:
        key = json.dumps([messages, add_generation_prompt, tools], sort_keys=True)
        known = self._memory.get(key)
        if known is not None:
            self._memory.move_to_end(key)
            return known
        tokens = self._render(messages, add_generation_prompt=add_generation_prompt, tools=tools)
        self._memory[key] = tokens
        self._size += len(tokens)
        while self._size > _MEMORY_TOKENS and len(self._memory) > 1:
            self._size -= len(self._memory.popitem(last=False)[1])
        return tokens


def chat_tokens_for(tokenizer: Any, model_type: str) -> ChatTokens:
    """The tokens that training's agent loop makes of a model's messages, outside of training.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        model_type: the architecture's name in ``config.json``, by which verl chooses the boundary rules.
    """
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    return ChatTokens(create_continuous_token_builder(tokenizer, hf_model_type=model_type))
