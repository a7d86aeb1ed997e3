"""Rules on the reward: that there is one, that it runs, that it sees a difference, that it is paid where it counts.

Owns: trying a reward on episodes of scripted policies. Refuses: an opinion on its quality (`rewards.audit` has that).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from env_tuning.doctor.evidence import LOOP, Evidence
from env_tuning.doctor.finding import Finding, Severity, said_by
from env_tuning.interaction.base import Interaction, make_interaction
from env_tuning.interaction.multi_turn import rules_of
from env_tuning.prepared_task import prepare_task
from env_tuning.rewards.placement import Placement
from env_tuning.rewards.policies import POLICIES, play
from env_tuning.rewards.registry import Reward, resolve_reward
from env_tuning.rewards.score import as_score
from env_tuning.trajectory import Trajectory

_REWARD, _CUSTOM = "env_tuning.reward", "reward.custom_reward_function"

SUMS_UP = frozenset(
    {"grpo", "grpo_vectorized", "grpo_passk", "rloo", "rloo_vectorized", "opo", "gpg", "reinforce_plus_plus_baseline"}
)
"""verl's estimators that begin with ``token_level_rewards.sum`` (trainer/ppo/core_algos.py)."""

_GIVEN = ("data_source", "solution_str", "ground_truth", "extra_info")
"""What verl's reward manager calls a custom function with (experimental/reward_loop/reward_manager/naive.py)."""


def reward(evidence: Evidence) -> Iterator[Finding]:
    """The reward of `env_tuning.reward` exists, has trajectories to read, and tells policies apart."""
    name, custom = evidence.get(_REWARD), evidence.get(f"{_CUSTOM}.path")
    if name is not None and custom:
        yield Finding(
            key=_REWARD,
            problem=f"{_REWARD} and {_CUSTOM}.path are both set",
            fix="set one of them to null",
        )
    if name is None:
        yield from _own_scores(evidence) if not custom else ()
        return
    try:
        function = resolve_reward(name)
    except ValueError as error:
        yield said_by(error, _REWARD)
        return
    for interaction, made in _used(evidence).items():
        if type(made).trajectory is Interaction.trajectory:
            yield Finding(
                key=_REWARD,
                problem=f"the interaction {interaction} keeps no trajectory, so {_REWARD}={name} has nothing to read",
                fix=f"set {_REWARD}=null to use the interaction's own calculate_score",
            )
    yield from _tried(evidence, name, function)


def _own_scores(evidence: Evidence) -> Iterator[Finding]:
    """Without any reward the interactions score, if they do."""
    for interaction, made in _used(evidence).items():
        if type(made).calculate_score is Interaction.calculate_score:
            yield Finding(
                key=_REWARD,
                problem=f"nothing scores episodes: {_REWARD} and {_CUSTOM}.path are null, and the interaction "
                f"{interaction} has no calculate_score of its own, so that every score is 0",
                fix=f"set {_REWARD}, for example to progress",
            )


def _tried(evidence: Evidence, name: str, function: Reward) -> Iterator[Finding]:
    """Score what scripted policies do in one training task."""
    scores = {}
    for policy, trajectory in episodes(evidence).items():
        try:
            first, again = (as_score(function(trajectory)) for _ in range(2))
        except Exception as error:  # a user's function, which may raise anything
            yield Finding(
                key=_REWARD,
                problem=f"{_REWARD}={name} fails on an episode of the policy {policy} ({_docline(policy)}): "
                f"{type(error).__name__}: {error}",
                fix="mend the function; env-tuning rescore tries it on stored episodes",
            )
            return
        if first != again:
            yield Finding(
                key=_REWARD,
                problem=f"{_REWARD}={name} gives the same episode {first.score} and then {again.score}",
                fix="make it a function of the trajectory alone",
            )
            return
        scores[policy] = first.score
    if scores and len(set(scores.values())) == 1:
        yield Finding(
            key=_REWARD,
            problem=f"{_REWARD}={name} gives {next(iter(scores.values()))} to all of {', '.join(scores)}: nothing is "
            "learnt from equal scores",
            fix="read what differs between the episodes (docs/rewards.md)",
        )


def episodes(evidence: Evidence) -> Mapping[str, Trajectory]:
    """What scripted policies make of one training task, the one with the most turns; empty without tasks."""
    tasks = [task for file in evidence.train for task in file.tasks if not task.long_context]
    if not tasks:
        return {}
    task = max(tasks, key=lambda task: (task.turns, task.id))
    prepared = prepare_task(task, protocol=evidence.protocol, listing=evidence.listing, version=evidence.version)
    return play(prepared, POLICIES, rules_of(evidence.tool_settings, validate=False))


def placement(evidence: Evidence) -> Iterator[Finding]:
    """A known placement; one by turns needs a reward that knows turns, and an estimator that looks at tokens."""
    key, name = "env_tuning.reward_placement", evidence.get(_REWARD)
    try:
        chosen = Placement.read(evidence.get(key, Placement.LAST.value))
    except ValueError as error:
        yield said_by(error, key)
        return
    if chosen is Placement.LAST:
        return
    if name is None:
        yield Finding(
            key=key,
            problem=f"{key}=turns needs {_REWARD}",
            fix="set one, or reward_placement=last",
        )
        return
    estimator = evidence.get("algorithm.adv_estimator")
    if estimator in SUMS_UP:
        yield Finding(
            key=key,
            problem=f"{key}=turns changes nothing: algorithm.adv_estimator={estimator} adds up a response's rewards",
            fix="choose an estimator that looks at tokens, such as gae, or reward_placement=last",
            severity=Severity.WARNING,
        )


def verl_reward(evidence: Evidence) -> Iterator[Finding]:
    """The custom reward function of verl can be loaded and called, and rows have what it is called with."""
    path, name = evidence.get(f"{_CUSTOM}.path"), evidence.get(f"{_CUSTOM}.name", "compute_score")
    if not path:
        return
    try:
        function = _load(str(path), str(name))
    except Exception as error:  # a user's module, which may raise anything
        yield Finding(
            key=f"{_CUSTOM}.path",
            problem=f"{_CUSTOM}: {name} of {path} cannot be loaded ({type(error).__name__}: {error})",
            fix="give a file, or pkg://package.module, and the name of a function in it",
        )
        return
    given = dict.fromkeys([*_GIVEN, *evidence.get(f"{_CUSTOM}.reward_kwargs", {})])
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        yield Finding(
            key=f"{_CUSTOM}.name",
            problem=f"{_CUSTOM}: {name} of {path} cannot be called with {', '.join(given)} ({error})",
            fix=f"def {name}({', '.join(_GIVEN)}, **kwargs)",
        )
    for file in evidence.files:
        if missing := {"data_source", "reward_model"} - file.columns:
            yield Finding(
                key=f"{_CUSTOM}.path",
                problem=f"{file.path} has no column {', '.join(sorted(missing))}, which verl reads for its reward",
                fix=f"add the column, or use {_REWARD} instead",
            )


def _used(evidence: Evidence) -> dict[str, Interaction]:
    """The interactions that rows ask for, as far as they can be made."""
    if LOOP not in evidence.agents:
        return {}
    found = {}
    for name in sorted(set().union(*(file.interactions for file in evidence.files))):
        settings = evidence.get("env_tuning.interactions", {}).get(name)
        if settings is None:
            continue
        try:
            found[name] = make_interaction(name, settings["class_name"], settings.get("config") or {})
        except ValueError:  # `data_rules.interactions` says so
            continue
    return found


def _load(path: str, name: str) -> Callable[..., Any]:
    """What verl loads (utils/import_utils.py), without importing verl."""
    if path.startswith("pkg://"):
        module = importlib.import_module(path.removeprefix("pkg://").replace("/", "."))
    else:
        file = Path(path.removeprefix("file://"))
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist")
        spec = importlib.util.spec_from_file_location(f"custom_reward_{abs(hash(file))}", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return getattr(module, name)  # type: ignore[no-any-return]


def _docline(policy: str) -> str:
    return str(POLICIES[policy].__doc__).strip().rstrip(".").lower()
