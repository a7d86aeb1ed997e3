"""Rules on lengths, measured with the model's own tokenizer on what episodes really show.

Owns: whether openings, solutions and messages fit into the configured numbers of tokens. Refuses: guessing: a solution
is a `demonstration`, which came out of a real episode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from env_tuning.calls import parse_call
from env_tuning.data.demonstrations import Message, Pacing, demonstration, name_arguments
from env_tuning.doctor.evidence import Evidence
from env_tuning.doctor.finding import Finding, Severity
from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.interaction.multi_turn import rules_of
from env_tuning.task import Task


def lengths(evidence: Evidence) -> Iterator[Finding]:
    """Openings fit into the prompt, and solutions of training and validation tasks into response and messages."""
    limit = int(evidence.get("data.max_prompt_length", 0))
    longest: tuple[int, str] = (0, "")
    for files, what in ((evidence.train, "training"), (evidence.validation, "validation")):
        tasks = [task for file in files for task in file.tasks]
        openings = [evidence.render(evidence.opening(task), generation_prompt=True) for task in tasks]
        tokens = zip(_counted(evidence, openings, limit), (task.id for task in tasks), strict=True)
        longest = max([longest, *tokens])
        yield from _solutions(evidence, tasks, what)
        yield from _messages(evidence, tasks, what)
    yield from fits(*longest, "the opening", "data.max_prompt_length", limit)


def _solutions(evidence: Evidence, tasks: Sequence[Task], what: str) -> Iterator[Finding]:
    """First turns must fit, whole solutions should."""
    limit = int(evidence.get("data.max_response_length", 0))
    played = solutions(evidence, tasks, validate=what == "validation")
    tokens = _counted(evidence, [_response(evidence, messages) for messages in played], limit)
    too_long = [at for at, count in enumerate(tokens) if count > limit]
    if what == "training":
        # Opening, then the calls of the first turn and their results if it has any, then its answer.
        first = [played[at][: 5 if tasks[at].ground_truth[0] else 3] for at in too_long]
        turns = _counted(evidence, [_response(evidence, messages) for messages in first], limit)
        most = max(zip(turns, (tasks[at].id for at in too_long), strict=True), default=(0, ""))
        yield from fits(*most, "the first turn's solution", "data.max_response_length", limit)
    if too_long:
        yield Finding(
            key="data.max_response_length",
            problem=f"data.max_response_length={limit} does not hold the whole solution of {len(too_long)} of "
            f"{len(tasks)} {what} tasks, such as {tasks[too_long[0]].id}: they cannot be solved",
            fix=f"set data.max_response_length={_round_up(max(tokens))} to hold them all",
            severity=Severity.ERROR if len(too_long) == len(tasks) else Severity.WARNING,
        )


def _messages(evidence: Evidence, tasks: Sequence[Task], what: str) -> Iterator[Finding]:
    """No call of a solution is longer than a message may be, even alone."""
    limit = evidence.get("env_tuning.max_message_tokens")
    if limit is None:
        return
    written = {task.id: _calls_alone(evidence, task) for task in tasks}
    texts = list(dict.fromkeys(text for texts in written.values() for text in texts))
    tokens = dict(zip(texts, _counted(evidence, texts, int(limit)), strict=True))
    too_long = [name for name, texts in written.items() if any(tokens[text] > int(limit) for text in texts)]
    if too_long:
        yield Finding(
            key="env_tuning.max_message_tokens",
            problem=f"env_tuning.max_message_tokens={limit} does not hold a call that the solution of "
            f"{len(too_long)} of {len(tasks)} {what} tasks needs, such as {too_long[0]}: they cannot be solved",
            fix=f"set env_tuning.max_message_tokens={_round_up(max(tokens.values()))} to hold them all",
            severity=Severity.ERROR if len(too_long) == len(tasks) else Severity.WARNING,
        )


def solutions(evidence: Evidence, tasks: Sequence[Task], *, validate: bool) -> list[list[Message]]:
    """The messages of a perfect episode of every task, all calls of a turn in one message."""
    settings = evidence.tool_settings
    padded = any(task.long_context for task in tasks)
    padding = LongContext.load(Path(settings["long_context_file"])) if padded else None
    return [
        demonstration(
            task,
            protocol=evidence.protocol,
            listing=evidence.listing,
            version=evidence.version,
            pacing=Pacing.TOGETHER,
            long_context=padding,
            rules=rules_of(settings, validate=validate),
        )
        for task in tasks
    ]


def positions(evidence: Evidence) -> Iterator[Finding]:
    """The longest episode has no more tokens than the model has positions, or the engine a context."""
    prompt, response = (int(evidence.get(f"data.max_{part}_length", 0)) for part in ("prompt", "response"))
    if evidence.shape is not None and evidence.shape.positions and prompt + response > evidence.shape.positions:
        yield Finding(
            key="data.max_response_length",
            problem=f"data.max_prompt_length={prompt} and data.max_response_length={response} are together more than "
            f"the model's {evidence.shape.positions} positions (max_position_embeddings of its config.json)",
            fix=f"set data.max_response_length={evidence.shape.positions - prompt}",
        )
    context = evidence.get("actor_rollout_ref.rollout.max_model_len")
    if context is not None and int(context) < prompt + response:
        yield Finding(
            key="actor_rollout_ref.rollout.max_model_len",
            problem=f"actor_rollout_ref.rollout.max_model_len={context} ends episodes before data.max_prompt_length + "
            f"data.max_response_length = {prompt + response} tokens",
            fix=f"set it to {prompt + response} or to null",
            severity=Severity.ERROR if int(context) <= prompt else Severity.WARNING,
        )


def token_budget(evidence: Evidence) -> Iterator[Finding]:
    """A micro-batch holds the longest episode: verl asserts it after the first rollout (utils/seqlen_balancing.py)."""
    longest = sum(int(evidence.get(f"data.max_{part}_length", 0)) for part in ("prompt", "response"))
    actor, rollout, ref = (f"actor_rollout_ref.{role}" for role in ("actor", "rollout", "ref"))
    budgets = {
        f"{actor}.ppo_max_token_len_per_gpu": f"{actor}.use_dynamic_bsz",
        f"{rollout}.log_prob_max_token_len_per_gpu": f"{rollout}.log_prob_use_dynamic_bsz",
        f"{ref}.log_prob_max_token_len_per_gpu": f"{ref}.log_prob_use_dynamic_bsz",
    }
    if evidence.has_critic:
        budgets["critic.ppo_max_token_len_per_gpu"] = "critic.use_dynamic_bsz"
    split = int(evidence.get(f"{actor}.ulysses_sequence_parallel_size", 1))
    small = [key for key, dynamic in budgets.items() if evidence.get(dynamic, False)]
    small = [key for key in small if int(evidence.get(key, longest)) * split < longest]
    if small:
        # The others follow the actor's unless they were set apart.
        yield Finding(
            key=small[0],
            problem=f"{small[0]}={evidence.get(small[0])} does not hold an episode of data.max_prompt_length + "
            f"data.max_response_length = {longest} tokens" + (f" (nor do {', '.join(small[1:])})" if small[1:] else ""),
            fix=f"set {small[0]}={_round_up(-(-longest // split))}, or lower data.max_response_length",
        )


def fits(tokens: int, task: str, what: str, key: str, limit: int) -> Iterator[Finding]:
    """A finding if something of a task takes more tokens than a key allows."""
    if tokens > limit:
        yield Finding(
            key=key,
            problem=f"{key}={limit} is too small: {what} of {task} takes {tokens} tokens",
            fix=f"set {key}={_round_up(tokens)}",
        )


def _response(evidence: Evidence, messages: Sequence[Message]) -> str:
    """The rendering of a dialogue after its opening."""
    whole, opening = (evidence.render(part, generation_prompt=False) for part in (messages, messages[:2]))
    return whole.removeprefix(opening)


def _counted(evidence: Evidence, texts: Sequence[str], limit: int) -> list[int]:
    """Tokens of texts, 0 for those that cannot have more than `limit`: a token has at least one byte."""
    long = [at for at, text in enumerate(texts) if len(text.encode()) > limit]
    counts = [0] * len(texts)
    for at, count in zip(long, evidence.count([texts[at] for at in long]), strict=True):
        counts[at] = count
    return counts


def _calls_alone(evidence: Evidence, task: Task) -> list[str]:
    """Every call of the solution as a message of its own."""
    documents = {tool.name: tool for tool in task.tools}
    calls = (parse_call(text) for turn in task.ground_truth for text in turn)
    return [evidence.protocol.write_calls([name_arguments(call, documents[call.name])]) for call in calls]


def _round_up(tokens: int) -> int:
    return -(-tokens // 256) * 256
