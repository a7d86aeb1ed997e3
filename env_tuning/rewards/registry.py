"""One registry of rewards: a name, or a dotted path to a user's own function.

Owns: the names and the resolution of ``package.module:function``. Refuses: computing anything.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from env_tuning.rewards.accuracy import binary, progress
from env_tuning.rewards.format import format_reward, format_reward_original
from env_tuning.trajectory import Trajectory

Reward = Callable[[Trajectory], Mapping[str, float]]
"""Pure: the same trajectory gives the same ``score`` and parts, always."""

REWARDS: Mapping[str, Reward] = MappingProxyType(
    {
        "format": format_reward,
        "format_original": format_reward_original,
        "progress": progress,
        "binary": binary,
    }
)


def resolve_reward(name: str) -> Reward:
    """The reward of a registered name or of a dotted path ``package.module:function``.

    Raises:
        ValueError: no such name, module or function; the message names the nearest known one.
    """
    if ":" in name:
        return _import(name)
    if name not in REWARDS:
        near = difflib.get_close_matches(name, REWARDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(REWARDS))}"
        raise ValueError(f"no reward named {name!r}; {hint} A function of your own is package.module:function.")
    return REWARDS[name]


def _import(path: str) -> Reward:
    module_name, _, attribute = path.partition(":")
    try:
        reward = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"reward {path!r} cannot be imported: {error}") from None
    if not callable(reward):
        raise ValueError(f"reward {path!r} is not a function")
    return reward  # type: ignore[no-any-return]
