"""Dialogues as tokens: the mask is the model's own words in every turn, and a group's advantages are its statistics."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("verl")
import torch
from test_agent_loop import make_loop
from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

from env_tuning.calls import ToolCall
from env_tuning.model.tokenizer import train_tokenizer
from env_tuning.model.warm_start import NO_LOSS, encode
from env_tuning.protocols import Hermes
from env_tuning.tool_grpo.offline import assistant_conversations
from env_tuning.trajectory import Trajectory

TOKENIZER = train_tokenizer(
    [message["content"] for row in assistant_conversations() for message in row["conversation"]], pieces=700
)
SPEAK = Hermes()
CALL = SPEAK.write_calls([ToolCall(name="calculator", arguments={"expression": "25 * 37"})])
TWO = SPEAK.write_calls([ToolCall(name="search", arguments={"query": "长城"}), ToolCall(name="calc", arguments={})])
TEXTS = st.sampled_from(
    [CALL, TWO, CALL * 5, "<tool_call>{broken</tool_call>", "<tool_call>", "等于 925。", "🙂 I know.", "x" * 40]
)
TURNS = ["25 * 37 等于多少？", "谢谢！", "And 2 + 2?"]


class Speaker:
    """A server that says given texts, cut where the loop says."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = list(texts)

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        tokens = [*TOKENIZER.encode(self.texts.pop(0), add_special_tokens=False), TOKENIZER.eos_token_id]
        tokens = tokens[: sampling_params["max_tokens"]]
        return SimpleNamespace(
            token_ids=tokens, log_probs=[-1.0] * len(tokens), stop_reason="completed", extra_fields={}
        )

    def release(self, request_id: str) -> None:
        """Nothing is kept."""


def play(texts: list[str], turns: int, response: int = 4000) -> Any:
    record = {
        "id": "d",
        "turns": TURNS[:turns],
        "expected": [{"answer": "925", "kind": "number"}] + [None] * (turns - 1),
    }
    loop = make_loop(
        Speaker(texts), prompt=2000, response=response, reward="assistant", tokenizer=TOKENIZER,
        class_name="env_tuning.interaction.dialogue:DialogueInteraction",
    )  # fmt: skip
    row = {"raw_prompt": [], "interaction_kwargs": {"name": "toy", "dialogue": json.dumps(record)}}
    return asyncio.run(loop.run({"temperature": 1.0}, **row))


def conversation(trajectory: Trajectory) -> list[dict[str, str]]:
    """The messages of an episode, from its record alone."""
    messages = [
        {"role": "system", "content": trajectory.system_prompt},
        {"role": "user", "content": trajectory.first_request},
    ]
    for step in trajectory.steps:
        messages += [{"role": "assistant", "content": step.text}, {"role": "user", "content": step.observation}]
    return messages[:-1]


@settings(max_examples=20, deadline=None)
@given(st.lists(TEXTS, min_size=15, max_size=15), st.integers(1, 3))
def test_the_mask_is_what_the_assistant_wrote_in_the_rendered_conversation(texts: list[str], turns: int) -> None:
    output = play(texts, turns)
    trajectory = Trajectory.from_json(output.extra_fields["trajectory_json"])
    rendered = encode(TOKENIZER, conversation(trajectory))
    # The template ends the last message with a line break that nobody generates.
    ids, labels = rendered["input_ids"][:-1], rendered["labels"][:-1]
    assert output.prompt_ids + output.response_ids == ids
    assert [0] * len(output.prompt_ids) + output.response_mask == [int(label != NO_LOSS) for label in labels]
    assert len(output.extra_fields["step_ends"]) == len(trajectory.steps)
    assert len(trajectory.steps) <= 5 * turns


@settings(max_examples=12, deadline=None)
@given(st.lists(TEXTS, min_size=15, max_size=15), st.integers(20, 400))
def test_an_episode_that_is_cut_ends_on_the_assistants_own_tokens(texts: list[str], response: int) -> None:
    output = play(texts, 3, response)
    trajectory = Trajectory.from_json(output.extra_fields["trajectory_json"])
    written = [TOKENIZER.encode(step.text, add_special_tokens=False) for step in trajectory.steps]
    trained = [token for token, bit in zip(output.response_ids, output.response_mask, strict=True) if bit]
    assert len(output.response_ids) <= response
    assert output.response_mask[-1] == 1
    assert [token for token in trained if token != TOKENIZER.eos_token_id][: len(written[0])] == written[0]
    assert sum(map(len, written)) <= len(trained) <= sum(map(len, written)) + len(written)


SCORES = st.floats(0.0, 1.2, allow_nan=False).map(lambda score: round(score, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SCORES, min_size=2, max_size=8), min_size=1, max_size=4))
def test_advantages_are_the_scores_less_their_groups_mean_over_its_deviation(groups: list[list[float]]) -> None:
    scores = torch.tensor([score for group in groups for score in group])
    index = np.array([number for number, group in enumerate(groups) for _ in group])
    lengths = 1 + torch.arange(len(scores)) % 3
    mask = (torch.arange(3) < lengths[:, None]).float()
    rewards = torch.zeros_like(mask)
    rewards[torch.arange(len(scores)), lengths - 1] = scores
    advantages, _ = compute_grpo_outcome_advantage(rewards, mask, index)
    for group in range(len(groups)):
        own = scores[torch.tensor(index == group)].double()
        expected = (own - own.mean()) / (own.std() + 1e-6)
        found = advantages[torch.tensor(index == group)]
        shares = mask[torch.tensor(index == group)]
        assert torch.allclose(found.double(), expected[:, None] * shares, atol=2e-3)


def test_a_group_of_played_episodes_is_centred_and_ranked_by_its_rewards() -> None:
    outputs = [play([*texts, *["等于 925。"] * 14], 1) for texts in ([CALL], ["<tool_call>"], ["I know."], [TWO])]
    scores = [output.reward_score for output in outputs]
    assert scores[0] == max(scores) > min(scores) == scores[2]
    rows = [output.as_dict() for output in outputs]
    rewards, mask = (
        torch.nn.utils.rnn.pad_sequence([row[key].float() for row in rows], batch_first=True)
        for key in ("rm_scores", "response_mask")
    )
    advantages, _ = compute_grpo_outcome_advantage(rewards, mask, np.array(["group"] * 4))
    own = torch.tensor([row[bits > 0][0] for row, bits in zip(advantages, mask, strict=True)])
    assert own.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert own.argsort().tolist() == torch.tensor(scores).argsort().tolist()
    assert not advantages[mask == 0].any()
