"""`InteractionAgentLoop`: an episode of an interaction, as tokens that verl can train on.

Owns: the alternation of generation and environment, the token budget, masks and log-probabilities, and the reward's
place in verl's output. Refuses: what the environment does (`env_tuning.interaction`) and what it is worth
(`env_tuning.rewards`).

What holds for every output: the last token is the assistant's; the mask is 1 on generated tokens and nowhere else;
log-probabilities stand beside their tokens; rewards stand on tokens that are trained, and sum to the score; an episode
that a limit cut was told so through `stop_interaction`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import torch
from omegaconf import OmegaConf
from pydantic import Field, model_validator
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register
from verl.utils.profiler import simple_timer

from env_tuning.interaction.base import Interaction, make_interaction
from env_tuning.model.stop_tokens import stop_tokens
from env_tuning.rewards.numbers import logged_numbers
from env_tuning.rewards.placement import Placement, place_by_turn
from env_tuning.rewards.registry import Reward, resolve_reward
from env_tuning.rewards.score import Score, as_score
from env_tuning.trajectory import StepOutcome, StopReason, Trajectory
from env_tuning.verl_plugin.chat_tokens import ChatTokens

NAME = "env_tuning"
"""The agent loop's name in ``rollout.agent.default_agent_loop`` and in a row's ``agent_name``."""

_SERVER_SAYS_LENGTH = ("length", "max_tokens")
_SERVER_SAYS_ABORT = ("abort", "aborted")


@dataclass
class Transcript:
    """The tokens of one episode so far, and the messages they stand for."""

    tokens: list[int]
    messages: list[dict[str, str]]
    mask: list[int] = field(default_factory=list)
    log_probs: list[float] | None = field(default_factory=list)
    steps: int = 0

    @property
    def response(self) -> list[int]:
        """The tokens after the opening."""
        return self.tokens[len(self.tokens) - len(self.mask) :]

    def step_ends(self) -> list[int]:
        """For every assistant message the index of its last token in the response."""
        following = [*self.mask[1:], 0]
        return [index for index, (here, after) in enumerate(zip(self.mask, following, strict=True)) if here > after]

    def end_on_assistant(self) -> None:
        """Drop trailing tokens that are not the assistant's: verl puts the reward on the last token."""
        last = max((index for index, bit in enumerate(self.mask) if bit), default=None)
        if last is None:
            return
        surplus = len(self.mask) - last - 1
        if surplus:
            self.tokens, self.mask = self.tokens[:-surplus], self.mask[:-surplus]
            self.log_probs = None if self.log_probs is None else self.log_probs[:-surplus]


class EpisodeOutput(AgentLoopOutput):
    """verl's output, whose score may be spread over the response.

    verl/experimental/agent_loop/agent_loop.py, `AgentLoopOutput.as_dict`, knows one place for it, the last token; what
    reads the result (``trainer/ppo/v1``) takes ``rm_scores`` token by token.
    """

    placed: dict[int, float] = Field(default_factory=dict)
    """Response index to amount; empty: the whole score on the last token."""

    @model_validator(mode="after")
    def _on_trained_tokens(self) -> EpisodeOutput:
        # verl's GAE drops a reward on a masked token. The one exception is a response in which nothing is trained.
        places = self.placed or ({len(self.response_mask) - 1: 0.0} if any(self.response_mask) else {})
        if masked := [at for at in places if not (0 <= at < len(self.response_mask) and self.response_mask[at])]:
            raise ValueError(f"a reward on tokens {masked} would be lost: they are not the assistant's")
        return self

    def as_dict(self) -> dict[str, Any]:
        """As verl's, with ``rm_scores`` as placed."""
        output = super().as_dict()
        output.pop("placed", None)
        if self.placed:
            output["rm_scores"] = torch.zeros_like(output["rm_scores"])
            for index, amount in self.placed.items():
                output["rm_scores"][index] = amount
        return output


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits in tokens."""

    prompt: int
    response: int
    context: int
    message: int | None
    min_message: int

    def room(self, transcript: Transcript) -> int:
        """How many tokens the response and the context still take."""
        return min(self.response - len(transcript.mask), self.context - len(transcript.tokens))

    def of_message(self, transcript: Transcript) -> int:
        """How many tokens the next assistant message may have."""
        room = self.room(transcript)
        return room if self.message is None else min(room, self.message)


@register(NAME)
class InteractionAgentLoop(AgentLoopBase):
    """Plays episodes. One object may play many at once: nothing of an episode is kept on it."""

    def __init__(self, *args: Any, tools: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = OmegaConf.to_container(self.config.env_tuning, resolve=True)
        self._interactions: dict[str, Any] = settings["interactions"]  # type: ignore[index, call-overload]
        self._reward_name: str | None = settings["reward"]  # type: ignore[index, call-overload]
        self._reward: Reward | None = None if self._reward_name is None else resolve_reward(self._reward_name)
        self._placement = _placement(settings)
        self._verl_scores = bool(OmegaConf.select(self.config, "reward.custom_reward_function.path"))
        self._budget = _budget(self.rollout_config, settings)
        self._chat = ChatTokens(self.continuous_token_builder)
        self._stop_tokens = stop_tokens(self.config.actor_rollout_ref.model.path, self.tokenizer.eos_token_id)

    async def run(self, sampling_params: dict[str, Any], *, validate: bool = False, **row: Any) -> AgentLoopOutput:
        """Play one episode of a row.

        Args:
            sampling_params: verl's, without a token limit.
            validate: whether this is validation; interactions may allow more steps then.
            row: the row's columns; ``interaction_kwargs["name"]`` chooses the interaction.
        """
        kwargs = _interaction_kwargs(row)
        interaction = self._interaction(kwargs)
        episode = uuid4().hex
        await interaction.start_interaction(episode, validate=validate, step=_global_step(row), **kwargs)
        try:
            return await self._play(interaction, episode, sampling_params, row)
        finally:
            await interaction.finalize_interaction(episode)
            release = getattr(self.server_manager, "release", None)
            if release is not None:
                release(episode)

    async def _play(
        self, interaction: Interaction, episode: str, sampling_params: dict[str, Any], row: Mapping[str, Any]
    ) -> AgentLoopOutput:
        messages = interaction.opening_messages(episode, row["raw_prompt"])
        transcript = Transcript(tokens=self._chat.opening(messages), messages=messages)
        opening = list(transcript.tokens)
        if len(opening) > self._budget.prompt:
            raise ValueError(
                f"the opening of {row.get('data_source', 'a row')} has {len(opening)} tokens: "
                f"raise data.max_prompt_length (now {self._budget.prompt}) or choose a shorter tool listing"
            )
        timings: dict[str, float] = {}
        versions: list[Any] = []
        while True:
            limit = self._budget.of_message(transcript)
            with simple_timer("generate_sequences", timings):
                output = await self.server_manager.generate(
                    request_id=episode,
                    prompt_ids=transcript.tokens,
                    sampling_params={**sampling_params, "max_tokens": limit},
                )
            versions += [output.extra_fields.get(key) for key in ("min_global_steps", "max_global_steps")]
            text, cut = self._add_assistant(transcript, output, limit)
            with simple_timer("tool_calls", timings):
                if cut is not None:
                    await interaction.stop_interaction(episode, cut, text)
                    break
                over, content, _, _ = await interaction.generate_response(episode, transcript.messages)
                if over:
                    break
                if not self._add_context(transcript, content):
                    await interaction.stop_interaction(episode, StopReason.RESPONSE_LENGTH)
                    break
        transcript.end_on_assistant()
        if not transcript.mask:  # aborted before the first token; verl cannot hold an empty response
            transcript.tokens, transcript.mask = [*opening, self.tokenizer.eos_token_id], [0]
            transcript.log_probs = [0.0]
        return await self._output(interaction, episode, transcript, opening, timings, _versions(versions, row))

    def _add_assistant(self, transcript: Transcript, output: Any, limit: int) -> tuple[str, StopReason | None]:
        """Append a generation; returns its text and why the episode must stop, if it must."""
        generated = list(output.token_ids)
        room = self._budget.room(transcript)
        transcript.tokens = [*transcript.tokens, *generated]
        transcript.mask += [1] * len(generated)
        if output.log_probs is None or transcript.log_probs is None:
            transcript.log_probs = None
        else:
            if len(output.log_probs) != len(generated):
                raise RuntimeError(f"{len(output.log_probs)} log-probabilities for {len(generated)} generated tokens")
            transcript.log_probs += [float(value) for value in output.log_probs]
        transcript.steps += 1
        ended = bool(generated) and generated[-1] in self._stop_tokens
        # Special tokens stay in the text: a tokenizer may count <think> among them. Only the stop token goes.
        text = self.tokenizer.decode(generated[:-1] if ended else generated, skip_special_tokens=False)
        transcript.messages = [*transcript.messages, {"role": "assistant", "content": text}]
        if ended:
            return text, None
        if output.stop_reason in _SERVER_SAYS_ABORT or not generated:
            return text, StopReason.ABORTED
        # vLLM's adapter in verl reports "completed" for both ways to end, so the count decides.
        if output.stop_reason in _SERVER_SAYS_LENGTH or len(generated) >= limit:
            return text, StopReason.MESSAGE_LENGTH if limit < room else StopReason.RESPONSE_LENGTH
        return text, None

    def _add_context(self, transcript: Transcript, content: str) -> bool:
        """Append the next user message, unless what is left would not hold another assistant message."""
        messages = [*transcript.messages, {"role": "user", "content": content}]
        tokens, mask, log_probs = self._chat.append(transcript.tokens, transcript.mask, transcript.log_probs, messages)
        extended = Transcript(tokens=tokens, messages=messages, mask=mask, log_probs=log_probs)
        if self._budget.room(extended) < self._budget.min_message:
            return False
        transcript.tokens, transcript.messages = tokens, messages
        transcript.mask, transcript.log_probs = mask, log_probs
        return True

    async def _output(
        self,
        interaction: Interaction,
        episode: str,
        transcript: Transcript,
        opening: list[int],
        timings: dict[str, float],
        versions: tuple[int, int],
    ) -> AgentLoopOutput:
        trajectory = interaction.trajectory(episode)
        score = await self._score(interaction, episode, trajectory)
        step_ends = transcript.step_ends()
        turn_ends = _turn_ends(trajectory, step_ends)
        extra: dict[str, Any] = {
            "min_global_steps": versions[0],
            "max_global_steps": versions[1],
            "step_ends": step_ends,
            "turn_ends": list(turn_ends.values()),
            "trained_tokens": sum(transcript.mask),
            "response_tokens": len(transcript.mask),
            "prompt_tokens": len(opening),
            "trajectory_json": None if trajectory is None else trajectory.to_json(),
        }
        if score is not None:
            extra["reward_extra_info"] = dict(score) if trajectory is None else logged_numbers(score, trajectory)
        elif trajectory is not None:  # verl's own reward function reads extra_info["trajectory"]
            extra["trajectory"] = trajectory.to_dict()
        return EpisodeOutput(
            prompt_ids=opening,
            response_ids=transcript.response,
            response_mask=transcript.mask,
            response_logprobs=transcript.log_probs,
            reward_score=None if score is None else score.score,
            placed=self._placed(score, trajectory, turn_ends, transcript),
            num_turns=2 * transcript.steps,
            metrics=AgentLoopMetrics(**timings),
            extra_fields=extra,
        )

    async def _score(self, interaction: Interaction, episode: str, trajectory: Trajectory | None) -> Score | None:
        """What the episode is worth; None when verl's own reward function is to say it."""
        if self._reward is None:
            return None if self._verl_scores else Score(score=float(await interaction.calculate_score(episode)))
        if trajectory is None:
            raise ValueError(
                f"{type(interaction).__name__} keeps no trajectory, so env_tuning.reward={self._reward_name} has "
                "nothing to read; set env_tuning.reward=null to use the interaction's own calculate_score"
            )
        return as_score(self._reward(trajectory))

    def _placed(
        self,
        score: Score | None,
        trajectory: Trajectory | None,
        turn_ends: Mapping[int, int],
        transcript: Transcript,
    ) -> dict[int, float]:
        """Where the score stands in the response; empty: on the last token, as verl does by itself."""
        if self._placement is Placement.LAST or score is None or trajectory is None or not any(transcript.mask):
            return {}
        if any(score.turns) and len(turn_ends) != len(trajectory.verdicts):
            raise ValueError(
                f"the trajectory of {trajectory.task_id} closes {len(trajectory.verdicts)} turns, of which "
                f"{len(turn_ends)} are found in the tokens: for env_tuning.reward_placement=turns an interaction has "
                "to record one step for every assistant message"
            )
        return place_by_turn(score, turn_ends, len(transcript.mask) - 1)

    def _interaction(self, kwargs: Mapping[str, Any]) -> Interaction:
        name = kwargs.get("name")
        if name not in self._interactions:
            raise ValueError(
                f"no interaction named {name!r}: add env_tuning.interactions.{name} or rebuild the data; "
                f"known: {', '.join(self._interactions)}"
            )
        return _interaction(name, self._interactions[name]["class_name"], _Frozen(self._interactions[name]["config"]))


def _turn_ends(trajectory: Trajectory | None, step_ends: list[int]) -> dict[int, int]:
    """Closed turns to the response indices of their last tokens; empty when steps and messages do not correspond."""
    steps = () if trajectory is None else trajectory.steps
    # A generation that was aborted before its first token is a step without tokens.
    if len(steps) == len(step_ends) + 1 and steps[-1].outcome is StepOutcome.CUT and not steps[-1].text:
        steps = steps[:-1]
    if len(steps) != len(step_ends):
        return {}
    return {step.turn: end for end, step in zip(step_ends, steps, strict=True) if step.closed_turn}


def _placement(settings: Any) -> Placement:
    placement = Placement.read(settings["reward_placement"])
    if placement is not Placement.LAST and settings["reward"] is None:
        raise ValueError(
            f"env_tuning.reward_placement={placement.value} needs env_tuning.reward: other scores are one number"
        )
    return placement


def _versions(versions: list[Any], row: Mapping[str, Any]) -> tuple[int, int]:
    """First and last weight version; verl's metrics need integers even of a server that reports none."""
    known = [int(version) for version in versions if version is not None] or [_global_step(row)]
    return known[0], known[-1]


def _global_step(row: Mapping[str, Any]) -> int:
    """The training step that a row is played in."""
    return int(row.get("global_steps", 0))


def _interaction_kwargs(row: Mapping[str, Any]) -> dict[str, Any]:
    kwargs = row.get("interaction_kwargs") or (row.get("extra_info") or {}).get("interaction_kwargs") or {}
    # Parquet fills the keys that other rows have with None; an own copy, because verl gives a group one object.
    return copy.deepcopy({key: value for key, value in kwargs.items() if value is not None})


def _budget(rollout: Any, settings: Any) -> Budget:
    context = rollout.get("max_model_len") or rollout.prompt_length + rollout.response_length
    budget = Budget(
        prompt=rollout.prompt_length,
        response=rollout.response_length,
        context=context,
        message=settings["max_message_tokens"],
        min_message=settings["min_message_tokens"],
    )
    if budget.min_message < 1 or budget.response < budget.min_message:
        raise ValueError(
            f"data.max_response_length={budget.response} cannot hold one message of "
            f"env_tuning.min_message_tokens={budget.min_message} tokens (at least 1): raise the first"
        )
    return budget


class _Frozen(dict):  # type: ignore[type-arg]
    """A configuration as part of a cache key: it never changes within a run."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(sorted(self.items())))


@functools.cache
def _interaction(name: str, class_name: str, config: _Frozen) -> Interaction:
    """One object per process and configuration: verl makes a loop per trajectory, interactions cache per task."""
    return make_interaction(name, class_name, config)
