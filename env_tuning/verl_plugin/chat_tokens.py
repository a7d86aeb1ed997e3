"""Messages to tokens, each message once.

Owns: the tokens of an opening and of one further message, and the memory of texts rendered before. Refuses: masks
and log-probabilities (`agent_loop`). The boundary rules of model families (the newline after ``<|im_end|>`` and its
like) stay verl's: a continuous-token builder renders a further message inside a short synthetic conversation, so
tokens the model generated are never re-tokenised, and a chat template that drops earlier ``<think>`` blocks cannot
change what is already there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

Messages = Sequence[Mapping[str, str]]

_OF_TOKENIZERS = frozenset({"padding", "truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs"})
"""What `apply_chat_template` does not give to the template."""

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
        builder._render_tokens = _Remembered(_rendering(builder))
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
        self._memory: OrderedDict[Hashable, list[int]] = OrderedDict()
        self._size = 0

    def __call__(self, messages: list[dict[str, Any]], *, add_generation_prompt: bool, tools: Any = None) -> list[int]:
        key = (add_generation_prompt, _frozen(tools), *map(_frozen, messages))
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


def _frozen(value: Any) -> Hashable:
    """Plain data as part of a key; the type goes with it, since 1, 1.0 and True are one key otherwise."""
    if isinstance(value, Mapping):
        return tuple((name, _frozen(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return (list, *map(_frozen, value))
    return value if isinstance(value, str) else (type(value), value)


def _rendering(builder: Any) -> Callable[..., list[int]]:
    """The builder's own rendering, in half the time where it is verl's plain one over a fast tokenizer.

    verl/utils/tokenizer/tokenizer.py:normalize_token_ids looks at every token in Python, and transformers has the
    tokenizer compute offsets and masks that nobody reads; together they are dearer than the tokens. What is not plain
    goes verl's way: a builder of another kind, a tokenizer that was left truncating, a template that raises.
    """
    from verl.utils.tokenizer.continuous_token import ContinuousTokenBuilder

    render, tokenizer, settings = builder._render_tokens, builder.tokenizer, builder.chat_template_kwargs
    plain = getattr(type(builder), "_render_tokens", None) is ContinuousTokenBuilder._render_tokens
    if not plain or not getattr(tokenizer, "is_fast", False) or _OF_TOKENIZERS & settings.keys():
        return render
    backend = tokenizer.backend_tokenizer

    def quick(messages: list[dict[str, Any]], *, add_generation_prompt: bool, tools: Any = None) -> list[int]:
        asked = {"add_generation_prompt": add_generation_prompt, "tools": tools}
        altered = backend.truncation or backend.padding or tokenizer.split_special_tokens
        if altered or backend.encode_special_tokens:
            return render(messages, **asked)
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, **asked, **settings)
        except Exception:  # verl tries again with a further message, and says what is wrong
            return render(messages, **asked)
        return backend.encode_batch_fast([text], add_special_tokens=False)[0].ids

    return quick


def chat_tokens_for(tokenizer: Any, model_type: str) -> ChatTokens:
    """The tokens that training's agent loop makes of a model's messages, outside of training.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        model_type: the architecture's name in ``config.json``, by which verl chooses the boundary rules.
    """
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    return ChatTokens(create_continuous_token_builder(tokenizer, hf_model_type=model_type))
