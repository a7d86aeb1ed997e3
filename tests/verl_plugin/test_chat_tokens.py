"""The tokens of messages: as verl's builder makes them, each message once, and remembered under its own key only."""

from __future__ import annotations

from typing import Any

import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("verl")
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

from env_tuning.model.tokenizer import train_tokenizer
from env_tuning.verl_plugin.chat_tokens import ChatTokens

TOKENIZERS = {
    "bytes": toys.make_tokenizer(),
    "pieces": train_tokenizer(["look a key up, then say <answer>", "the value of key 12 is 7"] * 20, pieces=320),
}
TEXTS = st.text(max_size=60) | st.sampled_from(["<|im_end|>", "a<|im_start|>b", " <think>\n", "工具: x\n\n结果"])
Message = dict[str, Any]


def builder_of(tokenizer: Any, **settings: Any) -> Any:
    return create_continuous_token_builder(tokenizer, hf_model_type="qwen3", chat_template_kwargs=settings)


def conversation(*texts: str) -> list[Message]:
    roles = ("system", "user", "assistant", "user")
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


class Counting:
    """A tokenizer's backend that notes what it is asked to encode."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def encode_batch_fast(self, texts: list[str], **kwargs: Any) -> Any:
        self.texts += texts
        return self._backend.encode_batch_fast(texts, **kwargs)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts=st.lists(TEXTS, min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_tokens_are_those_of_verl(name: str, texts: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    chat, plain = ChatTokens(builder_of(tokenizer)), builder_of(tokenizer)
    messages = conversation(*texts)
    opening = plain.build_initial_tokens(messages[:2])
    assert chat.opening(messages[:2]) == opening
    generated = [*tokenizer.encode(texts[2], add_special_tokens=False), tokenizer.eos_token_id]
    merged = plain.merge_context_tokens(messages[:3], messages, [*opening, *generated])
    tokens, mask, log_probs = chat.append(
        [*opening, *generated], [1] * len(generated), [-1.0] * len(generated), messages
    )
    assert tokens == merged.token_ids
    added = len(tokens) - len(opening) - len(generated)
    assert mask == [1] * len(generated) + [0] * added
    assert log_probs == [-1.0] * len(generated) + [0.0] * added


def counted(chat_template_kwargs: dict[str, Any] | None = None) -> tuple[ChatTokens, Counting]:
    tokenizer = toys.make_tokenizer()
    counting = Counting(tokenizer.backend_tokenizer)
    tokenizer._tokenizer = counting
    return ChatTokens(builder_of(tokenizer, **(chat_template_kwargs or {}))), counting


def test_every_new_message_is_tokenised_once_and_a_known_one_never() -> None:
    chat, counting = counted()
    opening = conversation("be brief", "go")
    chat.opening(opening)
    chat.opening([dict(message) for message in opening])
    assert len(counting.texts) == 1, "the second member of a group shares the opening"
    messages, before = [*opening, {"role": "assistant", "content": "x"}], 0
    for number in range(5):
        messages = [*messages, {"role": "user", "content": f"result {number}"}]
        chat.append([1, 2], [1], [0.0], messages)
        # The first further message also renders the synthetic conversation that stands before all of them.
        assert len(counting.texts) - before == (3 if number == 0 else 1)
        assert f"result {number}" in counting.texts[-1]
        assert not any("go" in text for text in counting.texts[1:]), "the history was tokenised again"
        before = len(counting.texts)
    chat.append([1, 2], [1], [0.0], messages)
    assert len(counting.texts) == before


def test_a_tokenizer_that_was_left_truncating_loses_nothing() -> None:
    tokenizer = toys.make_tokenizer()
    chat, messages = ChatTokens(builder_of(tokenizer)), conversation("be brief", "a long request " * 20)
    wanted = builder_of(toys.make_tokenizer()).build_initial_tokens(messages)
    tokenizer.backend_tokenizer.enable_truncation(8)
    assert chat.opening(messages) == wanted
    tokenizer.split_special_tokens = True
    other = conversation("be brief", "something else")
    assert chat.opening(other) == builder_of(tokenizer).build_initial_tokens(other)
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") not in chat.opening(other)


def test_arguments_of_the_tokenizer_among_the_templates_go_the_way_of_verl() -> None:
    chat, counting = counted({"truncation": True, "max_length": 5})
    assert len(chat.opening(conversation("be brief", "a long request"))) == 5
    assert not counting.texts


def test_what_differs_is_remembered_apart() -> None:
    tokenizer = toys.make_tokenizer()
    tokenizer.chat_template = (
        "{{ messages[0]['content'] }}|{{ messages[0].get('n') | tojson }}|{{ add_generation_prompt }}"
    )
    render = ChatTokens(builder_of(tokenizer))._builder._render_tokens
    cases = [
        ([{"role": "user", "content": "a", "n": n}], prompt)
        for n in (1, 1.0, True, "1", None, [1], {"1": 1})
        for prompt in (True, False)
    ]
    texts = [tokenizer.decode(render(messages, add_generation_prompt=prompt)) for messages, prompt in cases]
    again = [tokenizer.decode(render(messages, add_generation_prompt=prompt)) for messages, prompt in reversed(cases)]
    assert len(set(texts)) == len(cases)
    assert again[::-1] == texts
