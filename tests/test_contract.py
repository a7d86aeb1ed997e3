"""`check` finds what it is for, and everything that is registered passes it."""

from __future__ import annotations

import itertools
import random
import sys

import pytest
from typer.testing import CliRunner

from env_tuning import contract
from env_tuning.cli import app
from env_tuning.data.lookup import find_sample, padding_for
from env_tuning.environments import Scenario, ToolClass
from env_tuning.environments.registry import TOOL_CLASSES
from env_tuning.environments.scenario import tasks_of


@pytest.mark.parametrize("name", TOOL_CLASSES)
def test_every_registered_class_keeps_every_rule(name, processed_data):
    tasks = find_sample(name, processed_data)
    subject = contract.Subject(name=name, tasks=tasks, long_context=padding_for(tasks, processed_data))
    findings = contract.check(subject)
    assert len(tasks) >= 12
    assert not any(finding.problems for finding in findings), contract.report(subject, findings)


class Good(ToolClass):
    def __init__(self, config):
        self.items: list[str] = config.get("items", [])

    def put(self, item: str) -> dict:
        """Put something in.

        Args:
            item: what.
        """
        self.items.append(item)
        return {"count": len(self.items)}

    @classmethod
    def scenarios(cls):
        yield Scenario(turns=[("Put a ball in.", ["put('ball')"]), ("Put it in.", []), ("A cup.", ["put(item='cup')"])])


class Undocumented(Good):
    def take(self, item: str) -> None:
        """Take something out."""
        self.items.remove(item)


class Clock(Good):
    _ticks = itertools.count()

    def look(self) -> dict:
        """Look at a clock."""
        return {"tick": next(self._ticks)}


class Dice(Good):
    def roll(self) -> None:
        """Roll a die, in secret."""
        self.items.append(str(random.random()))


class Shared(Good):
    shared: list[str] = []  # noqa: RUF012 (the mistake that is looked for)

    def __init__(self, config):
        self.items = self.shared


class Inherited(Good):
    stock: list[str] = []  # noqa: RUF012 (the mistake that is looked for)

    def __init__(self, config):
        self.items = list(self.stock)

    def put(self, item: str) -> dict:
        """Put something in.

        Args:
            item: what.
        """
        self.stock.append(item)
        return super().put(item)


class ShallowCopy(Good):
    def snapshot(self):
        return self.public_state()


class Incomparable(Good):
    def __init__(self, config):
        super().__init__(config)
        self.items.append(object())


class Leaver(Good):
    def leave(self) -> None:
        """Leave."""
        sys.exit(3)


class Swallower(Good):
    def swallow(self, **anything: int) -> None:
        """Swallow anything."""


class WrongReference(Good):
    @classmethod
    def scenarios(cls):
        yield Scenario(turns=[("Put a ball in.", ["put(thing='ball')"])])


class MissingTool(Good):
    @classmethod
    def scenarios(cls):
        yield Scenario(turns=[("Fetch the ball.", ["fetch('ball')"])])


class Mimic(Good):
    def look(self) -> str:
        """Look, and see what a call of no tool at all would show."""
        return "Error during execution: name 'no_such_name' is not defined"

    @classmethod
    def scenarios(cls):
        yield Scenario(turns=[("Look.", ["look()"])])


class Raising(Good):
    def snapshot(self):
        raise RuntimeError("out of film")


BROKEN = {
    Undocumented: {"schemas"},
    Clock: {"determinism"},
    Dice: {"determinism"},
    Shared: {"determinism", "isolation", "snapshots"},
    Inherited: {"isolation", "snapshots"},
    ShallowCopy: {"snapshots"},
    Incomparable: {"snapshots"},
    Leaver: {"errors"},
    WrongReference: {"ground truth"},
    MissingTool: {"ground truth"},
    Mimic: {"idle policies"},
    Raising: {"snapshots"},
}


def broken_rules(found: type[ToolClass]) -> dict[str, tuple[str, ...]]:
    name = f"{__name__}:{found.__name__}"
    findings = contract.check(contract.Subject(name=name, tasks=tasks_of(name)))
    return {finding.rule: finding.problems for finding in findings if finding.problems}


def test_a_good_class_keeps_every_rule():
    assert broken_rules(Good) == {}


@pytest.mark.parametrize("found", BROKEN, ids=lambda found: found.__name__)
def test_a_broken_class_breaks_the_rule_that_names_its_mistake(found):
    assert BROKEN[found] <= broken_rules(found).keys()


def test_a_class_without_scenarios_is_checked_as_far_as_it_goes():
    class Bare(Good):
        @classmethod
        def scenarios(cls):
            return ()

    globals()["Bare"] = Bare
    assert broken_rules(Bare) == {}
    report = CliRunner().invoke(app, ["check", f"{__name__}:Bare"]).output
    assert report.count("  ok ") == len(contract.RULES) - 2
    assert "  -    ground truth" in report


def test_the_command_says_what_is_wrong_and_exits_with_1():
    good = CliRunner().invoke(app, ["check", f"{__name__}:Good"])
    assert (good.exit_code, good.output.count("ok ")) == (0, len(contract.RULES))
    bad = CliRunner().invoke(app, ["check", f"{__name__}:Good", f"{__name__}:Shared"])
    assert bad.exit_code == 1
    assert "FAIL isolation" in bad.output
    assert "not on the class or the module" in bad.output


@pytest.mark.parametrize("name", ["TicketApi", "no_such_module:X", f"{__name__}:Swallower"])
def test_what_cannot_be_checked_at_all_is_one_line(name, processed_data):
    result = CliRunner().invoke(app, ["check", name, "--data", str(processed_data)])
    assert result.exit_code != 0
    assert isinstance(result.exception, ValueError)
    assert "\n" not in str(result.exception)
