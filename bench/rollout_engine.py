"""Tokens per second of the rollout engine: one wave against transformers' `generate`, episodes with and without reuse.

Seconds of wall time and of processor time; on a busy machine with one thread, the latter is the one to compare.
`generate` has its best case: prompts of one length, outputs of one length, nothing to pad.

`python bench/rollout_engine.py [--threads 1] [--hidden 64 --layers 2] [--episodes 32] [--json FILE]`; a minute.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import torch
from figures import save
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


def clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def wave(engine: RolloutEngine, prompts: list[list[int]], new_tokens: int) -> tuple[list[Result], np.ndarray]:
    """Generate for all prompts at once; returns the results, and seconds of wall and of processor time."""
    params = SamplingParams(max_tokens=new_tokens)
    start = clocks()
    futures: list[Future[Result]] = [
        engine.add(Request(request_id=str(index), prompt_ids=prompt, params=params))
        for index, prompt in enumerate(prompts)
    ]
    engine.run_until_idle()
    return [future.result() for future in futures], clocks() - start


def generated(model: Qwen3ForCausalLM, prompts: list[list[int]], new_tokens: int) -> tuple[np.ndarray, torch.Tensor]:
    """The same wave by transformers' own `generate`; both seconds, and prompts with outputs."""
    start = clocks()
    made = model.generate(
        torch.tensor(prompts),
        do_sample=True,
        top_k=0,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        use_cache=True,
    )
    assert made.shape == (len(prompts), len(prompts[0]) + new_tokens)
    return clocks() - start, made


def single_turn(hidden: int, layers: int, repeats: int = 5) -> float:
    """Both ways in turn; returns how many times as fast the engine is, in processor time."""
    source = random.Random(0)
    plain = make_model(hidden, layers)
    engine = RolloutEngine(make_model(hidden, layers), EngineConfig(max_slots=64, max_length=512))
    seconds: dict[str, list[np.ndarray]] = {"engine": [], "generate": []}
    for _ in range(repeats):
        prompts = [tokens(64, source) for _ in range(64)]
        engine.forget_kv()
        seconds["engine"].append(wave(engine, prompts, 128)[1])
        seconds["generate"].append(generated(plain, prompts, 128)[0])
    for name, found in seconds.items():
        wall, processor = 64 * 128 / np.median(found, axis=0)
        print(f"64 requests x 128 new tokens, {name:8}: {wall:,.0f} tokens/s ({processor:,.0f} per processor second)")
    pairs = zip(seconds["generate"], seconds["engine"], strict=True)
    return float(np.median([theirs[1] / ours[1] for theirs, ours in pairs]))


def multi_turn(model: Qwen3ForCausalLM, episodes: int, *, group: int, keep_kv: bool, turns: int = 6) -> np.ndarray:
    """Episodes in lock step: 700 prompt tokens, then per turn 60 generated and 60 of context.

    Returns:
        seconds of wall time, of processor time, and prompt tokens that were computed.
    """
    source = random.Random(0)
    engine = RolloutEngine(model, EngineConfig(max_slots=episodes, max_length=2048, keep_kv=keep_kv))
    contexts = [prompt for _ in range(episodes // group) for prompt in [tokens(700, source)] * group]
    total = np.zeros(2)
    for _ in range(turns):
        results, seconds = wave(engine, contexts, 60)
        total += seconds
        contexts = [
            [*context, *result.token_ids, *tokens(60, source)]
            for context, result in zip(contexts, results, strict=True)
        ]
    made = episodes * turns * 60
    name = "KV kept" if keep_kv else "full prefill each turn"
    computed, reused = engine.stats["prefill_tokens"], engine.stats["reused_tokens"]
    print(
        f"  {name:22} {made / total[0]:7,.0f} tokens/s, {total[0]:5.1f} s ({total[1]:.1f} processor), prompt tokens "
        f"computed {computed:,}, reused {reused:,}, KV {engine.kv_bytes / 2**20:.0f} MiB"
    )
    return np.append(total, computed)


def multi_turn_generated(model: Qwen3ForCausalLM, episodes: int, turns: int = 6) -> np.ndarray:
    """The episodes of `multi_turn` by `generate`, which reads the whole context in every turn, as TRL's trainer has it.

    Returns:
        seconds of wall time and of processor time.
    """
    source = random.Random(0)
    contexts = [tokens(700, source) for _ in range(episodes)]
    total = np.zeros(2)
    for _ in range(turns):
        seconds, made = generated(model, contexts, 60)
        total += seconds
        contexts = [[*row, *tokens(60, source)] for row in made.tolist()]
    rate = episodes * turns * 60 / total[0]
    print(f"  {'transformers.generate':22} {rate:7,.0f} tokens/s, {total[0]:5.1f} s ({total[1]:.1f} processor)")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--json", type=Path, help="where the ratios go")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = make_model(arguments.hidden, arguments.layers)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters, {arguments.threads} thread(s)")
    ratios = {"rollout, tokens against generate": single_turn(arguments.hidden, arguments.layers)}
    print("  {:.1f} times as fast in processor time".format(*ratios.values()))
    plain = multi_turn_generated(make_model(arguments.hidden, arguments.layers), arguments.episodes)
    for group in (1, 8):
        print(f"{arguments.episodes} episodes x 6 turns, groups of {group}:")
        naive = multi_turn(model, arguments.episodes, group=group, keep_kv=False)
        kept = multi_turn(model, arguments.episodes, group=group, keep_kv=True)
        print("  {:.1f} times as fast ({:.1f} in processor time, {:.1f} in prompt tokens)".format(*(naive / kept)))
        print("  {:.1f} times as fast as generate ({:.1f} in processor time)".format(*(plain / kept[:2])))
        ratios[f"rollout, turns in groups of {group} against generate"] = float(plain[1] / kept[1])
        # Counted, not timed: this ratio is the same on every machine.
        ratios[f"rollout, prompt tokens spared in groups of {group}"] = float(naive[2] / kept[2])
    save(arguments.json, {}, ratios)


if __name__ == "__main__":
    main()
