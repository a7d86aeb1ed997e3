"""Requests, sampling parameters and results: what crosses the engine's border.

Owns: the names and ranges of sampling parameters, the reasons why generation stops, and the shape of an answer, ours
and verl's. Refuses: torch, tokenizers, scheduling.
"""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

SEED_LIMIT = 2**63


class RequestError(ValueError):
    """One request cannot be served as asked; no other request is touched."""


class StepError(RuntimeError):
    """A forward pass failed, or gave numbers that cannot be sampled from; the request in it is lost."""


class StopReason(enum.Enum):
    """Why generation ended."""

    STOP_TOKEN = "stop_token"
    """An end-of-sequence or stop token was sampled; it is the last token of the output."""
    STOP_STRING = "stop_string"
    """The text of the output now contains a stop string; the tokens that spell it are kept."""
    LENGTH = "length"
    """`max_tokens` or the context length is used up."""
    ABORTED = "aborted"
    """The request was called back; the output holds what there was until then, perhaps nothing."""

    @property
    def is_truncated(self) -> bool:
        """Whether the model was cut off rather than done."""
        return self in (StopReason.LENGTH, StopReason.ABORTED)


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How to choose the next token, and when to stop.

    Attributes:
        max_tokens: Most tokens to generate; None fills the context.
        min_tokens: Tokens that come before any stop token may be sampled or any stop string be looked for.
        temperature: Divides the logits; 0 takes the most likely token.
        top_k: Sample among the k most likely tokens; 0 or -1 means all.
        top_p: Sample among the fewest tokens whose probabilities sum to at least this.
        seed: With the prompt's length it makes this request's draws its own, so the turns of an episode may share
            one; None derives them from the engine's seed and the arrival number.
        stop_token_ids: Tokens that end the output, besides the model's own end-of-sequence tokens.
        stop: Strings that end the output.
        ignore_eos: Do not stop at the model's end-of-sequence tokens (`stop_token_ids` still count).
        repetition_penalty: Only 1.0: any other value samples from a distribution that the trainer does not know.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Raise `RequestError` for a value out of range."""
        if self.max_tokens is not None and self.max_tokens < 1:
            raise RequestError(f"max_tokens must be at least 1, got {self.max_tokens}")
        if self.min_tokens < 0:
            raise RequestError(f"min_tokens must not be negative, got {self.min_tokens}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise RequestError(f"temperature must be finite and not negative, got {self.temperature}")
        if self.top_k < -1:
            raise RequestError(f"top_k must be positive, or 0 or -1 for all tokens, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top_p must lie in (0, 1], got {self.top_p}")
        if self.seed is not None and not 0 <= self.seed < SEED_LIMIT:
            raise RequestError(f"seed must lie in [0, 2**63), got {self.seed}")
        if any(not text for text in self.stop):
            raise RequestError("an empty stop string would end every output at once")
        if self.repetition_penalty != 1.0:
            raise RequestError(f"repetition_penalty must be 1.0, got {self.repetition_penalty}: it is not supported")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SamplingParams:
        """Read verl's (vLLM's, SGLang's) names; raises `RequestError` for a name or a type it does not know.

        `max_new_tokens` is `max_tokens`. `logprobs` is the server's affair. `include_stop_str_in_output` may be given
        with either value: it concerns text, and the token ids always keep the stop string, as vLLM's do.
        """
        given = {name: value for name, value in values.items() if name not in _NOT_THE_ENGINES}
        if "max_new_tokens" in given:
            given.setdefault("max_tokens", given.pop("max_new_tokens"))
        known = {item.name for item in fields(cls)}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise RequestError(f"unknown sampling parameter {name!r}{hint}")
        try:
            return cls(**{name: _READERS[name](value) for name, value in given.items()})
        except (TypeError, OverflowError) as error:
            raise RequestError(f"a sampling parameter has the wrong type: {error}") from error


_NOT_THE_ENGINES = frozenset({"logprobs", "include_stop_str_in_output"})


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _ints(value: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(int(item) for item in value or ())


def _strings(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


_READERS: Mapping[str, Any] = {
    "max_tokens": _optional_int,
    "min_tokens": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "seed": _optional_int,
    "stop_token_ids": _ints,
    "stop": _strings,
    "ignore_eos": bool,
    "repetition_penalty": float,
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One assistant message to generate.

    Attributes:
        request_id: Names the episode. Requests of one episode come one after another; reuse of earlier work does not
            depend on the id (verl's client draws a new one per turn), but `release` and `abort` do.
        prompt_ids: The whole conversation so far, in tokens.
        params: How to sample and when to stop.
        on_token: Called on the engine's thread with every token as it comes, stop tokens excepted; must be quick and
            must not raise. None: nobody watches.
    """

    request_id: str
    prompt_ids: Sequence[int]
    params: SamplingParams = SamplingParams()
    on_token: Callable[[int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was generated.

    Attributes:
        token_ids: The generated tokens, a stop token included.
        log_probs: Per token, `log_softmax(logits / temperature)` over the whole vocabulary, which is what verl's
            trainer computes: `top_k`, `top_p` and `min_tokens` do not enter. At temperature 0 the logits are undivided.
        stop_reason: Why it ended.
        reused_tokens: How many prompt tokens were not computed for this request because their KV was at hand.
        first_version: Version of the weights that made the first token; None if no weights were ever loaded.
        last_version: Version of the weights that made the last token (or that stood when nothing was made).
    """

    token_ids: list[int]
    log_probs: list[float]
    stop_reason: StopReason
    reused_tokens: int
    first_version: int | None
    last_version: int | None


@dataclass(slots=True, kw_only=True)
class TokenOutput:
    """The fields of `verl.workers.rollout.replica.TokenOutput`, which verl reads by name.

    Attributes:
        token_ids: The generated tokens.
        log_probs: Their log-probabilities, if asked for.
        routed_experts: None; no mixture-of-experts model is served.
        stop_reason: `completed`, `length` or `aborted`.
        num_preempted: 0; a slot is never taken from a request under way.
        extra_fields: `global_steps` (version of the last token's weights), `min_global_steps`, `max_global_steps`,
            `num_cached_tokens` (prompt tokens not computed again) and `finish_reason` (a `StopReason` value).
    """

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: str
    routed_experts: None = None
    num_preempted: int = 0
    extra_fields: dict[str, Any] = field(default_factory=dict)
