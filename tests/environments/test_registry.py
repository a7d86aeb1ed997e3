"""The registry of tool classes and the making of an environment."""

import json
import subprocess
import sys

import pytest

from env_tuning.calls import ToolCall
from env_tuning.environments.registry import TOOL_CLASSES, make_environment, tool_class
from env_tuning.environments.tool_class import ToolClass


class Counter(ToolClass):
    """A user's own class, reached by the path of this module."""

    def __init__(self, config, long_context=None):
        self.value = config.get("value", 0)
        self.long_context = long_context

    def add(self, amount: int) -> dict:
        """Add to the counter."""
        self.value += amount
        return {"value": self.value}


class NoToolClass:
    pass


OWN = f"{__name__}:Counter"
COUNTS = {
    "GorillaFileSystem": 18,
    "MathAPI": 17,
    "MessageAPI": 10,
    "TwitterAPI": 14,
    "TicketAPI": 9,
    "TradingBot": 20,
    "TravelAPI": 18,
    "VehicleControlAPI": 22,
}


@pytest.mark.parametrize("name", TOOL_CLASSES)
def test_every_known_name_yields_its_class_with_all_its_tools(name):
    found = tool_class(name)
    assert found.__name__ == name
    assert issubclass(found, ToolClass)
    assert len(found.tools) == COUNTS[name]


@pytest.mark.parametrize("name", TOOL_CLASSES)
def test_every_known_class_starts_from_an_empty_configuration(name):
    environment = make_environment([name], "{}")
    assert environment.mismatches(environment.snapshot()) == ()


def test_all_eight_classes_together_have_128_tools_and_no_name_twice():
    environment = make_environment(list(TOOL_CLASSES), "{}")
    assert len(environment.tool_names) == 128


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TOOL_CLASSES["Mine"] = OWN  # type: ignore[index]


def test_importing_the_registry_imports_no_tool_class():
    code = (
        "import sys, env_tuning.environments.registry as r\n"
        "print([m for m in sys.modules if m in {p.partition(':')[0] for p in r.TOOL_CLASSES.values()}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_users_own_class_is_found_by_its_path():
    assert tool_class(OWN) is Counter


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("ticketapi", "Did you mean 'TicketAPI'?"),
        ("VehicleControl", "Did you mean 'VehicleControlAPI'?"),
        ("TravelBot", "Did you mean 'Tra"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_known_one(wrong, hint):
    with pytest.raises(ValueError, match="unknown tool class") as caught:
        tool_class(wrong)
    assert hint in str(caught.value)


@pytest.mark.parametrize("wrong", ["", ":", "a:", ":B", ".a:B", "a..b:C", "a.b", "a b:C", "a:B.C", "zzzz"])
def test_what_is_neither_name_nor_path_is_a_value_error_that_shows_the_form(wrong):
    with pytest.raises(ValueError, match=r"package\.module:Class"):
        tool_class(wrong)


def test_a_missing_module_is_a_value_error_that_names_it():
    with pytest.raises(ValueError, match="there is no module 'no_such_package'"):
        tool_class("no_such_package.tools:Calendar")


def test_an_import_that_fails_inside_a_users_module_is_not_disguised_as_a_wrong_name(tmp_path, monkeypatch):
    (tmp_path / "broken_tools.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        tool_class("broken_tools:Calendar")


def test_a_class_that_is_no_tool_class_is_refused():
    with pytest.raises(ValueError, match="is not a subclass of ToolClass"):
        tool_class(f"{__name__}:NoToolClass")


def test_a_function_is_refused():
    with pytest.raises(ValueError, match="is not a subclass of ToolClass"):
        tool_class("json:loads")


def test_a_misspelt_class_of_a_module_is_answered_with_the_nearest_one_there():
    with pytest.raises(ValueError, match="Did you mean 'Counter'"):
        tool_class(f"{__name__}:Countr")


def test_classes_come_in_the_order_of_the_names():
    names = ["VehicleControlAPI", OWN, "TicketAPI"]
    environment = make_environment(names, "{}")
    assert list(environment.tool_classes) == names
    assert environment.tool_names.index("startEngine") < environment.tool_names.index("add")
    assert environment.tool_names.index("add") < environment.tool_names.index("create_ticket")


def test_each_class_is_handed_its_own_part_and_defaults_when_it_has_none():
    text = json.dumps({OWN: {"value": 7}, "VehicleControlAPI": {"fuelLevel": 3.0}, "TravelAPI": {"not": "involved"}})
    environment = make_environment([OWN, "VehicleControlAPI", "TicketAPI"], text)
    assert environment.tool_classes[OWN].value == 7
    assert environment.tool_classes["VehicleControlAPI"].fuelLevel == 3.0
    assert environment.tool_classes["TicketAPI"].ticket_queue == []


def test_the_long_context_data_reaches_every_class():
    data = object()
    assert make_environment([OWN], "{}", data).tool_classes[OWN].long_context is data


def test_two_environments_from_one_text_share_no_state():
    text = json.dumps({"TicketAPI": {"ticket_queue": [{"id": 1, "status": "Open"}]}})
    first, second = make_environment(["TicketAPI"], text), make_environment(["TicketAPI"], text)
    first.call(ToolCall(name="close_ticket", arguments={"ticket_id": 1}))
    assert second.tool_classes["TicketAPI"].ticket_queue == [{"id": 1, "status": "Open"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is a list; it must be an object"),
        ('{"TicketAPI": null}', "of TicketAPI is a NoneType, not an object"),
    ],
)
def test_a_configuration_that_is_no_object_of_objects_is_a_value_error(text, message):
    with pytest.raises(ValueError, match=message):
        make_environment(["TicketAPI"], text)


def test_a_name_given_twice_is_a_value_error():
    with pytest.raises(ValueError, match="named twice"):
        make_environment(["TicketAPI", "TicketAPI"], "{}")


def test_two_classes_that_share_a_tool_name_are_a_value_error():
    copy = f"{__name__}:OtherCounter"
    with pytest.raises(ValueError, match="a tool named 'add'"):
        make_environment([OWN, copy], "{}")


class OtherCounter(Counter):
    pass
