"""Output folders as training leaves them, written without training."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from env_tuning.calls import parse_call
from env_tuning.data.demonstrations import name_arguments
from env_tuning.data.rows import INTERACTION, task_row, write_rows
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.episode import Episode, Rules
from env_tuning.prepared_task import PreparedTask, prepare_task
from env_tuning.protocols import PromptVersion, ThinkAnswer
from env_tuning.task import Task, ToolDoc
from env_tuning.trajectory import (
    CallRecord,
    Hint,
    StepOutcome,
    StepRecord,
    StopReason,
    Trajectory,
    TurnFailure,
    TurnVerdict,
)
from env_tuning.verl_plugin.records import EpisodeRecord

EVIL = "<script>document.body.dataset.evil='yes'</script><img src=x onerror=\"document.body.dataset.evil='yes'\">"


def trajectory(task: str, *, right: bool, text: str = "plain", turns: int = 2) -> Trajectory:
    """Two turns: the first right, with a hint; the second right, or with a failed call and the wrong results.

    More `turns` than two are never reached.
    """
    hint = Hint(rule="cd.missing", category="state_prerequisite", kind="remedy", text="List the folder first.")
    first = CallRecord("cd", {"folder": text}, '{"error": "no such folder"}', "error", hint)
    second = CallRecord(
        "cat", {"file_name": "a.txt"}, "ok" if right else '{"error": "no file"}', "ok" if right else "error"
    )
    verdict = TurnVerdict(1, True) if right else TurnVerdict(
        1, False, TurnFailure.STATE, mismatched_classes=("GorillaFileSystem",), missing_responses=("the expected text",)
    )  # fmt: skip
    return Trajectory(
        task_id=task,
        split="multi_turn_base",
        turns=turns,
        steps=(
            StepRecord(0, f"<think>{text}</think>", StepOutcome.CALLS_FAILED, (first,), "Results: no such folder"),
            StepRecord(0, "<answer>done</answer>", StepOutcome.ANSWER, (), "The second request", True),
            StepRecord(1, "<think>two</think>", StepOutcome.CALLS_OK, (second,), "Results: ..."),
            StepRecord(1, "<answer>done</answer>", StepOutcome.ANSWER, (), "", True),
        ),
        verdicts=(TurnVerdict(0, True), verdict),
        stop=StopReason.COMPLETED if turns == 2 else StopReason.RESPONSE_LENGTH,
        system_prompt="You call tools.",
        first_request=f"The first request {text}",
    )


def dump_line(step: int, uid: str, group: int, played: Trajectory, score: float) -> str:
    record = EpisodeRecord(
        uid=uid, group=group, data_source=played.split, score=score, numbers={"score": score, "reward/format": 0.5},
        trained_tokens=30, response_tokens=90, trajectory=played.to_dict(),
    )  # fmt: skip
    return record.line(step)


def step_event(step: int, total: int, reward: float) -> dict[str, Any]:
    return {
        "event": "step", "step": step, "total": total, "reward": reward, "reward/format": reward / 2, "kl": 0.01 * step,
        "entropy": 0.2, "grad_norm": 0.1, "stop/completed": 1.0, "response_tokens": 90.0, "trained_tokens": 30.0,
        "splits": {"multi_turn_base": {"episodes": 4, "correct_turns": reward, "all_correct": 0.0}},
    }  # fmt: skip


def append(file: Path, *lines: dict[str, Any] | str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


def write_stage(folder: Path, name: str, *, steps: int, ended: bool = True, text: str = "plain") -> Path:
    """Two groups of four a step; a validation and a gate at the start and at the end."""
    progress = folder / "progress.jsonl"
    append(progress, {"event": "start", "stage": name}, {"event": "ready", "step": 0, "total": steps})
    for step in range(steps + 1):
        if step:
            append(progress, step_event(step, steps, step / steps))
            append(folder / "rollouts" / f"{step}.jsonl", *_two_groups(step, text))
        if step in (0, steps):
            splits = {"multi_turn_base": {"correct_turns": 0.5}, "multi_turn_miss_func": {"correct_turns": 0.25}}
            append(progress, {"event": "validation", "step": step, "score": 0.5, "splits": splits})
            append(
                folder / "validation" / f"{step}.jsonl", dump_line(step, "v", 0, trajectory("val_0", right=True), 1.0)
            )
            verdict = "advance" if step and ended else "continue"
            append(progress, {"event": "gate", "step": step, "verdict": verdict, "reason": "a reason", "figures": {}})
    if ended:
        decision = {"verdict": "advance", "reason": "plateaued", "step": steps, "best_step": steps, "figures": {}}
        (folder / "outcome.json").write_text(json.dumps({"step": steps, "total": steps, "decision": decision}))
    return folder


def _two_groups(step: int, text: str) -> list[str]:
    played = [(task, member, member % 2 == 0) for task in (f"base_{step}", "base_0") for member in range(4)]
    return [
        dump_line(step, f"{step}.{task}", member, trajectory(task, right=right, text=text), float(right))
        for task, member, right in played
    ]


COUNTER = "counter:Counter"


def counting_task(name: str = "count_0") -> Task:
    """Three turns on a counter: add 2, reset and read, read."""
    document = {"type": "dict", "properties": {"amount": {"type": "integer"}}, "required": []}
    return Task(
        id=name, split="counting", user_turns=("Add 2.", "Reset and read.", "Read."),
        initial_config=json.dumps({COUNTER: {"value": 1}}), tool_classes=(COUNTER,),
        tools=tuple(ToolDoc(name=tool, description=".", parameters=document) for tool in ("add", "reset", "read")),
        ground_truth=(("add(2)",), ("reset()", "read()"), ("read()",)),
    )  # fmt: skip


def played(task: Task, *turns: Sequence[str], rules: Rules | None = None) -> Trajectory:
    """An episode in which every turn makes these calls, one a step, and then answers."""
    return play_prepared(prepare_task(task, protocol=ThinkAnswer()), turns, rules, lambda: "I call.")


def play_prepared(
    prepared: PreparedTask, turns: Sequence[Sequence[str]], rules: Rules | None, thought: Callable[[], str]
) -> Trajectory:
    protocol = prepared.protocol
    documents = {tool.name: tool for tool in prepared.task.tools}
    episode = Episode(prepared, rules)
    for calls in turns:
        for call in calls:
            parsed = parse_call(call)
            named = name_arguments(parsed, documents[parsed.name]) if parsed.positional else parsed
            episode.step(protocol.write_calls([named], thought()))
        episode.step(protocol.write_answer("Done.", "Done."))
    if not episode.over:
        episode.cut(StopReason.RESPONSE_LENGTH)
    return episode.trajectory()


def write_counting(folder: Path, *episodes: Trajectory, tasks: Sequence[Task] = (), phase: str = "rollouts") -> Path:
    """A stage of one step whose episodes, one group, were really played, with its data file beside it."""
    _write_data(folder, tasks or [counting_task()])
    append(folder / "progress.jsonl", {"event": "start", "stage": "counting"}, step_event(1, 1, 0.5))
    append(folder / "progress.jsonl", {"event": "validation", "step": 1, "score": 0.5})
    lines = [dump_line(1, "u", number, episode, 0.0) for number, episode in enumerate(episodes)]
    append(folder / phase / "1.jsonl", *lines)
    return folder


def _write_data(folder: Path, tasks: Sequence[Task], padding: Path | None = None) -> None:
    """The data file of a run, and the configuration that names it."""
    data = folder / "data" / "counting.parquet"
    data.parent.mkdir(parents=True)
    rows = [
        task_row(task, ThinkAnswer(), version=PromptVersion.V1, split="train", index=number)
        for number, task in enumerate(tasks)
    ]
    write_rows(rows, data)
    settings = {"rules": {"steps_per_turn": 10}, "long_context_file": None if padding is None else str(padding)}
    config = {
        "data": {"train_files": str(data), "val_files": [str(data)]},
        "env_tuning": {"interactions": {INTERACTION: {"config": settings}}},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def write_large(folder: Path, tasks: Sequence[Task], padding: Path, *, steps: int, rows: int) -> None:
    """A stage of `steps` times `rows` episodes, in groups of eight, of real tasks.

    Every call of the reference is left out with probability 0.2, and thoughts are random words, 30 for a call: as much
    text as real runs have, and less alike.
    """
    words = [f"word{number}" for number in range(3000)]
    dice = random.Random(1)
    _write_data(folder, tasks, padding)
    long_context = LongContext.load(padding)
    prepared = [prepare_task(task, protocol=ThinkAnswer(), long_context=long_context) for task in tasks]
    events = [step_event(step, steps, 0.5) for step in range(1, steps + 1)]
    append(folder / "progress.jsonl", {"event": "start", "stage": "large"}, *events)
    for step in range(1, steps + 1):
        lines = []
        for row in range(rows):
            one = prepared[(step * rows + row) // 8 % len(prepared)]
            calls = [[call for call in turn if dice.random() < 0.8] for turn in one.task.ground_truth]
            episode = play_prepared(one, calls, Rules(steps_per_turn=40), lambda: " ".join(dice.choices(words, k=30)))
            lines.append(
                dump_line(step, f"{step}.{row // 8}", row % 8, episode, episode.correct_turns / one.task.turns)
            )
        append(folder / "rollouts" / f"{step}.jsonl", *lines)
