"""Tokens per second of the rollout engine: one wave of requests, and episodes of several turns with and without kept KV.

`python bench/rollout_engine.py [--threads 1] [--hidden 64 --layers 2] [--episodes 32]`; about a minute by default.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import Future

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from env_tuning.verl_plugin.rollout.engine import EngineConfig, RolloutEngine
from env_tuning.verl_plugin.rollout.request import Request, Result, SamplingParams

VOCABULARY = 384


def make_model(hidden: int, layers: int) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        vocab_size=VOCABULARY,
        intermediate_size=2 * hidden,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def tokens(count: int, source: random.Random) -> list[int]:
    return source.choices(range(VOCABULARY), k=count)


def wave(engine: RolloutEngine, prompts: list[list[int]], new_tokens: int) -> tuple[list[Result], float]:
    """Generate for all prompts at once; returns the results and the seconds."""
    params = SamplingParams(max_tokens=new_tokens)
    start = time.perf_counter()
    futures: list[Future[Result]] = [
        engine.add(Request(request_id=str(index), prompt_ids=prompt, params=params))
        for index, prompt in enumerate(prompts)
    ]
    engine.run_until_idle()
    return [future.result() for future in futures], time.perf_counter() - start


def single_turn(model: Qwen3ForCausalLM, repeats: int = 3) -> None:
    source = random.Random(0)
    engine = RolloutEngine(model, EngineConfig(max_slots=64, max_length=512))
    seconds = []
    for _ in range(repeats):
        engine.forget_kv()
        seconds.append(wave(engine, [tokens(64, source) for _ in range(64)], 128)[1])
    print(f"64 requests x 128 new tokens (prompts of 64): {64 * 128 / min(seconds):,.0f} tokens/s")


def multi_turn(model: Qwen3ForCausalLM, episodes: int, *, group: int, keep_kv: bool, turns: int = 6) -> float:
    """Episodes in lock step: 700 prompt tokens, then per turn 60 generated and 60 of context. Returns seconds."""
    source = random.Random(0)
    engine = RolloutEngine(model, EngineConfig(max_slots=episodes, max_length=2048, keep_kv=keep_kv))
    contexts = [prompt for _ in range(episodes // group) for prompt in [tokens(700, source)] * group]
    total = 0.0
    for _ in range(turns):
        results, seconds = wave(engine, contexts, 60)
        total += seconds
        contexts = [
            [*context, *result.token_ids, *tokens(60, source)]
            for context, result in zip(contexts, results, strict=True)
        ]
    made = episodes * turns * 60
    print(
        f"  {'KV kept' if keep_kv else 'full prefill each turn':22} {made / total:8,.0f} tokens/s {total:6.1f} s   "
        f"computed {engine.stats['prefill_tokens']:,} prompt tokens, reused {engine.stats['reused_tokens']:,}, "
        f"KV {engine.kv_bytes / 2**20:.0f} MiB"
    )
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = make_model(arguments.hidden, arguments.layers)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters, {arguments.threads} thread(s)")
    single_turn(model)
    for group in (1, 8):
        print(f"{arguments.episodes} episodes x 6 turns, groups of {group}:")
        naive = multi_turn(model, arguments.episodes, group=group, keep_kv=False)
        kept = multi_turn(model, arguments.episodes, group=group, keep_kv=True)
        print(f"  {naive / kept:.1f} times as fast")


if __name__ == "__main__":
    main()
