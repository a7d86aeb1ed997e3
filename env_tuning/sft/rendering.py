"""Conversations as tokens with a mask: what both trainers learn from.

Owns: which tokens carry loss (those the assistant writes itself, its end token included) and which prompt stands before
them (the one that the same chat template gives at inference). Refuses: padding, batches, knowing a trainer.

A conversation becomes one example when the template renders a prefix of it as a prefix of the whole. Some templates do
not: Qwen3's takes the thinking out of earlier messages. Then a new example starts where the renderings part, so every
trained message is read after exactly the prompt that it will be written after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from env_tuning.errors import UserError
from env_tuning.sft.conversations import Conversation, Message, Tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Example:
    """Tokens of one example.

    Attributes:
        tokens: ids.
        trained: 1 where a token carries loss, else 0; as long as `tokens`.
    """

    tokens: tuple[int, ...]
    trained: tuple[int, ...]


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Tool], *, prompt: bool
) -> str:
    """The text of messages in the model's own chat template.

    Args:
        tokenizer: with a chat template.
        messages: from the first on.
        tools: what the model may call.
        prompt: whether the assistant is about to write.
    """
    text: Any = tokenizer.apply_chat_template(
        list(messages), tools=list(tools) or None, add_generation_prompt=prompt, tokenize=False
    )
    return str(text)


def examples_of(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> list[Example]:
    """The examples of a conversation, each assistant message trained in exactly one of them.

    Raises:
        UserError: the tokenizer has no chat template, or one that shows an assistant's message after another prompt
            than the one it is written after.
    """
    if not tokenizer.chat_template:
        raise UserError(f"the tokenizer of {tokenizer.name_or_path} has no chat template; choose an instruct model")
    return [_encode(tokenizer, parts) for parts in _parts(tokenizer, conversation)]


def all_examples(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], *, longest: int
) -> tuple[list[Example], int]:
    """The examples of conversations, and how many were left out for having more than `longest` tokens.

    Raises:
        UserError: nothing is short enough.
    """
    found = [example for conversation in conversations for example in examples_of(tokenizer, conversation)]
    kept = [example for example in found if len(example.tokens) <= longest]
    if not kept:
        raise UserError(f"all {len(found)} examples have more than {longest} tokens; raise max_length")
    return kept, len(found) - len(kept)


def _parts(tokenizer: PreTrainedTokenizerBase, conversation: Conversation) -> Iterator[list[tuple[str, bool]]]:
    """Examples as pieces of text, each with whether it is trained."""
    messages, tools = conversation.messages, conversation.tools
    parts: list[tuple[str, bool]] = []
    written = ""
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:number], tools, prompt=True)
        whole = render(tokenizer, messages[: number + 1], tools, prompt=False)
        if not whole.startswith(before):
            raise UserError(
                f"the chat template of {tokenizer.name_or_path} shows message {number} after another prompt than the "
                "one it is written after; train with another template"
            )
        if parts and not before.startswith(written):
            yield parts
            parts, written = [], ""
        end = _end(tokenizer, whole, len(before))
        parts += [(before[len(written) :], False), (whole[len(before) : end], True)]
        written = whole[:end]
    yield parts


def _end(tokenizer: PreTrainedTokenizerBase, text: str, start: int) -> int:
    """Where the assistant stops writing: behind the last special token, or at the end if there is none."""
    ends = [
        place + len(token) for token in map(str, tokenizer.all_special_tokens) if (place := text.rfind(token)) >= start
    ]
    return max(ends, default=len(text))


def _encode(tokenizer: PreTrainedTokenizerBase, parts: Sequence[tuple[str, bool]]) -> Example:
    """Encode part by part: at inference, too, the prompt is encoded first and the answer comes as tokens of its own."""
    tokens: list[int] = []
    trained: list[int] = []
    for text, own in parts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        tokens += ids
        trained += [int(own)] * len(ids)
    return Example(tokens=tuple(tokens), trained=tuple(trained))
