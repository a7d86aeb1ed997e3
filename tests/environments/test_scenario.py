"""Scenarios become tasks."""

from __future__ import annotations

import json

import pytest

from env_tuning.environments import Scenario, ToolClass
from env_tuning.environments.scenario import tasks_of


class Lamp(ToolClass):
    def __init__(self, config):
        self.on = config.get("on", False)

    def switch(self, on: bool) -> None:
        """Switch the lamp."""
        self.on = on

    @classmethod
    def scenarios(cls):
        yield Scenario(turns=[("On.", ["switch(on=True)"])])
        yield Scenario(turns=[("Off.", []), ("", ["switch(False)"])], config={"on": True}, releases={1: ["switch"]})


NAME = f"{__name__}:Lamp"


def test_every_scenario_is_a_task_that_carries_the_name_its_class_is_found_by():
    first, second = tasks_of(NAME)
    assert (first.id, first.split, second.id) == ("Lamp_0", "Lamp", "Lamp_1")
    assert json.loads(second.initial_config) == {NAME: {"on": True}}
    assert second.tool_classes == (NAME,)
    assert second.user_turns == ("Off.", "")
    assert second.ground_truth == ((), ("switch(False)",))
    assert second.held_back(0) == {"switch"}
    assert [tool.name for tool in first.tools] == ["switch"]


@pytest.mark.parametrize(
    "turns", [["On."], [("On.", "switch(on=True)")], [("On.", ["switch(on="])], [("On.", [], 1)], [("On.", ["f(g())"])]]
)
def test_a_scenario_that_cannot_be_played_is_refused_when_it_is_written(turns):
    with pytest.raises(ValueError):
        Scenario(turns=turns)
