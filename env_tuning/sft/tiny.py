"""The model that is trained when there is no GPU and none is given: a tiny Qwen3 that has learned nothing yet.

Owns: a chat template with tools for the embedded model's tokenizer, and the folder of the untrained model. Refuses:
shapes and the tokenizer's training (`model/`), training.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from env_tuning.sft.conversations import Conversation, calls_of

# Like the embedded model's template, every message is rendered alone, so that a rendered prefix is a prefix of the
# rendering, and conversations without tools are rendered as it renders them. Tools are one signature a line: attention
# over whole schemas would be most of the work of a CPU.
TOOL_TEMPLATE = (
    "{%- macro signature(function) -%}"
    "{{- function.name + '(' -}}"
    "{%- for name, schema in (function.parameters.properties or {}).items() -%}"
    "{{- name + ': ' + (schema.enum | join('|') if schema.enum else schema.type) -}}"
    "{{- ', ' if not loop.last -}}"
    "{%- endfor -%}"
    "{{- ')\n' -}}"
    "{%- endmacro -%}"
    "{%- if tools -%}"
    "{{- '<|im_start|>system\n' -}}"
    "{%- if messages[0]['role'] == 'system' -%}{{- messages[0]['content'] + '\n' -}}{%- endif -%}"
    "{%- for tool in tools -%}{{- signature(tool.function) -}}{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if not (tools and loop.first and message['role'] == 'system') -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}"
    "{{- message['content'] -}}"
    "{%- for call in message.tool_calls or [] -%}"
    "{{- '\n' if message['content'] or not loop.first -}}"
    "{{- '<tool_call>\n' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) -}}"
    "{{- '\n</tool_call>' -}}"
    "{%- endfor -%}"
    "{{- '<|im_end|>' -}}"
    "{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + '<|im_end|>' -}}{%- endif -%}"
    "{{- '\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def untrained_model(
    cache: Path, conversations: Sequence[Conversation], *, size: str = "small", pieces: int = 4096, seed: int = 0
) -> Path:
    """The folder of a tiny model with random weights and a tokenizer that knows the words of some conversations.

    Args:
        cache: folder for models; created if missing.
        conversations: what the tokenizer learns from, the training rows alone.
        size: a name from `model.tiny.SIZES`.
        pieces: upper limit of the vocabulary.
        seed: of the weights.
    """
    import torch
    import transformers
    from transformers import Qwen3ForCausalLM

    from env_tuning.model.tiny import SIZES, tiny_config
    from env_tuning.model.tokenizer import train_tokenizer

    texts = list(_texts(conversations))
    recipe = json.dumps([texts, TOOL_TEMPLATE, size, pieces, seed, torch.__version__, transformers.__version__])
    folder = cache / f"untrained-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    tokenizer = train_tokenizer(texts, pieces=pieces)
    tokenizer.chat_template = TOOL_TEMPLATE
    with torch.random.fork_rng(devices=[]):
        transformers.set_seed(seed)
        model = Qwen3ForCausalLM(tiny_config(SIZES[size], tokenizer))
    cache.mkdir(parents=True, exist_ok=True)
    # Written elsewhere and renamed: a killed run leaves nothing under the final name.
    with tempfile.TemporaryDirectory(dir=cache, prefix=".building-", ignore_cleanup_errors=True) as scratch:
        built = Path(scratch) / "model"
        model.save_pretrained(built)
        tokenizer.save_pretrained(built)
        if not folder.is_dir():
            built.rename(folder)
    return folder


def _texts(conversations: Sequence[Conversation]) -> Iterator[str]:
    """What the template will show, close enough for a vocabulary."""
    for conversation in conversations:
        for tool in conversation.tools:
            yield json.dumps(tool, ensure_ascii=False)
        for message in conversation.messages:
            yield f"{message['role']}\n"
            yield message["content"]
            for call in calls_of(message):
                record = {"name": call.name, "arguments": dict(call.arguments)}
                yield f"<tool_call>\n{json.dumps(record, ensure_ascii=False)}\n</tool_call>"
