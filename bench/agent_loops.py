"""What a model turn costs besides the model: our agent loop and verl's tool agent, with a model that answers at once.

`python bench/agent_loops.py` takes two minutes, `--quick` half a minute; `--json FILE` writes the figures,
`--profile` shows where our time goes. Both sides run in this process, in turn, on one event loop: the same tokenizer,
the same messages token by token, the same tools, ten model turns an episode (nine calls, one answer). Every call and
every result is a new text, so nothing of them can be remembered. Groups of 8 share their request.

    wall, cpu      milliseconds per model turn: the whole batch, divided by its model turns; medians of the rounds
    ratio          verl's processor time through ours, median of the rounds: on a busy machine wall time says little

Ours is whole episodes: environment, judging, trajectory, reward and verl's output record. verl's is `ToolAgentLoop.run`
alone, its objects made beforehand, which in training takes another 1.8 ms an episode.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import itertools
import json
import pstats
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from figures import save
from omegaconf import DictConfig, OmegaConf
from transformers import PreTrainedTokenizerFast
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema

from env_tuning.calls import ToolCall
from env_tuning.environments.schemas import tool_docs_of
from env_tuning.environments.tool_class import ToolClass
from env_tuning.model.tokenizer import train_tokenizer
from env_tuning.protocols import Hermes
from env_tuning.verl_plugin.agent_loop import InteractionAgentLoop

ROOT = Path(__file__).parents[1]
GROUP = 8
TURNS = 10
REQUEST = "Look the keys of list {number} up, one after the other, and say when you are done."
TOOLS = (1, 5, 20, 30)

# verl gives its tools to the chat template; this one lists them as Qwen's does, and is plain ChatML otherwise.
TEMPLATE = (
    "{%- if tools -%}{{- '<|im_start|>system\n# Tools\n<tools>' -}}"
    "{%- for tool in tools -%}{{- '\n' + (tool | tojson) -}}{%- endfor -%}{{- '\n</tools><|im_end|>\n' -}}{%- endif -%}"
    "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\n' + message['content'] -}}"
    "{%- for call in message.tool_calls or [] -%}"
    "{{- '\n<tool_call>\n' + (call.function | tojson) + '\n</tool_call>' -}}{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def _lookup(number: int) -> Callable[[Any, str], str]:
    def lookup(self: Any, key: str) -> str:
        return f"the value of {key} is {key[::-1]}"

    lookup.__name__ = f"lookup_{number:02}"
    lookup.__doc__ = f"Look a key up in table {number}.\n\nArgs:\n    key: what to look up.\n"
    lookup.__annotations__ = {"key": str, "return": str}
    return lookup


def _tables(count: int) -> type[ToolClass]:
    return type(f"Tables{count}", (ToolClass,), {f"lookup_{number:02}": _lookup(number) for number in range(count)})


Tables1, Tables5, Tables20, Tables30 = map(_tables, TOOLS)


@dataclass(frozen=True, kw_only=True)
class Script:
    """What the model writes in one episode: tokens and log-probabilities of every message."""

    group: int
    messages: tuple[tuple[list[int], list[float]], ...]


class Instant:
    """A model that answers without a wait, from scripts; requests of one id get the messages of one script."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._free = iter(scripts)
        self._left: dict[str, Iterator[tuple[list[int], list[float]]]] = {}

    async def generate(self, request_id: str, *, prompt_ids: list[int], **_: Any) -> Any:
        """Verl's client's method; the prompt is not looked at."""
        left = self._left.get(request_id)
        if left is None:
            left = self._left[request_id] = iter(next(self._free).messages)
        await asyncio.sleep(0)
        tokens, log_probs = next(left)
        return SimpleNamespace(
            token_ids=list(tokens),
            log_probs=list(log_probs),
            stop_reason="completed",
            num_preempted=None,
            routed_experts=None,
            extra_fields={"min_global_steps": 1, "max_global_steps": 1},
        )


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The embedded model's kind of tokenizer, learned from the documents of the tools."""
    texts = [json.dumps(schema) for schema in schemas(20)] * 50 + [REQUEST, "The keys are looked up."] * 50
    tokenizer = train_tokenizer(texts, pieces=1024)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def schemas(count: int) -> list[dict[str, Any]]:
    """The tools as chat templates see them."""
    return [
        {
            "type": "function",
            "function": {"name": doc.name, "description": doc.description, "parameters": dict(doc.parameters)},
        }
        for doc in tool_docs_of(globals()[f"Tables{count}"])
    ]


def make_scripts(tokenizer: Any, episodes: int, keys: Iterator[int], turns: int = TURNS) -> list[Script]:
    """One script for every episode, each call with a key that was never used before."""
    writer = Hermes()

    def message(text: str) -> tuple[list[int], list[float]]:
        tokens = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        return tokens, [-0.5] * len(tokens)

    def script(episode: int) -> Script:
        calls = [
            writer.write_calls([ToolCall(name="lookup_00", arguments={"key": f"k{next(keys)}"})])
            for _ in range(turns - 1)
        ]
        return Script(group=episode // GROUP, messages=tuple(map(message, [*calls, "The keys are looked up."])))

    return [script(episode) for episode in range(episodes)]


def make_config(tools: int) -> DictConfig:
    """The keys that both loops read."""
    rollout = {
        "prompt_length": 32_768,
        "response_length": 32_768,
        "max_model_len": None,
        "full_determinism": False,
        "multi_turn": {
            "max_user_turns": None,
            "max_assistant_turns": None,
            "max_parallel_calls": 1,
            "max_tool_response_length": 100_000,
            "tool_response_truncate_side": "middle",
            "format": "hermes",
        },
    }
    rules = {"steps_per_turn": 1000}
    interaction = {"protocol": "hermes", "tools": [f"agent_loops:Tables{tools}"], "rules": rules}
    return OmegaConf.create(
        {
            "actor_rollout_ref": {"rollout": rollout, "model": {"path": str(ROOT / "bench")}},
            "data": {},
            "reward": {"custom_reward_function": {"path": None}},
            "env_tuning": {
                "reward": "progress",
                "reward_placement": "last",
                "max_message_tokens": None,
                "min_message_tokens": 16,
                "interactions": {
                    "dialogue": {
                        "class_name": "env_tuning.interaction.dialogue:DialogueInteraction",
                        "config": interaction,
                    }
                },
            },
        }
    )


def common(config: DictConfig, tokenizer: Any, server: Any) -> dict[str, Any]:
    """What verl gives to every agent loop."""
    return {
        "trainer_config": DictConfigWrap(config),
        "server_manager": server,
        "tokenizer": tokenizer,
        "processor": None,
        "dataset_cls": None,
        "data_config": DictConfigWrap(config.data),
        "hf_model_type": "qwen3",
    }


class Ours:
    """Our loop, made once as `EpisodeWorker` does."""

    def __init__(self, tools: int, tokenizer: Any) -> None:
        self._loop = InteractionAgentLoop(**common(make_config(tools), tokenizer, None))

    def episodes(self, scripts: Sequence[Script]) -> list[Coroutine[Any, Any, Any]]:
        """The coroutines of a batch."""
        self._loop.server_manager = Instant(scripts)
        return [self._loop.run({}, **self.row(script.group)) for script in scripts]

    @staticmethod
    def row(group: int) -> dict[str, Any]:
        """A row of the data."""
        record = {"id": f"lookup_{group}", "turns": [REQUEST.format(number=group)]}
        kwargs = {"name": "dialogue", "dialogue": json.dumps(record)}
        return {"raw_prompt": [], "interaction_kwargs": kwargs, "data_source": "lookup", "global_steps": 1}


class Theirs:
    """verl's loop, an object for every episode."""

    def __init__(self, tools: int, tokenizer: Any) -> None:
        self._config, self._tokenizer = make_config(tools), tokenizer
        instance = globals()[f"Tables{tools}"]({})
        self._tools = [
            FunctionTool(
                name=schema["function"]["name"],
                fn=getattr(instance, schema["function"]["name"]),
                tool_schema=OpenAIFunctionToolSchema.model_validate(schema),
            )
            for schema in schemas(tools)
        ]

    def episodes(self, scripts: Sequence[Script]) -> list[Coroutine[Any, Any, Any]]:
        """The coroutines of a batch."""
        given = common(self._config, self._tokenizer, Instant(scripts))
        loops = [ToolAgentLoop(**given, tools=ToolListWrap(self._tools)) for _ in scripts]
        return [
            loop.run({}, raw_prompt=[{"role": "user", "content": REQUEST.format(number=script.group)}])
            for loop, script in zip(loops, scripts, strict=True)
        ]


def timed(side: Ours | Theirs, scripts: Sequence[Script]) -> np.ndarray:
    """Milliseconds of wall time and of processor time per model turn of one batch."""

    async def play() -> tuple[list[Any], np.ndarray]:
        coroutines = side.episodes(scripts)
        gc.collect()
        before = clocks()
        outputs = await asyncio.gather(*coroutines)
        return outputs, clocks() - before

    outputs, seconds = asyncio.run(play())
    # A loop that ends an episode early would look fast.
    written = sum(len(tokens) for script in scripts for tokens, _ in script.messages)
    assert sum(sum(output.response_mask) for output in outputs) == written, "an episode did not take all messages"
    return 1000 * seconds / sum(len(script.messages) for script in scripts)


def clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def measure(tokenizer: Any, tools: int, episodes: int, rounds: int, keys: Iterator[int]) -> dict[str, float]:
    """The figures of one combination: a warm-up, then both sides in turn."""
    sides = Ours(tools, tokenizer), Theirs(tools, tokenizer)
    seen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number in range(rounds + 1):
        for side, times in zip(sides, seen, strict=True):
            taken = timed(side, make_scripts(tokenizer, episodes, keys))
            if number:
                times.append(taken)
    ours, theirs = (np.array(times) for times in seen)
    return {
        "ours_wall_ms": float(np.median(ours[:, 0])),
        "ours_cpu_ms": float(np.median(ours[:, 1])),
        "verl_wall_ms": float(np.median(theirs[:, 0])),
        "verl_cpu_ms": float(np.median(theirs[:, 1])),
        "ratio": statistics.median((theirs[:, 1] / ours[:, 1]).tolist()),
    }


def profile(tokenizer: Any, tools: int, episodes: int) -> None:
    """Where the time of our episodes goes."""
    keys, side = itertools.count(), Ours(tools, tokenizer)
    timed(side, make_scripts(tokenizer, episodes, keys))
    scripts = make_scripts(tokenizer, episodes, keys)
    profiler = cProfile.Profile()
    profiler.enable()
    timed(side, scripts)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer combinations and rounds")
    parser.add_argument("--profile", action="store_true", help="profile 64 of our episodes with 20 tools, nothing else")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    # `agent_loops:Tables20` has to be this module, not a second copy of it.
    sys.modules["agent_loops"] = sys.modules["__main__"]
    tokenizer = make_tokenizer()
    if options.profile:
        profile(tokenizer, 20, 64)
        return
    combinations = [(1, 64), (20, 64)] if options.quick else [(t, c) for c in (1, 64, 256) for t in TOOLS]
    keys, figures = itertools.count(), {}
    print("| episodes at once | tools | ours, ms wall (cpu) | verl, ms wall (cpu) | ratio |\n|---|---|---|---|---|")
    for tools, episodes in combinations:
        rounds = 3 if options.quick else {1: 25, 64: 7, 256: 3}[episodes]
        found = figures[f"{episodes} episodes, {tools} tools"] = measure(tokenizer, tools, episodes, rounds, keys)
        print(
            f"| {episodes} | {tools} | {found['ours_wall_ms']:.2f} ({found['ours_cpu_ms']:.2f}) "
            f"| {found['verl_wall_ms']:.2f} ({found['verl_cpu_ms']:.2f}) | {found['ratio']:.1f}x |",
            flush=True,
        )
    save(options.json, figures, {f"model turn, {name}": found["ratio"] for name, found in figures.items()})


if __name__ == "__main__":
    main()
