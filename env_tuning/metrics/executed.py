"""Whether calls, when they are run, give the right results: EXEC.

Owns: three ways to compare a result with the right one, and matching the results of several calls. Refuses: running
them: results come from an episode's records or from `run_calls`, which takes a fresh environment.

The benchmark's own EXEC categories asked live services and are no longer part of it. On simulated back-ends the right
results are those of the reference solution, in an environment of its own.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from env_tuning.calls import ToolCall
from env_tuning.environments.environment import Environment
from env_tuning.metrics.values import alike, equal, is_number

REAL_TIME_SHARE = 0.2
"""How far a number may be from the right one, as a share of that, where results change with time."""


class Comparison(enum.Enum):
    """How a result is compared with the right one."""

    EXACT = "exact"
    """It is the same value."""
    REAL_TIME = "real_time"
    """Its numbers are within 20 % of the right ones, everything else is the same: prices, temperatures."""
    STRUCTURAL = "structural"
    """It is built alike: types, names of fields, lengths of lists."""


def same_result(given: str, right: str, comparison: Comparison = Comparison.EXACT) -> bool:
    """Whether a raw result is right; results that are JSON are compared as values, others as text."""
    return alike(_value(given), _value(right), _SAME[comparison])


def all_results_right(
    given: Sequence[str], right: Sequence[str], comparison: Comparison = Comparison.EXACT, *, more: bool = False
) -> bool:
    """Whether every right result is there, in whatever order.

    Args:
        given: raw results of the calls that were made.
        right: those of the reference.
        comparison: of two results.
        more: whether there may be results of further calls.
    """
    waiting = list(given)
    for result in right:
        found = next((one for one in waiting if same_result(one, result, comparison)), None)
        if found is None:
            return False
        waiting.remove(found)
    return more or not waiting


def run_calls(calls: Sequence[ToolCall], environment: Environment) -> list[str]:
    """The raw results of calls, run one after the other in an environment that nobody else uses."""
    return [environment.call(call).text for call in calls]


def executed_right(
    calls: Sequence[ToolCall],
    reference: Sequence[ToolCall],
    fresh: Callable[[], Environment],
    comparison: Comparison = Comparison.EXACT,
) -> bool:
    """Whether calls give the results of a reference solution, each run in an environment of its own.

    Args:
        calls: of a model.
        reference: the right ones.
        fresh: makes an environment; called twice.
        comparison: of two results.
    """
    return all_results_right(run_calls(calls, fresh()), run_calls(reference, fresh()), comparison)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _near(given: Any, right: Any) -> bool:
    if is_number(given) and is_number(right):
        return bool(abs(given - right) <= REAL_TIME_SHARE * abs(right))
    return equal(given, right)


def _of_a_kind(given: Any, right: Any) -> bool:
    return type(given) is type(right) or (is_number(given) and is_number(right))


_SAME: Mapping[Comparison, Callable[[Any, Any], bool]] = MappingProxyType(
    {Comparison.EXACT: equal, Comparison.REAL_TIME: _near, Comparison.STRUCTURAL: _of_a_kind}
)
"""Of two values that hold no others."""
