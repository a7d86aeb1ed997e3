"""One registry of rewards: a name, a dotted path to a user's own function, or a weighted sum of such.

Owns: the names and their resolution. Refuses: computing anything.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from env_tuning.rewards.accuracy import binary, progress, progress_original
from env_tuning.rewards.assistant import assistant, assistant_original
from env_tuning.rewards.by_tool import by_tool
from env_tuning.rewards.format import format_reward, format_reward_original, well_formed
from env_tuning.rewards.maths import maths, maths_original
from env_tuning.rewards.mixture import Mixture, read_terms
from env_tuning.trajectory import Trajectory

Reward = Callable[[Trajectory], Mapping[str, float]]
"""Pure: the same trajectory gives the same ``score`` and parts, always. A `Score` is such a mapping, and also says what
was earned in which turn.
"""

REWARDS: Mapping[str, Reward] = MappingProxyType(
    {
        "format": format_reward,
        "format_original": format_reward_original,
        "well_formed": well_formed,
        "progress": progress,
        "progress_original": progress_original,
        "binary": binary,
    }
)


DIALOGUE_REWARDS: Mapping[str, Reward] = MappingProxyType(
    {
        "assistant": assistant,
        "assistant_original": assistant_original,
        "by_tool": by_tool,
        "maths": maths,
        "maths_original": maths_original,
    }
)
"""Those of tasks that are judged by their answers; another trajectory is a `ValueError` for them."""

_ALL: Mapping[str, Reward] = MappingProxyType({**REWARDS, **DIALOGUE_REWARDS})


def resolve_reward(text: str) -> Reward:
    """The reward of a registered name, of a dotted path ``package.module:function``, or of a weighted sum of them.

    Raises:
        ValueError: no such name, module or function, or no readable sum; the message quotes the part that is wrong and
            names the nearest known reward.
    """
    if not isinstance(text, str):
        raise ValueError(f"the reward is {text!r}; it must be a name, a path or a sum: {', '.join(sorted(_ALL))}")
    terms = read_terms(text)
    if len(terms) == 1 and terms[0].weight is None:
        return _named(terms[0].name)
    return Mixture([(term, _named(term.name)) for term in terms])


def _named(name: str) -> Reward:
    if ":" in name:
        return _import(name)
    if name not in _ALL:
        near = difflib.get_close_matches(name, _ALL, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(_ALL))}."
        raise ValueError(f"no reward named {name!r}; {hint} A function of your own is package.module:function.")
    return _ALL[name]


def _import(path: str) -> Reward:
    module_name, _, attribute = path.partition(":")
    try:
        reward = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"reward {path!r} cannot be imported: {error}") from None
    if not callable(reward):
        raise ValueError(f"reward {path!r} is not a function")
    return reward  # type: ignore[no-any-return]
