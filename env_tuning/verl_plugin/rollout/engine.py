"""Continuous batching over a plain transformers model on the CPU, with KV kept between the turns of an episode.

Owns: which request sits in which slot, what each step computes, reuse of earlier work, when a request ends, and new
weights between steps. Refuses: threads and asyncio (`runner`), verl, text beyond one decode callable for stop strings.

One step is one forward pass over the next token of every decoding slot and a budget of prompt tokens of the slots that
are still being filled. A slot's state is three numbers: `length` tokens are known, `computed` of them have KV, and a
slot that lacks exactly one is decoding. Everything else follows from that. A turn that continues an episode takes its
slot over and lacks only the new tokens; the rollouts of one group copy the prompt that the first of them computes; new
weights set `computed` to 0.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel

from env_tuning.verl_plugin.rollout.request import SEED_LIMIT, Request, RequestError, Result, StepError, StopReason
from env_tuning.verl_plugin.rollout.sampling import choose_tokens
from env_tuning.verl_plugin.rollout.slots import ATTENTION_NAME, Run, SlotMemory, StepLayout
from env_tuning.verl_plugin.rollout.table import NO_TOKEN, SlotTable
from env_tuning.verl_plugin.rollout.weights import copy_weights

MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3"})


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Sizes of the engine.

    Attributes:
        max_slots: Most requests at work at once, and most episodes whose KV is kept.
        max_length: Most tokens of prompt and output together.
        prefill_tokens: Most prompt tokens computed in one step; longer prompts take several, while others decode.
        min_shared_tokens: Shorter common prefixes are computed again rather than copied.
        keep_kv: Keep KV after a request ends and share prompts; False computes every prompt in full.
        seed: Seed of every draw that has no seed of its own.
        reproducible: One request at a time, each computed from nothing and in tensors of the same shapes: the output
            of a request with a seed then depends on weights and request alone, to the last bit, whatever came before
            or waits. `max_slots`, `prefill_tokens` and `keep_kv` do not count then. Slower.
    """

    max_slots: int = 64
    max_length: int = 4096
    prefill_tokens: int = 2048
    min_shared_tokens: int = 16
    keep_kv: bool = True
    seed: int = 0
    reproducible: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a size that cannot work."""
        for name in ("max_slots", "prefill_tokens", "min_shared_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_length < 2:
            raise ValueError(f"max_length must leave room for a prompt and an output, got {self.max_length}")
        if not 0 <= self.seed < SEED_LIMIT:
            raise ValueError(f"seed must lie in [0, 2**63), got {self.seed}")

    def settled(self) -> EngineConfig:
        """The sizes that count."""
        if not self.reproducible:
            return self
        return replace(self, max_slots=1, prefill_tokens=self.max_length, keep_kv=False)


@dataclass(slots=True)
class _Waiting:
    request: Request
    future: Future[Result]
    prompt: np.ndarray
    arrival: int


@dataclass(slots=True)
class _Work:
    request: Request
    future: Future[Result]
    reused: int
    first_version: int | None = None


class RolloutEngine:
    """The engine, driven by calls to `step` from one thread.

    ```python
    engine = RolloutEngine(model, EngineConfig(max_slots=8, max_length=512), eos_ids=[2])
    future = engine.add(Request(request_id="episode-1", prompt_ids=[5, 6, 7]))
    engine.run_until_idle()
    print(future.result().token_ids)
    ```

    Attributes:
        version: Version of the weights, as given to `load_weights`; None before.
        paused: While True, `step` does nothing; requests may still be added and aborted.
        stats: Counts since the start: `steps`, `prefill_tokens` (computed), `reused_tokens` (not computed, because
            their KV was kept or copied), `decode_tokens` (computed one at a time), `finished`, `failed`, `evicted`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: EngineConfig,
        *,
        eos_ids: Sequence[int] = (),
        decode: Callable[[list[int]], str] | None = None,
    ) -> None:
        """Take the model over: its attention function is replaced, and its weights by `load_weights`.

        Args:
            model: A causal language model in fp32 on the CPU, of a type in `MODEL_TYPES`.
            config: Sizes.
            eos_ids: Tokens that end every output, unless a request says `ignore_eos`.
            decode: Tokens to text, with special tokens kept; needed for stop strings only.

        Raises:
            ValueError: The model's architecture is not one whose attention this engine can compute.
        """
        _require_supported(model)
        config = config.settled()
        model.set_attn_implementation(ATTENTION_NAME)
        self._model = model.eval()
        self._head = model.get_output_embeddings()
        self._config = config
        self._eos_ids = tuple(dict.fromkeys(int(token) for token in eos_ids))
        self._decode_text = decode
        shape = model.config
        head_dim = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
        self._memory = SlotMemory(
            layers=shape.num_hidden_layers,
            kv_heads=shape.num_key_value_heads,
            head_dim=head_dim,
            max_rows=config.max_slots,
            max_length=config.max_length,
        )
        self.version: int | None = None
        self.paused = False
        self.stats: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()
        self._arrivals = itertools.count()
        self._table = SlotTable(
            self._memory,
            slots=config.max_slots,
            max_length=config.max_length,
            min_shared=config.min_shared_tokens,
            keep=config.keep_kv,
        )
        self._work: list[_Work | None] = [None] * config.max_slots
        self._with_stop_strings: set[int] = set()
        self._watched: set[int] = set()

    # Requests.

    @property
    def has_work(self) -> bool:
        """Whether any request is waiting or under way."""
        return bool(self._waiting) or self._table.active > 0

    @property
    def kv_bytes(self) -> int:
        """Bytes of KV memory held now (see `SlotMemory`)."""
        return self._memory.nbytes

    def add(self, request: Request, future: Future[Result] | None = None) -> Future[Result]:
        """Queue a request. What is wrong with it, now or later, becomes its future's exception."""
        future = future if future is not None else Future()
        try:
            prompt = self._read_prompt(request)
        except RequestError as error:
            self._fail(future, error)
        else:
            self._waiting.append(_Waiting(request, future, prompt, next(self._arrivals)))
        return future

    def _read_prompt(self, request: Request) -> np.ndarray:
        vocabulary = self._model.config.vocab_size
        try:
            prompt = np.asarray(request.prompt_ids)
        except ValueError as error:
            raise RequestError(f"the prompt is not a list of token ids: {error}") from error
        if not prompt.size:
            raise RequestError("the prompt is empty")
        if prompt.ndim != 1 or prompt.dtype.kind not in "iu":
            raise RequestError(
                f"the prompt must be a flat list of integers, got {prompt.dtype} of shape {prompt.shape}"
            )
        if len(prompt) >= self._config.max_length:
            raise RequestError(
                f"the prompt has {len(prompt)} tokens and leaves no room to generate: the context length is "
                f"{self._config.max_length} (rollout.max_model_len, or prompt_length + response_length)"
            )
        if prompt.min() < 0 or prompt.max() >= vocabulary:
            wrong = prompt[(prompt < 0) | (prompt >= vocabulary)][0]
            raise RequestError(f"token id {wrong} in the prompt is outside the vocabulary of {vocabulary}")
        if request.params.stop and self._decode_text is None:
            raise RequestError("stop strings need a tokenizer, and this engine was made without one")
        return prompt.astype(np.int64)

    def abort(self, request_id: str) -> int:
        """Call back every request of that id; they resolve with what they have. Returns how many there were."""
        return self._abort(lambda request: request.request_id == request_id)

    def abort_all(self) -> int:
        """Call back every request. Returns how many there were."""
        return self._abort(lambda request: True)

    def _abort(self, chosen: Callable[[Request], bool]) -> int:
        waiting = [item for item in self._waiting if chosen(item.request)]
        self._waiting = deque(item for item in self._waiting if not chosen(item.request))
        for item in waiting:
            self._resolve(item.future, self._empty_result())
        slots = [slot for slot in self._table.active_slots() if chosen(self._work_of(slot).request)]
        self._finish(slots, StopReason.ABORTED)
        return len(waiting) + len(slots)

    def _empty_result(self) -> Result:
        return Result(
            token_ids=[],
            log_probs=[],
            stop_reason=StopReason.ABORTED,
            reused_tokens=0,
            first_version=self.version,
            last_version=self.version,
        )

    def fail_all(self, error: BaseException) -> None:
        """End every request with `error` and forget all KV."""
        for item in self._waiting:
            self._fail(item.future, error)
        self._waiting.clear()
        self._lose(self._table.active_slots(), error)
        self.forget_kv()

    # Kept KV and weights.

    def release(self, request_id: str) -> None:
        """Free what is kept for an episode that has ended. A request of it that is under way goes on."""
        self._table.release(request_id)

    def forget_kv(self) -> None:
        """Drop all KV. Requests under way compute theirs again."""
        self._table.forget()

    def give_memory_back(self) -> None:
        """Drop all KV and the memory it lay in; the next step allocates anew."""
        self.forget_kv()
        self._memory.release()

    def load_weights(self, named: Iterable[tuple[str, torch.Tensor]], version: int | None) -> None:
        """Replace all weights between two steps, and drop all KV, which belongs to the old ones.

        Requests under way go on under the new weights after computing their KV again; their results name both versions.

        Raises:
            ValueError: Names or shapes do not fit, or weights are missing; the old weights stay.
        """
        copy_weights(self._model, named)
        self.version = version
        self.forget_kv()

    # One step.

    def run_until_idle(self) -> None:
        """Step until nothing is left to do."""
        while self.has_work and not self.paused:
            self.step()

    def step(self) -> None:
        """Admit what fits, compute one forward pass, and resolve what ended in it."""
        if self.paused:
            return
        self._admit()
        if not self._table.active:
            return
        decoding = self._table.slot_at[: self._table.decoding].copy()
        runs = self._plan_runs()
        planned = np.concatenate([decoding, self._table.slot_at[[run.row for run in runs]]]) if runs else decoding
        try:
            with torch.inference_mode():
                self._advance(decoding, runs)
        except Exception as error:
            # Whatever a forward pass raises (memory, a kernel, a bug in the model) concerns the requests in it alone.
            lost = [slot for slot in planned if self._work[slot] is not None]
            self._lose(lost, StepError(f"the forward pass failed: {type(error).__name__}: {error}"))

    def _plan_runs(self) -> list[Run]:
        """The next prompt tokens of the filling rows, oldest first, within the budget."""
        runs, budget = [], self._config.prefill_tokens
        for row in range(self._table.decoding, self._table.active):
            slot = self._table.slot_at[row]
            start = int(self._table.computed[slot])
            count = min(int(self._table.length[slot]) - start, budget)
            if not count:
                break
            runs.append(Run(row, start, count))
            budget -= count
        return runs

    def _advance(self, decoding: np.ndarray, runs: list[Run]) -> None:
        hidden = self._forward(decoding, runs)
        # Nothing above this line changed any state, so a failed forward pass leaves only KV beyond `computed` behind.
        self._table.computed[decoding] += 1
        filled, last = [], list(range(len(decoding)))
        end = len(decoding)
        for run in runs:
            slot = int(self._table.slot_at[run.row])
            self._table.computed[slot] += run.count
            end += run.count
            if self._table.computed[slot] == self._table.length[slot]:
                filled.append(slot)
                last.append(end - 1)
        self.stats["steps"] += 1
        self.stats["decode_tokens"] += len(decoding)
        self.stats["prefill_tokens"] += end - len(decoding)
        for slot in filled:
            self._table.start_decoding(slot)
        slots = np.concatenate([decoding, np.array(filled, dtype=np.int64)]) if filled else decoding
        if len(slots):
            self._extend(slots, self._head(hidden[last] if runs else hidden).float())

    def _forward(self, decoding: np.ndarray, runs: list[Run]) -> torch.Tensor:
        """Final hidden states `[T, hidden]` of the decoding slots' next tokens, then of the runs' tokens."""
        positions = [self._table.computed[decoding]]
        tokens = [self._table.tokens[decoding, positions[0]]]
        for run in runs:
            stop = run.start + run.count
            positions.append(np.arange(run.start, stop))
            tokens.append(self._table.tokens[self._table.slot_at[run.row], run.start : stop])
        flat_positions = np.concatenate(positions)
        rows = max([len(decoding), *(run.row + 1 for run in runs)])
        # Kernels may add up in another order when the distance between rows changes, as it does when memory grows.
        length = self._config.max_length if self._config.reproducible else int(flat_positions.max()) + 1
        self._memory.reserve(rows, length)
        layout = StepLayout(self._memory, torch.from_numpy(positions[0]), runs)
        output = self._model.base_model(
            input_ids=torch.from_numpy(np.concatenate(tokens))[None],
            position_ids=torch.from_numpy(flat_positions)[None],
            use_cache=False,
            slot_layout=layout,
        )
        return output.last_hidden_state[0]

    def _extend(self, slots: np.ndarray, logits: torch.Tensor) -> None:
        """Append one sampled token to every slot, and finish those that end with it."""
        lengths = self._table.length[slots]
        generated = lengths - self._table.prompt_length[slots]
        tokens, log_probs = choose_tokens(
            logits,
            uniforms=torch.from_numpy(self._table.uniforms[slots, generated]),
            temperatures=torch.from_numpy(self._table.temperature[slots]),
            top_ks=torch.from_numpy(self._table.top_k[slots]),
            top_ps=torch.from_numpy(self._table.top_p[slots]),
            forbidden=self._forbidden(slots, lengths < self._table.stoppable_from[slots]),
        )
        chosen = tokens.numpy()
        self._table.tokens[slots, lengths] = chosen
        self._table.log_probs[slots, lengths] = log_probs.numpy()
        self._table.length[slots] = lengths + 1
        for slot in slots[lengths == self._table.prompt_length[slots]]:
            self._work_of(slot).first_version = self.version
        broken = ~np.isfinite(log_probs.numpy())
        stopped = (chosen[:, None] == self._table.stop_ids[slots]).any(1) & ~broken
        in_text = self._ends_in_stop_string(slots) & ~(broken | stopped)
        full = (lengths + 1 >= self._table.last_length[slots]) & ~(broken | stopped | in_text)
        if self._watched:
            self._tell(slots[~(broken | stopped)])
        if broken.any():
            self._lose(slots[broken], StepError("the model's logits are not finite: its weights have diverged"))
        self._finish(slots[stopped], StopReason.STOP_TOKEN)
        self._finish(slots[in_text], StopReason.STOP_STRING)
        self._finish(slots[full], StopReason.LENGTH)

    def _tell(self, slots: np.ndarray) -> None:
        for slot in self._watched.intersection(slots.tolist()):
            watcher = self._work_of(slot).request.on_token
            assert watcher is not None, "only requests with a watcher are watched"
            watcher(int(self._table.tokens[slot, self._table.length[slot] - 1]))

    def _forbidden(self, slots: np.ndarray, too_early: np.ndarray) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Row and token indices of the stop tokens of slots that have not reached `min_tokens`."""
        if not too_early.any():
            return None
        stop_ids = self._table.stop_ids[slots]
        rows, columns = np.nonzero((stop_ids != NO_TOKEN) & too_early[:, None])
        return torch.from_numpy(rows), torch.from_numpy(stop_ids[rows, columns])

    def _ends_in_stop_string(self, slots: np.ndarray) -> np.ndarray:
        """Which slots' text came to contain a stop string with the last token; True per position in `slots`."""
        found = np.zeros(len(slots), dtype=bool)
        if self._with_stop_strings:
            for index, slot in enumerate(slots.tolist()):
                found[index] = slot in self._with_stop_strings and self._spells_stop_string(slot)
        return found

    def _spells_stop_string(self, slot: int) -> bool:
        end = int(self._table.length[slot])
        if end <= self._table.stoppable_from[slot]:
            return False
        assert self._decode_text is not None, "requests with stop strings are refused without a tokenizer"
        stop = self._work_of(slot).request.params.stop
        # A token spells at least one byte, so a string that ends in the last token began within this many tokens; four
        # more keep the bytes of a character that the window would cut in two.
        window = max(len(text.encode()) for text in stop) + 4
        start = max(int(self._table.prompt_length[slot]), end - window)
        text = self._decode_text(self._table.tokens[slot, start:end].tolist())
        return any(ending in text for ending in stop)

    # Admission: which slot a request gets, and how much of its prompt is there already.

    def _admit(self) -> None:
        """Give waiting requests slots, in order of arrival.

        A request whose prompt begins with one that is being computed right now waits for it and copies: of a group's
        identical prompts, one is computed.
        """
        delayed: list[_Waiting] = []
        while self._waiting and not self._table.is_full:
            item = self._waiting.popleft()
            if item.future.cancelled():
                continue
            source, match = self._table.longest_prefix(item.prompt)
            ready = min(match, int(self._table.computed[source])) if match else 0
            if ready < match and self._table.is_filling(source):
                delayed.append(item)
            else:
                self._place(item, source, ready)
        self._waiting.extendleft(reversed(delayed))

    def _place(self, item: _Waiting, source: int, ready: int) -> None:
        """Start a request in a slot of its own, with the first `ready` tokens' KV taken from `source`."""
        params = item.request.params
        size = len(item.prompt)
        slot = self._table.take(item.request.request_id, source, ready)
        self._work[slot] = _Work(item.request, item.future, ready)
        room = self._config.max_length - size
        outputs = room if params.max_tokens is None else min(params.max_tokens, room)
        table = self._table
        table.tokens[slot, :size] = item.prompt
        table.length[slot] = table.prompt_length[slot] = size
        table.last_length[slot] = size + outputs
        table.stoppable_from[slot] = size + min(params.min_tokens, outputs)
        table.temperature[slot] = params.temperature
        table.top_k[slot] = min(params.top_k, self._model.config.vocab_size)
        table.top_p[slot] = params.top_p
        self._set_stop(slot, item.request)
        # The messages of an episode share its seed; each continues a longer conversation than the one before.
        key = (self._config.seed, item.arrival + 1) if params.seed is None else (params.seed, size)
        if params.temperature > 0:
            draws = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64)))
            table.uniforms[slot, :outputs] = draws.random(outputs, dtype=np.float32)
        self.stats["reused_tokens"] += ready
        self.stats["evicted"] = table.evicted
        if size - ready == 1:
            table.start_decoding(slot)

    def _set_stop(self, slot: int, request: Request) -> None:
        params = request.params
        ids = tuple(params.stop_token_ids) + (() if params.ignore_eos else self._eos_ids)
        ids = tuple(token for token in dict.fromkeys(ids) if 0 <= token < self._model.config.vocab_size)
        self._table.set_stop_ids(slot, ids)
        (self._with_stop_strings.add if params.stop else self._with_stop_strings.discard)(slot)
        (self._watched.add if request.on_token else self._watched.discard)(slot)

    def _work_of(self, slot: int) -> _Work:
        work = self._work[slot]
        assert work is not None, f"slot {slot} is idle"
        return work

    def _retire(self, slot: int) -> None:
        self._table.retire(slot)
        self._work[slot] = None
        self._with_stop_strings.discard(slot)
        self._watched.discard(slot)

    # Ends.

    def _finish(self, slots: Iterable[int], reason: StopReason) -> None:
        for slot in self._table.from_last_row(slots):
            work = self._work_of(slot)
            span = slice(int(self._table.prompt_length[slot]), int(self._table.length[slot]))
            result = Result(
                token_ids=self._table.tokens[slot, span].tolist(),
                log_probs=self._table.log_probs[slot, span].tolist(),
                stop_reason=reason,
                reused_tokens=work.reused,
                first_version=work.first_version if span.start < span.stop else self.version,
                last_version=self.version,
            )
            self._retire(slot)
            self._resolve(work.future, result)

    def _lose(self, slots: Iterable[int], error: BaseException) -> None:
        """End requests with an error; their KV is not to be trusted."""
        for slot in self._table.from_last_row(slots):
            work = self._work_of(slot)
            self._table.spoil(slot)
            self._retire(slot)
            self._fail(work.future, error)

    def _resolve(self, future: Future[Result], result: Result) -> None:
        self.stats["finished"] += 1
        try:
            future.set_result(result)
        except InvalidStateError:
            assert future.cancelled(), "only its caller's cancellation resolves a request elsewhere"

    def _fail(self, future: Future[Result], error: BaseException) -> None:
        self.stats["failed"] += 1
        try:
            future.set_exception(error)
        except InvalidStateError:
            assert future.cancelled(), "only its caller's cancellation resolves a request elsewhere"


def _require_supported(model: PreTrainedModel) -> None:
    config = model.config
    if config.model_type not in MODEL_TYPES:
        raise ValueError(f"model type {config.model_type!r} is not supported; one of {sorted(MODEL_TYPES)} is")
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise ValueError(
            "sliding-window attention is not supported; set use_sliding_window=false in the model's config"
        )
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise ValueError(f"rope_type {rope!r} turns keys by the sequence's length, so kept KV would be wrong")
    if model.dtype != torch.float32:
        raise ValueError(
            f"the model must be in float32 for log-probabilities equal to the trainer's, got {model.dtype}"
        )
