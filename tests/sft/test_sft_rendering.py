"""Loss on what the assistant writes, after the prompt that inference gives."""

import pytest

from env_tuning.errors import UserError
from env_tuning.model.tokenizer import train_tokenizer
from env_tuning.sft.conversations import Conversation
from env_tuning.sft.mixing import DOMAINS, DataSettings, generate
from env_tuning.sft.rendering import all_examples, examples_of, render
from env_tuning.sft.tiny import TOOL_TEMPLATE

PLAIN = train_tokenizer(["plain"], pieces=300).chat_template

# Keeps the thinking of the last message only, as Qwen3's template does.
FORGETTING = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' and loop.last -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}"
    "{{- message['content'] + '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


@pytest.fixture(scope="module")
def rows():
    return generate(DataSettings(domains=tuple(DOMAINS), rows=40, test_rows=1)).train


@pytest.fixture(scope="module")
def tokenizer(rows):
    made = train_tokenizer((message["content"] for row in rows for message in row.messages), pieces=600)
    made.chat_template = TOOL_TEMPLATE
    return made


def talk(*texts):
    roles = ["user", "assistant"] * len(texts)
    return Conversation(
        messages=tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=False))
    )


def trained_texts(tokenizer, example):
    """The runs of trained tokens as texts."""
    runs, before = [], 0
    for token, own in zip(example.tokens, example.trained, strict=True):
        if own and not before:
            runs.append([])
        if own:
            runs[-1].append(token)
        before = own
    return [tokenizer.decode(run) for run in runs]


def test_a_row_is_one_example_with_the_templates_own_tokens_and_mask(tokenizer, rows):
    for row in rows:
        (example,) = examples_of(tokenizer, row)
        whole = tokenizer.apply_chat_template(
            list(row.messages), tools=list(row.tools), return_dict=True, return_assistant_tokens_mask=True
        )
        length = len(example.tokens)
        assert list(example.tokens) == whole["input_ids"][:length]
        assert list(example.trained) == whole["assistant_masks"][:length]
        assert not any(whole["assistant_masks"][length:])


def test_every_trained_message_ends_with_the_token_that_ends_it(tokenizer, rows):
    for row in rows:
        (example,) = examples_of(tokenizer, row)
        texts = trained_texts(tokenizer, example)
        assert len(texts) == sum(message["role"] == "assistant" for message in row.messages)
        assert all(text.endswith("<|im_end|>") for text in texts)


def test_what_stands_before_a_trained_message_is_the_prompt_of_inference(tokenizer, rows):
    row = max(rows, key=lambda row: len(row.messages))
    (example,) = examples_of(tokenizer, row)
    starts = [at for at in range(1, len(example.trained)) if example.trained[at] > example.trained[at - 1]]
    numbers = [number for number, message in enumerate(row.messages) if message["role"] == "assistant"]
    for start, number in zip(starts, numbers, strict=True):
        prompt = render(tokenizer, row.messages[:number], row.tools, prompt=True)
        assert tokenizer.decode(example.tokens[:start]) == prompt


def test_a_template_that_forgets_gives_one_example_per_message_each_after_its_own_prompt(tokenizer):
    forgetting = train_tokenizer(["one two three"], pieces=300)
    forgetting.chat_template = FORGETTING
    first, second = examples_of(forgetting, talk("one", "two", "three", "four"))
    assert trained_texts(forgetting, first) == ["<think>\n\n</think>\n\ntwo<|im_end|>"]
    assert trained_texts(forgetting, second) == ["<think>\n\n</think>\n\nfour<|im_end|>"]
    assert "<think>" not in forgetting.decode(second.tokens).split("three")[0]


def test_the_tiny_template_shows_conversations_without_tools_as_the_embedded_models_does(tokenizer):
    embedded = train_tokenizer(["one"], pieces=300)
    row = Conversation(messages=({"role": "system", "content": "Rules."}, *talk("one", "two").messages))
    for prompt in (True, False):
        assert render(tokenizer, row.messages, (), prompt=prompt) == render(embedded, row.messages, (), prompt=prompt)


def test_a_tokenizer_without_a_template_is_refused():
    bare = train_tokenizer(["one"], pieces=300)
    bare.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        examples_of(bare, talk("one", "two"))


def test_long_examples_are_left_out_and_counted(tokenizer, rows):
    lengths = sorted(len(example.tokens) for example in all_examples(tokenizer, rows, longest=10_000)[0])
    kept, left_out = all_examples(tokenizer, rows, longest=lengths[-2])
    assert left_out == sum(length > lengths[-2] for length in lengths) and len(kept) + left_out == len(lengths)
    with pytest.raises(UserError, match="raise max_length"):
        all_examples(tokenizer, rows, longest=1)
