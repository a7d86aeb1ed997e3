"""The rollout server: the methods that verl's client and replica call on a Ray actor, over an `EngineThread`.

Owns: building the model and the engine, verl's names for parameters and results, sleep and the admission gate, and
weights that arrive in pieces. Refuses: importing verl or Ray. That keeps the actor's process two seconds and a hundred
megabytes smaller; `replica` makes an actor of the class, and tests call its methods directly.

Every method hands its work to the engine's thread and awaits the answer, so the event loop never waits for a forward
pass.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from env_tuning.verl_plugin.rollout.engine import EngineConfig, RolloutEngine
from env_tuning.verl_plugin.rollout.request import (
    Request,
    RequestError,
    Result,
    SamplingParams,
    StopReason,
    TokenOutput,
)
from env_tuning.verl_plugin.rollout.runner import EngineThread

T = TypeVar("T")
NamedArrays = Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What a server is made from.

    Attributes:
        model_path: A Hugging Face model folder: configuration, tokenizer, and weights if `load_weights` is True.
        engine: Sizes of the engine.
        prompt_length: verl's `rollout.prompt_length`.
        response_length: verl's `rollout.response_length`. A request that names no limit gets this many new tokens,
            less those by which its prompt already exceeds `prompt_length`: in later turns they are responses.
        threads: Threads of torch's operators. 1 is best below a million parameters, 2 above on two cores.
        load_weights: Read the folder's weights; False waits for the trainer to send some, and refuses to generate
            before.
        sleeps: Honour `sleep` and `wake_up` (verl's `free_cache_engine`).
        ignore_eos: Default of the sampling parameter of that name.
    """

    model_path: str
    engine: EngineConfig = field(default_factory=EngineConfig)
    prompt_length: int = 512
    response_length: int = 512
    threads: int = 1
    load_weights: bool = False
    sleeps: bool = True
    ignore_eos: bool = False


class TransformersServer:
    """One model behind verl's server interface."""

    def __init__(self, config: ServerConfig) -> None:
        torch.set_num_threads(config.threads)
        if config.engine.reproducible:
            torch.use_deterministic_algorithms(True, warn_only=True)
        self._config = config
        self._staged: list[tuple[str, torch.Tensor]] = []
        self._has_weights = config.load_weights
        self._asleep = False
        self._gated = False
        self._rejecting = False
        model = _build_model(config)
        engine = RolloutEngine(model, config.engine, eos_ids=eos_ids(config.model_path), decode=_decoder(config))
        # verl's metrics need a number; 0 is the step before the first update.
        engine.version = 0 if config.load_weights else None
        self._thread = EngineThread(engine)

    async def ready(self) -> int:
        """Answer once the model is built; returns the process id."""
        return os.getpid()

    # Generation.

    async def generate(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        image_data: Sequence[Any] | None = None,
        video_data: Sequence[Any] | None = None,
        episode_id: str | None = None,
    ) -> TokenOutput:
        """Generate one assistant message.

        Args:
            request_id: verl's id of the request, a new one for each turn.
            prompt_ids: The whole conversation so far.
            sampling_params: verl's names (see `SamplingParams.from_mapping`), and `logprobs`.
            image_data: Must be empty.
            video_data: Must be empty.
            episode_id: Names the episode for `release` and `abort`; `request_id` if not given.

        Raises:
            RequestError: This request cannot be served as asked.
            StepError: The forward pass that this request was in failed.
        """
        if image_data or video_data:
            raise RequestError("the transformers rollout serves text only")
        if not self._has_weights:
            raise RuntimeError(
                "no weights have been sent to the rollout server yet, so there is nothing to sample from"
            )
        if self._rejecting:
            return await self._rejection()
        params = self._read(sampling_params, len(prompt_ids))
        request = Request(request_id=episode_id or request_id, prompt_ids=prompt_ids, params=params)
        result = await asyncio.wrap_future(self._thread.submit(request))
        return _token_output(result, with_log_probs=bool(sampling_params.get("logprobs")))

    def _read(self, values: Mapping[str, Any], prompt_tokens: int) -> SamplingParams:
        given = {"ignore_eos": self._config.ignore_eos, **values}
        if given.get("max_tokens") is None and given.get("max_new_tokens") is None:
            given.pop("max_new_tokens", None)
            left = self._config.prompt_length + self._config.response_length - prompt_tokens
            given["max_tokens"] = max(1, min(self._config.response_length, left))
        return SamplingParams.from_mapping(given)

    async def _rejection(self) -> TokenOutput:
        version = await self._on_engine(lambda engine: engine.version)
        extra = {"global_steps": version, "num_cached_tokens": 0, "finish_reason": StopReason.ABORTED.value}
        return TokenOutput(token_ids=[], log_probs=[], stop_reason="aborted", extra_fields=extra)

    async def release(self, episode_id: str) -> None:
        """Free what is kept for an episode that has ended."""
        await self._on_engine(lambda engine: engine.release(episode_id))

    async def abort_request(self, request_id: str) -> dict[str, Any]:
        """Call back the requests of one episode."""
        count = await self._on_engine(lambda engine: engine.abort(request_id))
        return {"aborted": count > 0, "request_id": request_id}

    async def abort_all_requests(self, reject_request: bool = False) -> dict[str, int]:
        """Call back all requests and close the gate until `resume_generation`.

        Args:
            reject_request: Answer requests that come meanwhile with `aborted`, rather than hold them.
        """
        self._gated, self._rejecting = True, reject_request
        await self._apply_pause()
        return {"aborted_count": await self._on_engine(lambda engine: engine.abort_all())}

    async def resume_generation(self) -> None:
        """Open the gate again."""
        self._gated = self._rejecting = False
        await self._apply_pause()

    # Weights and memory.

    async def load_weights(self, named: NamedArrays, version: int | None, final: bool = True) -> None:
        """Take a part of a full set of weights; with the last part, the model changes from the old set to the new.

        Args:
            named: Names and numpy arrays in float32.
            version: The trainer's step; stamped on what is generated from now on.
            final: Whether this is the last part. Until then the parts wait, so that no step ever sees a mixture.

        Raises:
            ValueError: The set does not fit the model, which stays as it was.
        """
        # Ray's arrays are read-only views of its object store; torch wants memory of its own.
        self._staged.extend((name, torch.as_tensor(np.require(array, requirements="W"))) for name, array in named)
        if not final:
            return
        complete, self._staged = self._staged, []
        await self._on_engine(lambda engine: engine.load_weights(complete, version))
        self._has_weights = True

    async def drop_staged_weights(self) -> None:
        """Forget parts that arrived without a last one, as when the sender failed midway."""
        self._staged = []

    async def wake_up(self, tags: Sequence[str] | None = None) -> None:
        """Generate again. Waking for `weights` alone only announces new ones, and changes nothing here."""
        if tags is None or "kv_cache" in tags:
            self._asleep = False
            await self._apply_pause()

    async def sleep(self) -> None:
        """Leave the processor to the trainer; requests wait."""
        self._asleep = self._config.sleeps
        await self._apply_pause()

    async def clear_kv_cache(self) -> None:
        """Drop all kept KV."""
        await self._on_engine(lambda engine: engine.forget_kv())

    async def release_kv_cache(self) -> None:
        """Drop all kept KV and give its memory back."""
        await self._on_engine(lambda engine: engine.give_memory_back())

    async def resume_kv_cache(self) -> None:
        """Nothing to do: memory is allocated as it is needed."""

    async def start_profile(self, **_: Any) -> None:
        """Nothing to do: torch's profiler is the trainer's."""

    async def stop_profile(self) -> None:
        """Nothing to do."""

    async def stats(self) -> dict[str, int]:
        """The engine's counts (see `RolloutEngine.stats`), and `kv_bytes`."""
        return await self._on_engine(lambda engine: {**engine.stats, "kv_bytes": engine.kv_bytes})

    async def shutdown(self) -> None:
        """End the engine's thread; requests under way fail."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.close)

    async def _apply_pause(self) -> None:
        # Sleep and gate are set and lifted by different callers; either is enough to pause.
        paused = self._asleep or self._gated

        def apply(engine: RolloutEngine) -> None:
            engine.paused = paused

        await self._on_engine(apply)

    async def _on_engine(self, function: Callable[[RolloutEngine], T]) -> T:
        future: Future[T] = self._thread.call(function)
        return await asyncio.wrap_future(future)


def eos_ids(model_path: str) -> list[int]:
    """End-of-sequence tokens of the tokenizer, the model's configuration and its generation configuration."""
    from transformers import AutoConfig, GenerationConfig

    found = [AutoConfig.from_pretrained(model_path).eos_token_id]
    if (Path(model_path) / "generation_config.json").is_file():
        found.append(GenerationConfig.from_pretrained(model_path).eos_token_id)
    if _has_tokenizer(model_path):
        found.append(_tokenizer(model_path).eos_token_id)
    flat = [item for value in found for item in (value if isinstance(value, list) else [value])]
    return sorted({item for item in flat if item is not None})


def _has_tokenizer(model_path: str) -> bool:
    return any((Path(model_path) / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def _tokenizer(model_path: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_path)


def _decoder(config: ServerConfig) -> Callable[[list[int]], str] | None:
    if not _has_tokenizer(config.model_path):
        return None
    tokenizer = _tokenizer(config.model_path)
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _build_model(config: ServerConfig) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    if config.load_weights:
        return AutoModelForCausalLM.from_pretrained(config.model_path, dtype=torch.float32)
    shape = AutoConfig.from_pretrained(config.model_path)
    return AutoModelForCausalLM.from_config(shape, dtype=torch.float32)


def _token_output(result: Result, *, with_log_probs: bool) -> TokenOutput:
    reason = {StopReason.ABORTED: "aborted", StopReason.LENGTH: "length"}.get(result.stop_reason, "completed")
    extra = {
        "global_steps": result.last_version,
        "min_global_steps": result.first_version,
        "max_global_steps": result.last_version,
        "num_cached_tokens": result.reused_tokens,
        "finish_reason": result.stop_reason.value,
    }
    log_probs = result.log_probs if with_log_probs else None
    return TokenOutput(token_ids=result.token_ids, log_probs=log_probs, stop_reason=reason, extra_fields=extra)
