"""The reward audit: what do policies without competence earn?

Owns: the mean of every reward over the episodes of `policies.POLICIES`, what is known of them, and the tables of
docs/reference/audit.md. Refuses: changing a reward. A reward is sound on a set of tasks if no other policy reaches the
ground truth there; where one does, `KNOWN` has to say so. This module and `policies.py` play episodes; no reward
imports them.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from env_tuning.environments.bfcl.long_context import LongContext
from env_tuning.episode import Rules
from env_tuning.prepared_task import prepare_task
from env_tuning.protocols import Protocol, ThinkAnswer, ToolListing
from env_tuning.rewards.policies import GROUND_TRUTH, POLICIES, Policy, play
from env_tuning.rewards.registry import REWARDS, resolve_reward
from env_tuning.rewards.score import as_score
from env_tuning.task import Task
from env_tuning.text_table import aligned

MIXTURES = ("0.9 progress + 0.1 format", "0.9 progress + 0.1 well_formed")
"""Sums that the documentation names, audited like registered rewards."""

AUDITED = (*REWARDS, *MIXTURES)

ALL = "all"
"""The column of all tasks."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A policy that earns what the ground truth earns, or more, on the tasks of one column."""

    policy: str
    column: str
    mean: float
    ground_truth: float


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Mean scores.

    Attributes:
        means: reward to policy to column to mean score.
        columns: the splits of the tasks in order of appearance, then `ALL`.
    """

    means: Mapping[str, Mapping[str, Mapping[str, float]]]
    columns: tuple[str, ...]

    def rivals(self, reward: str) -> tuple[Rival, ...]:
        """The policies that the reward does not rank below the ground truth."""
        best = self.means[reward][GROUND_TRUTH]
        return tuple(
            Rival(policy=policy, column=column, mean=means[column], ground_truth=best[column])
            for policy, means in self.means[reward].items()
            for column in self.columns
            if policy != GROUND_TRUTH and means[column] >= best[column] - 1e-9
        )


def audit(
    rewards: Iterable[str],
    tasks: Sequence[Task],
    *,
    long_context: LongContext | None = None,
    rules: Rules | None = None,
    protocol: Protocol | None = None,
    policies: Mapping[str, Policy] = POLICIES,
) -> Audit:
    """Play every policy on every task and score the episodes.

    Args:
        rewards: as in ``env_tuning.reward``.
        tasks: at least one.
        long_context: the padding data, if one of the tasks needs it.
        rules: of the episodes; training's by default.
        protocol: `ThinkAnswer` by default.
        policies: must hold the ground truth.

    Raises:
        ValueError: no such reward, or no tasks.
    """
    resolved = {text: resolve_reward(text) for text in rewards}
    if not tasks:
        raise ValueError("there are no tasks to audit rewards on")
    values: dict[str, dict[str, dict[str, list[float]]]] = {
        reward: {policy: defaultdict(list) for policy in policies} for reward in resolved
    }
    for task in tasks:
        prepared = prepare_task(
            task, protocol=protocol or ThinkAnswer(), listing=ToolListing.SIGNATURES, long_context=long_context
        )
        for policy, trajectory in play(prepared, policies, rules or Rules()).items():
            for text, reward in resolved.items():
                score = as_score(reward(trajectory)).score
                values[text][policy][task.split].append(score)
                values[text][policy][ALL].append(score)
    return Audit(
        means={
            reward: {
                policy: {column: math.fsum(scores) / len(scores) for column, scores in columns.items()}
                for policy, columns in policies_of.items()
            }
            for reward, policies_of in values.items()
        },
        columns=(*dict.fromkeys(task.split for task in tasks), ALL),
    )


@dataclass(frozen=True, kw_only=True)
class Exploit:
    """A known reason for a policy to reach the ground truth."""

    policy: str
    columns: frozenset[str]
    """Where it does in the benchmark's tasks."""
    why: str


_MISS = frozenset({"multi_turn_miss_func", "multi_turn_miss_param"})
_NO_MISS = frozenset({"multi_turn_base", "multi_turn_long_context"})
_EVERYWHERE = _MISS | _NO_MISS | {ALL}
_FORMAT_ONLY = "asks for calls that run, not for the right ones"
_WORDS = "asks for tags, not for deeds"
_STATE = "asks for results and state, and a turn closes without an answer when its steps run out"
_CLOSED = "counts closed turns only"


def _exploits(why: str, columns: frozenset[str], *policies: str) -> tuple[Exploit, ...]:
    return tuple(Exploit(policy=policy, columns=columns, why=why) for policy in policies)


_FORMAT = (
    *_exploits(_FORMAT_ONLY, _EVERYWHERE, "never_answers", "spam_and_answer", "spam"),
    *_exploits(_FORMAT_ONLY, _NO_MISS, "first_turn_then_limit", "first_turn_then_refuse"),
)
_ACCURACY = _exploits(_STATE, _NO_MISS, "never_answers")
_TAGGED = ("never_answers", "first_turn_then_limit", "first_turn_then_refuse", "spam_and_answer", "spam", "refuse")

KNOWN: Mapping[str, tuple[Exploit, ...]] = MappingProxyType(
    {
        "format": _FORMAT,
        "format_original": _FORMAT,
        "well_formed": _exploits(_WORDS, _EVERYWHERE, *_TAGGED),
        "progress": _ACCURACY,
        "progress_original": (*_ACCURACY, *_exploits(_CLOSED, _EVERYWHERE, "first_turn_then_limit")),
        "binary": _ACCURACY,
        **dict.fromkeys(MIXTURES, _ACCURACY),
    }
)
"""Reward to the policies that reach the ground truth on the benchmark's tasks: all of them, or the tests fail."""


def unexpected(found: Audit, reward: str) -> tuple[Rival, ...]:
    """The rivals that `KNOWN` does not list; of a reward that nobody has listed yet, all of them."""
    splits = set(found.columns) - {ALL}
    known: dict[str, frozenset[str]] = defaultdict(frozenset)
    for exploit in KNOWN.get(reward, ()):
        # Known on every split that there is: then also on all of them together.
        known[exploit.policy] |= exploit.columns | ({ALL} if splits <= exploit.columns else set())
    return tuple(rival for rival in found.rivals(reward) if rival.column not in known[rival.policy])


def report(found: Audit, reward: str) -> str:
    """The audit of one reward, for a terminal: scores by policy and split, and what to think of them."""
    rows = [[policy, *(f"{means[column]:.3f}" for column in found.columns)] for policy, means in _rows(found, reward)]
    lines = [aligned([["policy", *found.columns], *rows])]
    rivals = found.rivals(reward)
    for policy, group in itertools.groupby(rivals, key=lambda rival: rival.policy):
        lines.append(f"{policy} earns no less than the ground truth on {', '.join(rival.column for rival in group)}")
    if not rivals:
        lines.append("the ground truth earns more than every other policy")
    return "\n".join([f"reward {reward}", *lines])


def documentation(found: Audit) -> str:
    """What docs/reference/audit.md shows: policies, all rewards over all tasks, `progress` by split, known exploits."""
    rewards = tuple(found.means)
    overall = [
        [f"`{policy}`", *(f"{found.means[reward][policy][ALL]:.3f}" for reward in rewards)]
        for policy in found.means[rewards[0]]
    ]
    by_split = [
        [f"`{policy}`", *(f"{means[column]:.3f}" for column in found.columns)]
        for policy, means in _rows(found, "progress")
    ]
    exploits: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for reward in rewards:
        for (why, columns), members in itertools.groupby(
            KNOWN[reward], key=lambda exploit: (exploit.why, exploit.columns)
        ):
            policies = ", ".join(f"`{exploit.policy}`" for exploit in members)
            where = "everywhere" if ALL in columns else ", ".join(sorted(columns))
            exploits[policies, where, why].append(f"`{reward}`")
    return "\n\n".join(
        (
            _table(
                ["policy", "what it does"], ([f"`{name}`", str(policy.__doc__)] for name, policy in POLICIES.items())
            ),
            _table(["mean score", *(f"`{reward}`" for reward in rewards)], overall),
            _table(["`progress`", *found.columns], by_split),
            _table(
                ["reached by", "where", "because the reward", "rewards"],
                [[*known, ", ".join(names)] for known, names in exploits.items()],
            ),
        )
    )


def _rows(found: Audit, reward: str) -> Iterable[tuple[str, Mapping[str, float]]]:
    return found.means[reward].items()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
