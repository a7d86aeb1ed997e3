"""`ToolClass`: one stateful object whose public methods are the tools a model may call.

Owns: what counts as a tool (the allow-list, built once per class), what counts as public state, and how
two states are compared. Refuses: dispatch (`environment.py`), parsing, globals. An instance belongs to one
episode and is never reused, so stale state between rollouts cannot exist.
"""

from __future__ import annotations

import copy
import inspect
import marshal
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext
    from env_tuning.environments.scenario import Scenario


class ToolClass:
    """Base of every tool class.

    A subclass keeps its state in public attributes (compared by the judge after every turn) and in
    underscore attributes (never compared). Tools return plain values; a failure the model should read is
    returned as ``{"error": "..."}`` or raised. What else an author may define: `scenarios` (what users ask),
    `snapshot` and `matches` (what counts as the same state), `describe`. See docs/environments.md.

    Example::

        class Counter(ToolClass):
            def __init__(self, config):
                self.value = config.get("value", 0)

            def add(self, amount: int) -> dict:
                '''Add to the counter.'''
                self.value += amount
                return {"value": self.value}
    """

    tools: ClassVar[Mapping[str, Callable[..., Any]]] = MappingProxyType({})
    """Tool name to plain function, in order of definition: the allow-list of `Environment.call`."""

    waits: ClassVar[bool] = False
    """Whether tools wait for something outside of this process; interactions then run steps in threads."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the public methods into `tools`, once per class."""
        super().__init_subclass__(**kwargs)
        found: dict[str, Callable[..., Any]] = {}
        for base in reversed(cls.__mro__):
            if base is object or base is ToolClass:
                continue
            found.update(
                (name, value)
                for name, value in vars(base).items()
                if not name.startswith("_") and inspect.isfunction(value) and name not in _NOT_TOOLS
            )
        cls.tools = MappingProxyType(found)

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Load the initial state.

        Args:
            config: this class's initial configuration. The instance owns it and may keep and mutate its
                parts: callers hand over a fresh copy.
            long_context: the benchmark's padding data, given in long-context tasks alone. A class that is never part
                of one need not take it.
        """

    def end_episode(self) -> None:
        """Free what lies outside of this process; called once, also when the episode was cut. May wait."""

    @classmethod
    def scenarios(cls) -> Iterable[Scenario]:
        """What users ask of this class, turn by turn; by default nothing is known."""
        return ()

    def public_state(self) -> dict[str, Any]:
        """The live attributes the judge compares: all whose name has no leading underscore."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}

    def snapshot(self) -> Any:
        """An independent copy of the public state, to be compared later with `matches`."""
        state = self.public_state()
        # Ten times quicker than deepcopy for plain data, which state nearly always is; it refuses everything else.
        try:
            return marshal.loads(marshal.dumps(state))
        except ValueError:
            return copy.deepcopy(state)

    def matches(self, snapshot: Any) -> bool:
        """Whether the public state equals a snapshot taken from an instance of the same class."""
        compared = 0
        # Attribute by attribute: a dict's own equality would take one NaN object for equal to itself.
        for name, value in vars(self).items():
            if name[0] != "_":
                if name not in snapshot or not value == snapshot[name]:  # noqa: SIM201 (the benchmark asks ==)
                    return False
                compared += 1
        return compared == len(snapshot)

    def describe(self) -> Any:
        """The public state as JSON-like data, for people and for parity tests."""
        return self.public_state()


_NOT_TOOLS = frozenset(name for name in vars(ToolClass) if not name.startswith("_"))
