"""The tokenizer of the embedded model: byte-level BPE trained on the machine, with a ChatML template.

Owns: its pieces, special tokens and chat template. Refuses: choosing the texts (`embedded.py`), and everything that
Qwen's template does beyond ChatML: it drops the thinking of earlier turns, which would make the tokens that a model is
trained on differ from those it generated.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"

SPECIAL_TOKENS = (END_OF_TEXT, MESSAGE_START, MESSAGE_END)
"""Never part of a text: removed by ``decode(skip_special_tokens=True)``."""

TAG_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>")
"""One piece each, but part of the text: the protocol's parser has to see them."""

# Identifiers stay whole (tool and parameter names become one piece or few), and so do runs of punctuation with
# single spaces inside, such as the `": "` of JSON: half the tokens of Qwen's pattern on our texts.
_PIECES = r" ?[\p{L}_]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}_]+(?: [^\s\p{L}\p{N}_]+)*|[\r\n]+|\s+(?!\S)|\s"

# Every message is rendered alone, so a rendered prefix of a conversation is a prefix of the rendering. The marked part
# of an assistant message is what the model writes itself: its text and the token that ends it.
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def train_tokenizer(texts: Iterable[str], *, pieces: int = 4096) -> PreTrainedTokenizerFast:
    """Train on texts.

    Args:
        texts: what the pieces are learned from; the result depends on them and `pieces` alone.
        pieces: upper limit of the vocabulary, special tokens and tags included. Few texts give fewer pieces.

    Returns:
        a tokenizer whose ``len`` is the number of its ids, from 0 without gaps.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces - len(TAG_TOKENS),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAG_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=MESSAGE_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[MESSAGE_START],
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
