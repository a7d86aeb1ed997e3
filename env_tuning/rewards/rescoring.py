"""Stored episodes under another reward: what would have been different.

Owns: the new scores of episodes that were played, and what they change for a trainer that compares the members of a
group. Refuses: models, environments, and reading folders (`report.reading` does).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from env_tuning.report.reading import Dumped
from env_tuning.rewards.registry import Reward
from env_tuning.rewards.score import Score, as_score
from env_tuning.text_table import aligned
from env_tuning.trajectory import Trajectory

TOLERANCE = 1e-6
"""Scores that differ by less are the same: a trainer computes in single precision, where 0.1 + 0.2 is not 0.3."""
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """One episode with its score before and now.

    Attributes:
        episode: as it was dumped.
        task_id: of the task that was played.
        before: the stored score; None if the file has none.
        now: of the reward that is tried.
    """

    episode: Dumped
    task_id: str
    before: float | None
    now: Score

    @property
    def group(self) -> tuple[Any, ...]:
        """What the episodes of one prompt have in common."""
        return (self.episode.stage, self.episode.phase, self.episode.step, self.episode.line.get("uid"))

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "stage": self.episode.stage,
                "phase": self.episode.phase,
                "step": self.episode.step,
                "uid": self.episode.line.get("uid"),
                "group": self.episode.line.get("group"),
                "data_source": self.episode.line.get("data_source"),
                "task_id": self.task_id,
                "before": self.before,
                "now": self.now.score,
                "parts": dict(self.now.parts),
                "turns": list(self.now.turns),
            },
            ensure_ascii=False,
        )


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a reward changes over some episodes.

    A group counts if it has at least two members with scores. An advantage is a score less the mean of its group, as in
    GRPO before the division by the spread, which changes no sign.

    Attributes:
        episodes: how many.
        before, now: means; `before` is None where scores are missing.
        moved: episodes whose score is another.
        groups: that count.
        new_best: groups none of whose best members is among the best any more.
        reordered: share of the pairs within a group with two different scores each time whose order is turned round.
        flipped: members of groups whose advantage has the other sign.
        silent_before, silent_now: groups whose members all have one score, so that nothing is learnt from them.
    """

    episodes: int
    before: float | None
    now: float
    moved: int
    groups: int
    new_best: int
    reordered: float
    flipped: int
    silent_before: int
    silent_now: int


def rescore(episodes: Iterable[Dumped], reward: Reward) -> list[Rescored]:
    """Score stored episodes.

    Raises:
        ValueError: the reward raises, or returns what is no score; or a trajectory is not one. The message names the
            episode.
    """
    found = []
    for episode in episodes:
        try:
            trajectory = Trajectory.from_dict(episode.line["trajectory"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"an episode of {episode.phase} step {episode.step} holds no trajectory of this version: {error!r}"
            ) from error
        try:
            now = as_score(reward(trajectory))
        except Exception as error:  # a user's function, which may raise anything
            raise ValueError(
                f"the reward fails on {trajectory.task_id} ({episode.phase} step {episode.step}): "
                f"{type(error).__name__}: {error}"
            ) from error
        found.append(Rescored(episode=episode, task_id=trajectory.task_id, before=_stored(episode.line), now=now))
    return found


def changes(rescored: Iterable[Rescored]) -> dict[str, Change]:
    """What changes by phase and split, in the order of the names; last of a phase with several splits, all of it."""
    phases: dict[str, dict[str, list[Rescored]]] = defaultdict(lambda: defaultdict(list))
    for item in rescored:
        phases[item.episode.phase][str(item.episode.line.get("data_source", ""))].append(item)
    found: dict[str, Change] = {}
    for phase in sorted(phases):
        splits = phases[phase]
        found |= {f"{phase} {split}".strip(): _change(splits[split]) for split in sorted(splits)}
        if len(splits) > 1:
            found[f"{phase} {ALL}"] = _change([item for items in splits.values() for item in items])
    return found


def table(found: Mapping[str, Change]) -> str:
    """Changes for a terminal."""
    head = [
        *("episodes of", "episodes", "before", "now", "moved", "groups", "new best", "reordered", "flipped"),
        *("silent before", "silent now"),
    ]
    rows = [
        [
            name,
            str(change.episodes),
            "-" if change.before is None else f"{change.before:.3f}",
            f"{change.now:.3f}",
            *(str(number) for number in (change.moved, change.groups, change.new_best)),
            f"{change.reordered:.0%}",
            *(str(number) for number in (change.flipped, change.silent_before, change.silent_now)),
        ]
        for name, change in found.items()
    ]
    return aligned([head, *rows])


LEGEND = (
    "moved: episodes with another score; new best: groups whose best episode is another one; reordered: pairs of a\n"
    "group whose order is turned round; flipped: episodes whose advantage within the group changes its sign; silent:\n"
    "groups of equal scores, from which nothing is learnt"
)


def _stored(line: Mapping[str, Any]) -> float | None:
    """The score of a line; the reward's own number if there is one, since ``score`` went through single precision."""
    parts = line.get("reward")
    value = parts.get("score", line.get("score")) if isinstance(parts, Mapping) else line.get("score")
    return float(value) if isinstance(value, int | float) else None


def _change(items: Sequence[Rescored]) -> Change:
    before = [item.before for item in items if item.before is not None]
    groups = [pairs for pairs in _groups(items) if len(pairs) > 1]
    orders = [_orders(pairs) for pairs in groups]
    comparable, turned = sum(order[0] for order in orders), sum(order[1] for order in orders)
    return Change(
        episodes=len(items),
        before=math.fsum(before) / len(before) if len(before) == len(items) else None,
        now=math.fsum(item.now.score for item in items) / len(items),
        moved=sum(item.before is not None and _differ(item.before, item.now.score) for item in items),
        groups=len(groups),
        new_best=sum(not (_best([old for old, _ in group]) & _best([new for _, new in group])) for group in groups),
        reordered=turned / comparable if comparable else 0.0,
        flipped=sum(map(_flips, groups)),
        silent_before=sum(_silent([old for old, _ in group]) for group in groups),
        silent_now=sum(_silent([new for _, new in group]) for group in groups),
    )


def _groups(items: Iterable[Rescored]) -> list[list[tuple[float, float]]]:
    """Scores before and now, by group; an episode of no group is compared with nothing."""
    groups: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    for item in items:
        if item.before is not None and item.episode.line.get("uid") is not None:
            groups[item.group].append((item.before, item.now.score))
    return list(groups.values())


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > TOLERANCE * max(1.0, abs(one), abs(other))


def _best(scores: Sequence[float]) -> set[int]:
    return {at for at, score in enumerate(scores) if not _differ(score, max(scores))}


def _silent(scores: Sequence[float]) -> bool:
    return not _differ(min(scores), max(scores))


def _orders(group: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Pairs with two different scores both times, and those of them whose order is turned round."""
    comparable = turned = 0
    for at, (old, new) in enumerate(group):
        for other_old, other_new in group[:at]:
            if _differ(old, other_old) and _differ(new, other_new):
                comparable += 1
                turned += (old > other_old) != (new > other_new)
    return comparable, turned


def _flips(group: Sequence[tuple[float, float]]) -> int:
    mean_before, mean_now = (math.fsum(scores) / len(group) for scores in zip(*group, strict=True))
    return sum(
        (old > mean_before) != (new > mean_now)
        for old, new in group
        if _differ(old, mean_before) and _differ(new, mean_now)
    )
