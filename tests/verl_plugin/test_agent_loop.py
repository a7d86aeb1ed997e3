"""The agent loop against a scripted server: what verl trains on is exactly what was generated."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

pytest.importorskip("verl")
import torch
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, DictConfigWrap
from verl.trainer.ppo.core_algos import compute_gae_advantage_return, compute_grpo_outcome_advantage

from env_tuning.interaction.base import Interaction
from env_tuning.trajectory import StopReason, Trajectory
from env_tuning.verl_plugin import agent_loop
from env_tuning.verl_plugin.agent_loop import EpisodeOutput, InteractionAgentLoop

ROW = {
    "raw_prompt": [{"role": "system", "content": "Write."}, {"role": "user", "content": "An a."}],
    "interaction_kwargs": {"name": "toy", "letter": "a", "unused": None},
    "data_source": "toy",
    "global_steps": 7,
}
TOKENIZER = toys.make_tokenizer()


class ScriptedServer:
    """Answers with given texts, cut at `max_tokens`; every token has a log-probability of its own."""

    def __init__(self, *texts: str, ends: bool = True, stop_reason: str = "completed", stamps: bool = True) -> None:
        self.texts, self.ends, self.stop_reason, self.stamps = list(texts), ends, stop_reason, stamps
        self.requests: list[dict[str, Any]] = []
        self.released: list[str] = []
        self.given = 0

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        self.requests.append({"id": request_id, "prompt": list(prompt_ids), "params": dict(sampling_params)})
        await asyncio.sleep(0)
        tokens = TOKENIZER.encode(self.texts.pop(0), add_special_tokens=False)
        tokens = [*tokens, TOKENIZER.eos_token_id] if self.ends else tokens
        tokens = tokens[: sampling_params["max_tokens"]]
        log_probs = [-float(self.given + index + 1) for index in range(len(tokens))]
        self.given += len(tokens)
        steps = {"min_global_steps": 3, "max_global_steps": 4} if self.stamps else {}
        return SimpleNamespace(
            token_ids=tokens, log_probs=log_probs, stop_reason=self.stop_reason, extra_fields=dict(steps)
        )

    def release(self, request_id: str) -> None:
        self.released.append(request_id)


@pytest.fixture(autouse=True)
def fresh_interactions() -> None:
    agent_loop._interaction.cache_clear()


def make_loop(
    server: Any,
    *,
    prompt: int = 200,
    response: int = 400,
    reward: str | None = "toys:letter_reward",
    class_name: str = "toys:LetterInteraction",
    custom_reward: str | None = None,
    tokenizer: Any = TOKENIZER,
    model_type: str = "qwen3",
    **settings: Any,
) -> InteractionAgentLoop:
    config = OmegaConf.create(
        {
            "actor_rollout_ref": {
                "rollout": {"prompt_length": prompt, "response_length": response, "max_model_len": None},
                "model": {"path": "no-such-model"},
            },
            "data": {},
            "reward": {"custom_reward_function": {"path": custom_reward}},
            "env_tuning": {
                "reward": reward,
                "reward_placement": "last",
                "max_message_tokens": None,
                "min_message_tokens": 4,
                "interactions": {
                    "toy": {"class_name": class_name, "config": {}},
                },
                **settings,
            },
        }
    )
    return InteractionAgentLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=server,
        tokenizer=tokenizer,
        processor=None,
        dataset_cls=None,
        data_config=DictConfigWrap(config.data),
        hf_model_type=model_type,
    )


def play(loop: InteractionAgentLoop, row: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    return asyncio.run(loop.run({"temperature": 1.0}, **kwargs, **(row or ROW)))


def generated(output: Any) -> list[str]:
    """The texts of the trained spans."""
    spans, open_span = [], False
    for token, bit in zip(output.response_ids, output.response_mask, strict=True):
        if bit and not open_span:
            spans.append([])
        if bit:
            spans[-1].append(token)
        open_span = bool(bit)
    return [TOKENIZER.decode(span) for span in spans]


def stop_reasons(output: Any) -> set[str]:
    info = output.extra_fields["reward_extra_info"]
    return {name for name, value in info.items() if name.startswith("stop/") and value}


def check_invariants(output: Any) -> None:
    assert len(output.response_ids) == len(output.response_mask) == len(output.response_logprobs)
    assert output.response_mask[-1] == 1, "the reward would sit on a token that is not trained"
    for bit, log_prob in zip(output.response_mask, output.response_logprobs, strict=True):
        assert (log_prob == 0.0) == (bit == 0)


def test_tokens_are_the_conversation_and_the_mask_marks_what_was_generated() -> None:
    server = ScriptedServer("no", "a yes", "a too")
    output = play(make_loop(server))
    check_invariants(output)
    assert generated(output) == ["no<|im_end|>", "a yes<|im_end|>", "a too<|im_end|>"]
    conversation = [
        *ROW["raw_prompt"],
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "a yes"},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "a too"},
    ]
    whole = TOKENIZER.apply_chat_template(conversation, tokenize=False)
    assert TOKENIZER.decode(output.prompt_ids + output.response_ids) + "\n" == whole


def test_log_probs_stand_beside_the_tokens_they_belong_to() -> None:
    output = play(make_loop(ScriptedServer("no", "a", "a")))
    trained = [value for value, bit in zip(output.response_logprobs, output.response_mask, strict=True) if bit]
    assert trained == [-float(index + 1) for index in range(len(trained))]


def test_every_request_extends_the_one_before_so_that_a_cache_can_be_kept() -> None:
    server = ScriptedServer("no", "a", "a")
    output = play(make_loop(server))
    prompts = [request["prompt"] for request in server.requests]
    for shorter, longer in itertools.pairwise(prompts):
        assert longer[: len(shorter)] == shorter
    assert {request["id"] for request in server.requests} == set(server.released)
    assert prompts[0] == output.prompt_ids


def test_a_template_that_drops_thinking_does_not_change_earlier_tokens() -> None:
    tokenizer = toys.make_tokenizer()
    tokenizer.chat_template = toys.CHATML.replace(
        "{{ message['content'] }}",
        "{{ message['content'].split('</think>')[-1] if message['role'] == 'assistant' else message['content'] }}",
    )
    output = play(make_loop(ScriptedServer("<think>x</think>no", "<think>y</think>a", "a"), tokenizer=tokenizer))
    assert generated(output)[0] == "<think>x</think>no<|im_end|>"
    check_invariants(output)


def test_the_environment_sees_special_tokens_but_not_the_stop_token() -> None:
    output = play(make_loop(ScriptedServer("<|im_start|>a", "a")))
    trajectory = Trajectory.from_json(output.extra_fields["trajectory_json"])
    assert trajectory.steps[0].text == "<|im_start|>a"


@pytest.mark.parametrize("stop_reason", ["length", "completed"])
def test_a_message_cut_by_its_own_limit_ends_the_episode_unscored(stop_reason: str) -> None:
    server = ScriptedServer("no", "x" * 50, stop_reason=stop_reason)
    output = play(make_loop(server, max_message_tokens=20))
    check_invariants(output)
    assert stop_reasons(output) == {"stop/message_length"}
    assert output.extra_fields["trained_tokens"] == 3 + 20
    trajectory = Trajectory.from_json(output.extra_fields["trajectory_json"])
    assert trajectory.steps[-1].text == "x" * 20
    assert not trajectory.verdicts


def test_a_message_cut_by_the_response_length_is_told_apart() -> None:
    output = play(make_loop(ScriptedServer("x" * 50), response=30, max_message_tokens=40))
    assert stop_reasons(output) == {"stop/response_length"}
    assert len(output.response_ids) == 30


def test_a_message_of_exactly_the_limit_that_ended_is_not_cut() -> None:
    output = play(make_loop(ScriptedServer("a", "a"), max_message_tokens=2))
    assert stop_reasons(output) == {"stop/completed"}


def test_a_context_message_without_room_for_an_answer_ends_the_episode_on_the_assistant() -> None:
    # "no<|im_end|>" takes 3 tokens and the next user message about 40.
    output = play(make_loop(ScriptedServer("no", "never asked"), response=48, min_message_tokens=30))
    check_invariants(output)
    assert stop_reasons(output) == {"stop/response_length"}
    assert generated(output) == ["no<|im_end|>"]


def test_an_abort_before_the_first_token_gives_a_response_that_trains_nothing() -> None:
    output = play(make_loop(ScriptedServer("", ends=False, stop_reason="aborted")))
    assert stop_reasons(output) == {"stop/aborted"}
    assert output.response_mask == [0]
    assert output.response_logprobs == [0.0]


def test_an_abort_after_a_context_message_still_ends_on_the_assistant() -> None:
    class Aborting(ScriptedServer):
        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            output = await super().generate(*args, **kwargs)
            if len(self.requests) == 2:
                output.token_ids, output.log_probs, output.stop_reason = [], [], "aborted"
            return output

    output = play(make_loop(Aborting("no", "lost")))
    check_invariants(output)
    assert generated(output) == ["no<|im_end|>"]


def test_reward_parts_and_episode_numbers_reach_verl() -> None:
    output = play(make_loop(ScriptedServer("no", "a", "ba")))
    info = output.extra_fields["reward_extra_info"]
    assert output.reward_score == info["score"] == pytest.approx(2 / 5)
    assert (info["completed"], info["turns"], info["steps"], info["coverage"], info["correct_turns"]) == (1, 2, 3, 1, 1)
    assert all(isinstance(value, float) for value in info.values())
    assert (output.extra_fields["min_global_steps"], output.extra_fields["max_global_steps"]) == (3, 4)
    step_ends, turn_ends = output.extra_fields["step_ends"], output.extra_fields["turn_ends"]
    assert turn_ends == step_ends[1:]
    assert all(output.response_ids[end] == TOKENIZER.eos_token_id for end in step_ends)
    assert step_ends[-1] == len(output.response_ids) - 1


def test_every_stop_reason_is_counted_so_that_means_are_shares() -> None:
    info = play(make_loop(ScriptedServer("a", "a"))).extra_fields["reward_extra_info"]
    assert {name for name in info if name.startswith("stop/")} == {f"stop/{reason.value}" for reason in StopReason}


def test_without_a_reward_verls_own_function_gets_the_trajectory() -> None:
    output = play(make_loop(ScriptedServer("a", "a"), reward=None, custom_reward="reward.py"))
    assert output.reward_score is None
    assert output.extra_fields["trajectory"]["task_id"] == "toy_a"


def test_without_any_reward_function_the_interaction_scores() -> None:
    output = play(make_loop(ScriptedServer("a", "a"), reward=None))
    assert output.reward_score == 0.25


def test_a_server_without_version_stamps_does_not_break_verls_metrics() -> None:
    output = play(make_loop(ScriptedServer("a", "a", stamps=False)))
    assert (output.extra_fields["min_global_steps"], output.extra_fields["max_global_steps"]) == (7, 7)


class Mutating(toys.LetterInteraction):
    """Changes what it was given, as careless users do."""

    seen: list[Any] = []  # noqa: RUF012

    async def start_interaction(self, instance_id: str | None = None, **kwargs: Any) -> str:
        self.seen.append((list(kwargs["queue"]), kwargs.get("unused", "dropped"), kwargs["validate"]))
        kwargs["queue"].clear()
        return await super().start_interaction(instance_id, **kwargs)


def test_a_group_shares_nothing_but_the_row() -> None:
    Mutating.seen.clear()
    row = {**ROW, "interaction_kwargs": {**ROW["interaction_kwargs"], "queue": [1, 2]}}
    server = ScriptedServer(*["a"] * 8)
    loop = make_loop(server, class_name=f"{__name__}:Mutating")

    async def group() -> list[Any]:
        return await asyncio.gather(*(loop.run({}, validate=True, **row) for _ in range(4)))

    outputs = asyncio.run(group())
    assert Mutating.seen == [([1, 2], "dropped", True)] * 4
    assert len({id(output.prompt_ids) for output in outputs}) == 4
    assert len({request["id"] for request in server.requests}) == 4
    for output in outputs:
        check_invariants(output)


def test_an_episode_is_finalized_and_released_when_it_raises() -> None:
    class Broken(ScriptedServer):
        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("server gone")

    server = Broken()
    loop = make_loop(server)
    with pytest.raises(ConnectionError):
        play(loop)
    interaction = loop._interaction({"name": "toy"})
    assert isinstance(interaction, toys.LetterInteraction)
    assert not interaction.episodes
    assert len(server.released) == 1


def test_one_interaction_object_serves_a_process() -> None:
    first, second = make_loop(ScriptedServer()), make_loop(ScriptedServer())
    assert first._interaction({"name": "toy"}) is second._interaction({"name": "toy"})


def test_a_long_opening_names_the_key() -> None:
    with pytest.raises(ValueError, match=r"data\.max_prompt_length"):
        play(make_loop(ScriptedServer("a"), prompt=10))


def test_a_response_too_short_for_a_message_names_the_key() -> None:
    with pytest.raises(ValueError, match=r"data\.max_response_length"):
        make_loop(ScriptedServer(), response=3)


def test_an_unknown_interaction_names_those_known() -> None:
    with pytest.raises(ValueError, match=r"env_tuning\.interactions\.other.*known: toy"):
        play(make_loop(ScriptedServer()), row={**ROW, "interaction_kwargs": {"name": "other"}})


def test_a_reward_without_a_trajectory_names_the_key() -> None:
    class Silent(Interaction):
        async def generate_response(self, *args: Any, **kwargs: Any) -> Any:
            return True, "", 0.0, {}

    globals()["Silent"] = Silent
    with pytest.raises(ValueError, match=r"env_tuning\.reward"):
        play(make_loop(ScriptedServer("a"), class_name=f"{__name__}:Silent"))
    assert play(make_loop(ScriptedServer("a"), class_name=f"{__name__}:Silent", reward=None)).reward_score == 0.0


# Where the reward stands -------------------------------------------------------------------------------------------


class FiveTurns(toys.LetterInteraction):
    """Longer episodes: five turns of at most three messages."""

    turns = 5


FIVE_TURNS = f"{__name__}:FiveTurns"
MIXTURE = "0.9 progress + 0.3 toys:letter_reward"


def play_placed(texts: list[str], placement: str, reward: str = "progress", **settings: Any) -> Any:
    loop = make_loop(
        ScriptedServer(*texts), class_name=FIVE_TURNS, reward=reward, reward_placement=placement, **settings
    )
    return play(loop)


def rewards_of(output: Any) -> torch.Tensor:
    return output.as_dict()["rm_scores"]


def test_each_turn_is_paid_on_its_own_last_token_and_the_rest_on_the_last() -> None:
    output = play_placed(["no", "a", "a", "no", "no", "no", "a", "bab"], "turns", MIXTURE)
    rewards, ends = rewards_of(output), output.extra_fields["turn_ends"]
    assert stop_reasons(output) == {"stop/completed"}
    assert len(ends) == 5
    assert set(rewards.nonzero().flatten().tolist()) == {ends[0], ends[1], ends[3], ends[4]}
    rest = 0.3 * output.extra_fields["reward_extra_info"]["letter_reward/score"]
    assert rest > 0
    assert rewards[ends].tolist() == pytest.approx([0.18, 0.18, 0.0, 0.18, 0.18 + rest])
    assert all(output.response_ids[end] == TOKENIZER.eos_token_id for end in ends)


def test_a_cut_episode_pays_its_closed_turns_where_they_ended() -> None:
    output = play_placed(["a", "a", "x" * 50], "turns", MIXTURE, max_message_tokens=20)
    rewards, ends = rewards_of(output), output.extra_fields["turn_ends"]
    assert stop_reasons(output) == {"stop/message_length"}
    assert rewards[ends].tolist() == pytest.approx([0.18, 0.18])
    assert rewards[-1] > 0, "what belongs to no turn is paid on the last token"
    assert rewards.sum() == torch.tensor(output.reward_score)


def test_an_abort_after_a_turn_pays_that_turn() -> None:
    class Aborting(ScriptedServer):
        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            output = await super().generate(*args, **kwargs)
            if len(self.requests) == 3:
                output.token_ids, output.log_probs, output.stop_reason = [], [], "aborted"
            return output

    output = play(
        make_loop(Aborting("a", "no", ""), class_name=FIVE_TURNS, reward="progress", reward_placement="turns")
    )
    check_invariants(output)
    assert len(output.extra_fields["turn_ends"]) == 1
    assert rewards_of(output)[output.extra_fields["turn_ends"]].tolist() == pytest.approx([0.2])


def test_an_abort_before_the_first_token_is_paid_like_any_other_episode() -> None:
    server = ScriptedServer("", ends=False, stop_reason="aborted")
    output = play(make_loop(server, reward="progress", reward_placement="turns"))
    assert rewards_of(output).tolist() == [0.0]


TEXTS = st.lists(st.sampled_from(["a", "no", "aab", "", "b" * 12]), min_size=15, max_size=15)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(30, 500), st.sampled_from([None, 8]), st.sampled_from(["progress", "binary", MIXTURE]))
def test_no_episode_loses_reward_or_pays_it_where_nothing_is_trained(
    texts: list[str], response: int, message: int | None, reward: str
) -> None:
    limits = {"response": response, "max_message_tokens": message}
    last, turns = (play_placed(list(texts), placement, reward, **limits) for placement in ("last", "turns"))
    for output in (last, turns):
        rewards = rewards_of(output)
        check_invariants(output)
        assert rewards.dtype == torch.float32
        assert rewards.shape == (len(output.response_ids),)
        assert not rewards[torch.tensor(output.response_mask) == 0].any()
        assert rewards.sum() == torch.tensor(output.reward_score)
    assert last.response_ids == turns.response_ids
    assert rewards_of(last)[:-1].count_nonzero() == 0


def padded(outputs: list[Any], values: str) -> torch.Tensor:
    rows = [output.as_dict()[values].float() for output in outputs]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def test_grpo_sees_no_difference_between_the_placements() -> None:
    scripts = [["a"] * 5, ["no"] * 3 + ["a"] * 4, ["a"] * 4 + ["no"] * 3, ["no"] * 15, ["a", *["no"] * 6, "a", "a"]]
    advantages = []
    for placement in ("last", "turns"):
        outputs = [play_placed(list(script), placement) for script in scripts]
        advantages.append(
            compute_grpo_outcome_advantage(
                padded(outputs, "rm_scores"), padded(outputs, "response_mask"), np.array(["group"] * len(outputs))
            )[0]
        )
    assert torch.equal(advantages[0], advantages[1])
    assert advantages[0].any()


def gae_returns(output: Any, rewards: torch.Tensor, gamma: float = 1.0, lam: float = 1.0) -> torch.Tensor:
    """verl's returns of an untrained critic: what is still to be earned, at every trained token."""
    mask = output.as_dict()["response_mask"][None]
    _, returns = compute_gae_advantage_return(
        rewards[None], torch.zeros_like(mask, dtype=torch.float32), mask, gamma, lam
    )
    return returns[0]


def test_in_verls_gae_every_turns_reward_arrives_and_reaches_no_later_turn() -> None:
    output = play_placed(["a", "no", "a", "no", "no", "no", "a", "a"], "turns")
    returns = gae_returns(output, rewards_of(output))
    starts = [0, *(end + 1 for end in output.extra_fields["turn_ends"][:-1])]
    mask = output.response_mask
    first_tokens = [next(index for index in range(start, len(mask)) if mask[index]) for start in starts]
    assert returns[first_tokens].tolist() == pytest.approx([0.8, 0.6, 0.4, 0.4, 0.2])
    at_the_end = gae_returns(output, rewards_of(play_placed(["a", "no", "a", "no", "no", "no", "a", "a"], "last")))
    assert at_the_end[first_tokens].tolist() == pytest.approx([0.8] * 5)


def test_the_output_refuses_what_verls_gae_would_drop() -> None:
    output = play_placed(["a", "no", "a", "a", "a", "a"], "turns")
    masked = output.response_mask.index(0)
    dropped = torch.zeros(len(output.response_mask))
    dropped[masked] = 1.0
    assert not gae_returns(output, dropped)[torch.tensor(output.response_mask) == 1].any()
    for placed in ({masked: 1.0}, {len(output.response_mask): 1.0}, {-1: 1.0}):
        with pytest.raises(ValueError, match="would be lost"):
            make_output(output.response_mask, placed)
    with pytest.raises(ValueError, match="would be lost"):
        make_output([1, 0], {})
    assert make_output([0], {}).as_dict()["rm_scores"].tolist() == [1.0]


def make_output(mask: list[int], placed: dict[int, float]) -> EpisodeOutput:
    return EpisodeOutput(
        prompt_ids=[1],
        response_ids=[2] * len(mask),
        response_mask=mask,
        reward_score=1.0,
        placed=placed,
        metrics=AgentLoopMetrics(),
    )


def test_what_verl_stores_of_an_output_has_no_field_of_ours() -> None:
    last, turns = (set(play_placed(["a"] * 5, placement).as_dict()) for placement in ("last", "turns"))
    assert last == turns
    assert "placed" not in last


def test_a_trajectory_whose_steps_are_not_the_messages_cannot_be_paid_by_turns() -> None:
    class Forgetful(toys.LetterInteraction):
        def trajectory(self, instance_id: str) -> Trajectory:
            whole = super().trajectory(instance_id)
            return dataclasses.replace(whole, steps=whole.steps[1:])

    globals()["Forgetful"] = Forgetful
    for placement in ("last", "turns"):
        loop = make_loop(
            ScriptedServer("a", "a"),
            class_name=f"{__name__}:Forgetful",
            reward="progress",
            reward_placement=placement,
        )
        if placement == "last":
            assert play(loop).reward_score == 1.0
        else:
            with pytest.raises(ValueError, match="one step for every assistant message"):
                play(loop)


def test_a_placement_that_cannot_be_is_refused_before_the_first_episode() -> None:
    with pytest.raises(ValueError, match="must be last or turns"):
        make_loop(ScriptedServer(), reward_placement="turn")
    with pytest.raises(ValueError, match=r"needs env_tuning\.reward"):
        make_loop(ScriptedServer(), reward=None, reward_placement="turns")
    with pytest.raises(ValueError, match="did you mean 'progress'"):
        make_loop(ScriptedServer(), reward="0.9 progres + 0.1 format")
