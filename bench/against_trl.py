"""Stage 1 with our trainer and with TRL's GRPOTrainer: seconds a step, start-up, processes and memory.

`python bench/against_trl.py [--steps 8] [--rounds 3] [--model FOLDER] [--json FILE]`. Both sides start from nothing in
processes of their own, in turn, and train the same model on the same tasks with the same protocol, environments, reward
and judge: 4 tasks x 8 episodes a step (`--groups`, `--members`), one update, a KL loss of 0.1 against the start, fp32,
messages of at most 128 tokens, temperature 1, no validation, and no checkpoint before the last step.

TRL plays through `environment_factory` with plain generation. Its environments are made for tools, not for users who
speak several times, so the environment hosts our `Episode` behind one tool, and every message of the model counts as a
call of it; the chat template writes the conversation as ours does. It is used as favourably as that allows: no tool
schema is rendered, and an episode that is over generates nothing more.

    step        seconds between the ends of two steps, median without the first
    CPU         processor seconds of all processes in the same time
    start-up    from the command to the end of the first step
    peak        the largest sum of proportional set sizes of all processes, sampled every two seconds

`--rollouts` compares the playing of a step's episodes alone, without verl's processes and without an update: our agent
loop over our engine in one process, TRL's `_generate` in another, the same tasks on both sides, by processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from figures import save

ROOT = Path(__file__).parents[1]
TASKS = ROOT / "processed_data" / "bfcl_v3" / "train_format_75.parquet"
MESSAGE, RESPONSE = 128, 3072
LEARNING_RATE, KL = 4e-4, 0.1
WARM_UP = 1


@dataclass(frozen=True, kw_only=True)
class Load:
    """What both sides train.

    Attributes:
        model: its folder.
        steps: all of them, the first one included.
        groups: tasks in a step.
        members: episodes of a task.
        threads: of torch.
    """

    model: Path
    steps: int
    groups: int
    members: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one run gave.

    Attributes:
        seconds: of every step after the warm-up.
        cpu: processor seconds of the same steps.
        tokens: prompts and responses of an episode, mean.
        startup: seconds to the end of the first step.
        phases: seconds after the start at which something was reached.
        peak_mib: largest memory of all processes together, and then of each.
        memory: MiB by process at that moment.
    """

    seconds: list[float]
    cpu: list[float]
    tokens: float
    startup: float
    phases: dict[str, float]
    peak_mib: float
    memory: dict[str, float]

    @property
    def row(self) -> str:
        """Of the table of `main`."""
        return (
            f"{statistics.median(self.seconds):.2f} | {statistics.median(self.cpu):.2f} | {self.tokens:.0f} "
            f"| {self.startup:.1f} | {len(self.memory)} | {self.peak_mib / 1024:.2f} |"
        )


@dataclass
class Watch:
    """Looks at a process and its descendants: who they are, what they hold, how much processor time they have had."""

    root: psutil.Process
    started: float = field(default_factory=time.monotonic)
    peak_mib: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)
    _spent: dict[int, float] = field(default_factory=dict)
    _looked: float = 0.0

    def look(self) -> tuple[float, float]:
        """Seconds since the start, and processor seconds of all processes so far, those that ended included."""
        memory: dict[str, float] = {}
        now = time.monotonic()
        members = [self.root, *self.root.children(recursive=True)]
        weigh = now - self._looked > 2.0
        for process in members:
            try:
                times = process.cpu_times()
                self._spent[process.pid] = times.user + times.system
                if weigh:
                    memory[f"{process.pid} {_name(process)}"] = process.memory_full_info().pss / 2**20
            except psutil.Error:  # it ended meanwhile
                continue
        if weigh:
            self._looked = now
            if sum(memory.values()) > self.peak_mib:
                self.peak_mib, self.memory = sum(memory.values()), memory
        return now - self.started, sum(self._spent.values())


def _name(process: psutil.Process) -> str:
    """What a process is, in a word."""
    line = " ".join(process.cmdline())
    known = {
        "env_tuning.verl_plugin.main": "trainer",
        "env_tuning.cli": "launcher",
        "gcs_server": "Ray: gcs",
        "raylet": "Ray: raylet",
        "log_monitor": "Ray: log monitor",
        "monitor.py": "Ray: monitor",
        "dashboard": "Ray: dashboard",
    }
    if line.startswith("ray::"):
        return line.split(".")[0].split("_actor")[0].split()[0]
    return next((name for part, name in known.items() if part in line), Path(line.split(" ")[0]).name)


def watched(command: list[str], events: Path, log: Path) -> Side:
    """Run a command to its end and read its events as they come; a failed one ends the benchmark."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)
    watch, seen, marks = Watch(psutil.Process(process.pid)), 0, []
    phases: dict[str, float] = {}
    tokens: list[float] = []
    while process.poll() is None:
        time.sleep(0.5)
        try:
            at, cpu = watch.look()
        except psutil.Error:
            break
        lines = events.read_text().splitlines() if events.is_file() else []
        for line in lines[seen:]:
            event = json.loads(line)
            phases.setdefault(event["event"], at)
            if event["event"] == "step":
                marks.append((at, cpu))
                tokens.append(event["prompt_tokens"] + event["response_tokens"])
        seen = len(lines)
    if process.wait() != 0 or len(marks) <= WARM_UP:
        raise SystemExit(f"failed with status {process.returncode}: {log.read_text()[-3000:]}")
    gaps = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(marks[WARM_UP - 1 :], marks[WARM_UP:], strict=False)]
    return Side(
        seconds=[seconds for seconds, _ in gaps],
        cpu=[cpu for _, cpu in gaps],
        tokens=statistics.mean(tokens),
        startup=marks[0][0],
        phases=phases,
        peak_mib=watch.peak_mib,
        memory=watch.memory,
    )


def ours(folder: Path, load: Load) -> Side:
    """`env-tuning train stage1`, as a user starts it."""
    output = folder / "ours"
    command = [
        *(sys.executable, "-m", "env_tuning.cli", "train", "stage1", "hardware=cpu"),
        *(f"actor_rollout_ref.model.path={load.model}", f"env_tuning.output_dir={output}"),
        *(f"env_tuning.threads={load.threads}", "trainer.total_epochs=1000"),
        *(f"trainer.total_training_steps={load.steps}", "trainer.val_before_train=false", "trainer.test_freq=1000"),
        *("trainer.save_freq=1000", "env_tuning.gate=null", f"data.max_response_length={RESPONSE}"),
        *(f"data.train_batch_size={load.groups}", f"actor_rollout_ref.rollout.n={load.members}"),
        *(f"actor_rollout_ref.actor.optim.lr={LEARNING_RATE}", f"actor_rollout_ref.actor.kl_loss_coef={KL}"),
    ]
    return watched(command, output / "progress.jsonl", folder / "ours.log")


def theirs(folder: Path, load: Load) -> Side:
    """This file again, as the process of TRL's trainer."""
    events = folder / "trl.jsonl"
    arguments = ["--trl-side", str(events)]
    for name, value in asdict(load).items():
        arguments += [f"--{name}", str(value)]
    return watched([sys.executable, str(Path(__file__).resolve()), *arguments], events, folder / "trl.log")


# TRL's side --------------------------------------------------------------------------------------------------------

# The conversation as the embedded model knows it: what a tool says is what the user says, and a call is a message.
TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- set role = 'user' if message.role == 'tool' else message.role -%}"
    "{{- '<|im_start|>' + role + '\n' -}}"
    "{%- if message.tool_calls -%}"
    "{%- for call in message.tool_calls -%}"
    "{%- if call.function.name == 'say' -%}{{- call.function.arguments.text -}}"
    "{%- else -%}{{- call.function | tojson -}}{%- endif -%}{%- endfor -%}"
    "{%- else -%}{{- message.content -}}{%- endif -%}"
    "{{- '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def train_with_trl(events: Path, load: Load, *, rollouts: bool = False) -> None:
    """Train to the end, an event after every step; with `rollouts` play as many batches instead."""
    import torch
    import trl.trainer.grpo_trainer as grpo
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback

    from env_tuning.data.rows import load_tasks
    from env_tuning.episode import Episode, Rules
    from env_tuning.prepared_task import prepare_task
    from env_tuning.protocols import ThinkAnswer, ToolListing
    from env_tuning.rewards.format import format_reward
    from env_tuning.trajectory import StopReason

    torch.set_num_threads(load.threads)
    rules = Rules(result_characters=800)
    prepared = [
        prepare_task(task, protocol=ThinkAnswer(), listing=ToolListing.SIGNATURES) for task in load_tasks(TASKS)
    ]

    class Talk:
        """An episode behind one tool."""

        def reset(self, **row: Any) -> None:
            """Open the episode of a row."""
            self._episode, self._next = Episode(prepared[row["task"]], rules), ""

        def _hear(self, text: str, ended: bool) -> bool:
            """Take a message of the model; whether there is more to say."""
            if not ended:
                self._episode.cut(StopReason.MESSAGE_LENGTH, text)
                return False
            reaction = self._episode.step(text)
            self._next = reaction.content
            return not reaction.over

        def say(self, text: str) -> str:
            """Say something.

            Args:
                text: what to say.
            """
            return self._next

        def get_reward(self) -> float:
            """The reward of stage 1."""
            return float(format_reward(self._episode.trajectory())["score"])

    tokenizer = AutoTokenizer.from_pretrained(load.model)
    tokenizer.chat_template, tokenizer.response_schema = TEMPLATE, {"type": "object"}
    turn: deque[Talk] = deque()

    def parse(ids: list[int], **_: Any) -> dict[str, Any]:
        """A message as a call of `say`, unless the episode is over; TRL asks in the order of its open episodes."""
        text = tokenizer.decode([token for token in ids if token != tokenizer.eos_token_id], skip_special_tokens=False)
        if not turn:
            turn.extend(trainer.environments)
        talk = turn.popleft()
        if not talk._hear(text, ids[-1] == tokenizer.eos_token_id):
            return {"role": "assistant", "content": text}
        turn.append(talk)
        call = {"type": "function", "function": {"name": "say", "arguments": {"text": text}}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}

    class Teller(TrainerCallback):
        """Events like those of our trainer."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            tell({"event": "ready"})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "completions/mean_length" in logs:
                lengths = {"prompt_tokens": prompt_tokens, "response_tokens": logs["completions/mean_length"]}
                tell({"event": "step", "reward": logs["reward"], **lengths})

    class Player(grpo.GRPOTrainer):
        """Knows what playing takes."""

        def _generate(self, prompts: list[Any]) -> Any:
            before = time.process_time()
            played = super()._generate(prompts)
            self.cpu = time.process_time() - before
            return played

    def tell(event: dict[str, Any]) -> None:
        append(events, event)

    tell({"event": "start"})
    tokenizer.parse_response = parse
    # TRL asks for the package that reads responses by a schema; `parse` needs none.
    grpo.is_jmespath_available = lambda: True
    rows = [{"prompt": Episode(task, rules).opening(), "task": index} for index, task in enumerate(prepared)]
    sizes = [len(tokenizer.apply_chat_template(row["prompt"], return_dict=False)) for row in rows]
    prompt_tokens = statistics.mean(sizes)
    with tempfile.TemporaryDirectory() as output:
        settings = grpo.GRPOConfig(
            output_dir=output,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=load.groups * load.members,
            num_generations=load.members,
            max_completion_length=RESPONSE,
            generation_kwargs={"max_new_tokens": MESSAGE},
            learning_rate=LEARNING_RATE,
            beta=KL,
            temperature=1.0,
            max_grad_norm=1.0,
            max_steps=load.steps,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=1,
        )
        trainer = Player(
            model=str(load.model),
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            environment_factory=Talk,
            callbacks=[Teller()],
        )
        if not rollouts:
            trainer.train()
            return
        for _ in range(load.steps):
            batch = [dict(rows[group]) for group in range(load.groups) for _ in range(load.members)]
            played = trainer._generate_and_score_completions(batch)
            written = int((played["tool_mask"] * played["completion_mask"]).sum())
            tell({"event": "batch", "cpu": trainer.cpu, "written": written})


def append(events: Path, event: dict[str, Any]) -> None:
    """Add a line."""
    with events.open("a") as file:
        file.write(json.dumps(event) + "\n")


# Our side, without verl's processes --------------------------------------------------------------------------------


def play_with_ours(events: Path, load: Load) -> None:
    """Play batches, an event after each."""
    import pandas as pd
    import torch
    from transformers import AutoTokenizer
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap

    from env_tuning.verl_plugin.agent_loop import InteractionAgentLoop
    from env_tuning.verl_plugin.compose import compose_config
    from env_tuning.verl_plugin.rollout.engine import EngineConfig
    from env_tuning.verl_plugin.rollout.server import ServerConfig, TransformersServer

    torch.set_num_threads(load.threads)
    overrides = ["hardware=cpu", f"actor_rollout_ref.model.path={load.model}", f"data.max_response_length={RESPONSE}"]
    os.environ["ENV_TUNING_HOME"] = str(ROOT)
    config = compose_config(ROOT / "configs", "stage1", overrides)
    rows = pd.read_parquet(TASKS).to_dict("records")[: load.groups]

    class Here:
        """The server, as verl's client shows it."""

        def __init__(self) -> None:
            engine = EngineConfig(max_slots=64, max_length=config.data.max_prompt_length + RESPONSE)
            self._server = TransformersServer(
                ServerConfig(model_path=str(load.model), engine=engine, threads=load.threads, load_weights=True)
            )
            self._released: set[asyncio.Task[None]] = set()

        async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
            return await self._server.generate(request_id, prompt_ids, {**sampling_params, "logprobs": True})

        def release(self, request_id: str) -> None:
            task = asyncio.create_task(self._server.release(request_id))
            self._released.add(task)
            task.add_done_callback(self._released.discard)

    async def play() -> None:
        loop = InteractionAgentLoop(
            trainer_config=DictConfigWrap(config),
            server_manager=Here(),
            tokenizer=AutoTokenizer.from_pretrained(load.model),
            processor=None,
            dataset_cls=None,
            data_config=DictConfigWrap(config.data),
            hf_model_type="qwen3",
        )
        for _ in range(load.steps):
            # New weights come before every step, and with them everything kept of the step before is void.
            await loop.server_manager._server.clear_kv_cache()
            before = time.process_time()
            episodes = [
                loop.run({"temperature": 1.0}, **{**row, "raw_prompt": row["prompt"]})
                for row in rows
                for _ in range(load.members)
            ]
            outputs = await asyncio.gather(*episodes)
            cpu = time.process_time() - before
            written = sum(sum(output.response_mask) for output in outputs)
            append(events, {"event": "batch", "cpu": cpu, "written": written})
        await loop.server_manager._server.shutdown()

    asyncio.run(play())


def compare_rollouts(load: Load) -> dict[str, float]:
    """Play both ways and print the table."""
    print("| side | tokens written a batch | CPU s a batch | tokens per CPU second |\n|---|---|---|---|")
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("trl", "ours"):
            events = Path(folder) / f"{name}.jsonl"
            arguments = [f"--{name}-rollouts", str(events)]
            for key, value in asdict(load).items():
                arguments += [f"--{key}", str(value)]
            environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
            subprocess.run([sys.executable, str(Path(__file__).resolve()), *arguments], check=True, env=environment)
            batches = [json.loads(line) for line in events.read_text().splitlines()]
            batches = [batch for batch in batches if batch["event"] == "batch"][WARM_UP:]
            written, cpu = (statistics.mean(batch[key] for batch in batches) for key in ("written", "cpu"))
            rates[name] = written / cpu
            print(f"| {name} | {written:,.0f} | {cpu:.2f} | {written / cpu:,.0f} |", flush=True)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, help="a model folder; without it, the embedded model")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--rollouts", action="store_true", help="compare the playing of episodes alone")
    for internal in ("--trl-side", "--trl-rollouts", "--ours-rollouts"):
        parser.add_argument(internal, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = options.model
    if model is None:
        from env_tuning.model.embedded import embedded_model

        model = embedded_model(ROOT / ".cache" / "models", TASKS.with_name("bfcl_train.parquet"))
    sizes = {name: getattr(options, name) for name in ("steps", "groups", "members", "threads")}
    load = Load(model=model.resolve(), **sizes)
    for side in (options.trl_side, options.trl_rollouts):
        if side:
            train_with_trl(side, load, rollouts=side is options.trl_rollouts)
            return
    if options.ours_rollouts:
        play_with_ours(options.ours_rollouts, load)
        return
    if options.rollouts:
        rates = compare_rollouts(load)
        save(options.json, rates, {"stage 1, tokens written per CPU second": rates["ours"] / rates["trl"]})
        return
    print("| side | s a step | CPU s a step | tokens an episode | start-up s | processes | peak GiB |")
    print("|---|---|---|---|---|---|---|")
    runs: list[dict[str, Side]] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            found = {}
            for name, side in (("TRL", theirs), ("ours", ours)):
                found[name] = side(Path(folder), load)
                print(f"| {name} | {found[name].row}", flush=True)
            runs.append(found)
    ratios = [statistics.median(run["ours"].seconds) / statistics.median(run["TRL"].seconds) for run in runs]
    print(f"\nours / TRL, seconds a step, median of the rounds: {statistics.median(ratios):.2f}")
    print("ours, seconds after the start:", {name: round(at, 1) for name, at in runs[-1]["ours"].phases.items()})
    for name, mib in sorted(runs[-1]["ours"].memory.items(), key=lambda item: -item[1]):
        print(f"  {mib:6.0f} MiB  {name}")
    figures = [{name: asdict(side) for name, side in run.items()} for run in runs]
    save(options.json, figures, {"stage 1, TRL's seconds a step": 1 / statistics.median(ratios)})


if __name__ == "__main__":
    main()
