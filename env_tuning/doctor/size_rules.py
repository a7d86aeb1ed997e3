"""Rules on numbers that have to divide one another, and on groups.

Owns: what verl asserts after minutes or after the first rollout, and what it mends silently. Refuses: lengths.
"""

from __future__ import annotations

from collections.abc import Iterator

from env_tuning.curriculum.gate import GateSettings
from env_tuning.doctor.evidence import Evidence
from env_tuning.doctor.finding import Finding, Severity, said_by

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
GROUPS = frozenset({"grpo", "grpo_vectorized", "grpo_passk", "gdpo", "rloo", "rloo_vectorized", "opo"})
"""Estimators that compare the rollouts of one prompt."""

CRITIC_ESTIMATORS = ("tppo", "poad", "appo")
"""Names of `verl_plugin.action_advantages`, which is not imported before the start."""


_UPDATE = (
    *("ppo_mini_batch_size", "ppo_micro_batch_size_per_gpu"),
    *("ppo_max_token_len_per_gpu", "ulysses_sequence_parallel_size"),
)
COUNTS = (
    *("data.train_batch_size", "data.gen_batch_size", "data.max_prompt_length", "data.max_response_length"),
    *(f"{_ROLLOUT}.{name}" for name in ("n", "max_num_seqs", "log_prob_max_token_len_per_gpu")),
    *(f"{_ROLLOUT}.{kind}_parallel_size" for kind in ("tensor_model", "data", "pipeline_model")),
    *(f"{owner}.{name}" for owner in (_ACTOR, "critic") for name in _UPDATE),
    *("trainer.n_gpus_per_node", "trainer.nnodes", "env_tuning.max_message_tokens"),
)
"""Keys that are whole numbers of at least 1, or null where verl or this project has a default."""


def counts(evidence: Evidence) -> Iterator[Finding]:
    """What counts something is a number that can."""
    for key in COUNTS:
        value = evidence.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            yield Finding(key=key, problem=f"{key}={value} is no whole number of at least 1", fix="set it to one")


def batches(evidence: Evidence) -> Iterator[Finding]:
    """Prompts, mini-batches, rollouts and GPUs divide."""
    batch, n = int(evidence.get("data.train_batch_size", 1)), int(evidence.get(f"{_ROLLOUT}.n", 1))
    fetched = evidence.get("data.gen_batch_size")
    if fetched is not None and batch % int(fetched):
        yield Finding(
            key="data.gen_batch_size",
            problem=f"data.train_batch_size={batch} is no multiple of data.gen_batch_size={fetched}: verl stops at the "
            "first step",
            fix="set data.gen_batch_size=null",
        )
    owners = {_ACTOR: int(evidence.get(f"{_ACTOR}.ulysses_sequence_parallel_size", 1))}
    if evidence.has_critic:
        owners["critic"] = int(evidence.get("critic.ulysses_sequence_parallel_size", 1))
    for owner, split in owners.items():
        if evidence.gpus % split:
            yield Finding(
                key=f"{owner}.ulysses_sequence_parallel_size",
                problem=f"{evidence.gpus} GPUs are no multiple of {owner}.ulysses_sequence_parallel_size={split}",
                fix=f"set it to a divisor of {evidence.gpus}",
            )
            continue
        yield from _mini_batch(evidence, owner, batch, n, evidence.gpus // split)


def _mini_batch(evidence: Evidence, owner: str, batch: int, n: int, ranks: int) -> Iterator[Finding]:
    key = f"{owner}.ppo_mini_batch_size"
    mini = int(evidence.get(key, batch))
    if batch % mini:
        yield Finding(
            key=key,
            problem=f"data.train_batch_size={batch} is no multiple of {key}={mini}: verl fills the batch up with rows "
            "of padding (trainer/ppo/padding_utils.py)",
            fix=f"set {key}={batch}",
        )
    if mini * n % ranks:
        yield Finding(
            key=key,
            problem=f"{key}={mini} prompts of {_ROLLOUT}.n={n} rollouts are no multiple of {ranks} workers: verl "
            "asserts it after the first rollout (workers/engine_workers.py)",
            fix=f"set {key} or {_ROLLOUT}.n so that their product is a multiple of {ranks}",
        )
    micro = evidence.get(f"{owner}.ppo_micro_batch_size_per_gpu")
    if not evidence.get(f"{owner}.use_dynamic_bsz", False):
        if micro is None:
            yield Finding(
                key=f"{owner}.ppo_micro_batch_size_per_gpu",
                problem=f"neither {owner}.use_dynamic_bsz nor {owner}.ppo_micro_batch_size_per_gpu is set",
                fix=f"set {owner}.use_dynamic_bsz=true",
            )
        elif not mini * n % ranks and mini * n // ranks % int(micro):
            yield Finding(
                key=f"{owner}.ppo_micro_batch_size_per_gpu",
                problem=f"a worker's {mini * n // ranks} episodes of a mini-batch are no multiple of "
                f"{owner}.ppo_micro_batch_size_per_gpu={micro}",
                fix=f"set {owner}.use_dynamic_bsz=true",
            )


def parallelism(evidence: Evidence) -> Iterator[Finding]:
    """Rollout engines use all GPUs, and split the model evenly."""
    key = f"{_ROLLOUT}.tensor_model_parallel_size"
    tensor = int(evidence.get(key, 1))
    engine = tensor * int(evidence.get(f"{_ROLLOUT}.data_parallel_size", 1))
    engine *= int(evidence.get(f"{_ROLLOUT}.pipeline_model_parallel_size", 1))
    if evidence.gpus % engine:
        idle = f"{evidence.gpus % engine} would be idle" if evidence.gpus > engine else "no engine would start"
        yield Finding(
            key=key,
            problem=f"a rollout engine of {engine} GPUs ({key}={tensor}) does not divide {evidence.gpus} GPUs: {idle}",
            fix=f"set {key} to a divisor of {evidence.gpus}",
        )
    if evidence.shape is not None and evidence.shape.heads % tensor:
        yield Finding(
            key=key,
            problem=f"{evidence.shape.heads} attention heads of the model cannot be split over {key}={tensor} GPUs",
            fix=f"set {key} to a divisor of {evidence.shape.heads}",
        )


def groups(evidence: Evidence) -> Iterator[Finding]:
    """An estimator that compares the rollouts of a prompt gets at least two."""
    estimator, n = evidence.get("algorithm.adv_estimator"), int(evidence.get(f"{_ROLLOUT}.n", 1))
    if estimator in GROUPS and n < 2:
        yield Finding(
            key=f"{_ROLLOUT}.n",
            problem=f"algorithm.adv_estimator={estimator} compares the rollouts of a prompt, but {_ROLLOUT}.n={n}: "
            "with nothing to compare, every score is its own advantage",
            fix=f"set {_ROLLOUT}.n=8",
        )


def critic(evidence: Evidence) -> Iterator[Finding]:
    """An estimator that reads values has a critic, and a loss over actions is aggregated over actions."""
    estimator = evidence.get("algorithm.adv_estimator")
    if estimator in CRITIC_ESTIMATORS and not evidence.get("critic.enable", False):
        yield Finding(
            key="critic.enable",
            problem=f"algorithm.adv_estimator={estimator} needs a critic",
            fix="set critic.enable=true",
        )
    loss, aggregation = evidence.get(f"{_ACTOR}.policy_loss.loss_mode", ""), evidence.get(f"{_ACTOR}.loss_agg_mode")
    if loss.startswith("appo_") and aggregation not in ("seq-mean-token-mean", "seq-mean-token-sum"):
        yield Finding(
            key=f"{_ACTOR}.loss_agg_mode",
            problem=f"{_ACTOR}.policy_loss.loss_mode={loss} is a mean over messages, but "
            f"{_ACTOR}.loss_agg_mode={aggregation}",
            fix=f"set {_ACTOR}.loss_agg_mode=seq-mean-token-mean",
        )


def sampling(evidence: Evidence) -> Iterator[Finding]:
    """Rollouts of a prompt differ from each other."""
    temperature, n = float(evidence.get(f"{_ROLLOUT}.temperature", 1.0)), int(evidence.get(f"{_ROLLOUT}.n", 1))
    if temperature <= 0 and n > 1:
        yield Finding(
            key=f"{_ROLLOUT}.temperature",
            problem=f"{_ROLLOUT}.temperature={temperature:g}: the {n} rollouts of a prompt are all the same",
            fix=f"set {_ROLLOUT}.temperature=1.0",
        )


def gate(evidence: Evidence) -> Iterator[Finding]:
    """The gate's keys and values mean something, and it gets validations to look at."""
    given = evidence.get("env_tuning.gate")
    if given is None:
        return
    try:
        GateSettings.from_config(given)
    except (TypeError, ValueError) as error:
        yield said_by(ValueError(f"env_tuning.gate: {error}"), "env_tuning.gate")
        return
    if int(evidence.get("trainer.test_freq", -1)) <= 0:
        yield Finding(
            key="trainer.test_freq",
            problem=f"trainer.test_freq={evidence.get('trainer.test_freq', -1)}: the gate decides after validations, "
            "of which there are none on the way",
            fix="set trainer.test_freq=5, or env_tuning.gate=null",
            severity=Severity.WARNING,
        )
