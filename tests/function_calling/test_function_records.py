"""The two JSON files: the document's own examples are read, and a wrong record is named."""

import json

import pytest

from env_tuning.errors import UserError
from env_tuning.function_calling.offline import offline_dialogues, offline_tools
from env_tuning.function_calling.records import dataset, inventory, read_dataset, read_inventory

GIVEAWAYS = {
    "name": "live_giveaways_by_type",
    "description": "Live giveaways of a type.",
    "required_param": [{"type": {"description": "The type.", "type": "str", "default": "game"}}],
    "optional_param": [{"page": {"description": "The page.", "type": "int, optional", "default": "1"}}],
    "category": "games",
}
QUERY = {
    "query": "Where can I find live giveaways for beta access and games?",
    "answers": {
        "tool_list": ["live_giveaways_by_type", "live_giveaways_by_type"],
        "param_filling": [
            {"name": "live_giveaways_by_type", "arguments": {"type": "beta"}},
            {"name": "live_giveaways_by_type", "arguments": {"type": "game"}},
        ],
    },
    "source": "elsewhere",
}
TOOLS = inventory([GIVEAWAYS], "tools")


def changed(path, value, base=QUERY):
    """A copy of a record with one thing changed."""
    copy = json.loads(json.dumps(base))
    target = copy
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return copy


def test_the_documents_example_is_read():
    (dialogue,) = dataset([QUERY], TOOLS, "data")
    (request,) = dialogue.requests
    assert request.tools == ("live_giveaways_by_type",)
    assert [call.arguments for call in request.calls] == [{"type": "beta"}, {"type": "game"}]
    tool = TOOLS["live_giveaways_by_type"]
    assert tool.required == {"type"}
    assert [(p.name, p.type, p.default, p.required) for p in tool.parameters] == [
        ("type", "str", "game", True),
        ("page", "int, optional", "1", False),
    ]


def test_records_survive_their_own_json():
    tools, dialogues = offline_tools(), offline_dialogues(200, seed=3)
    assert inventory([tool.to_json() for tool in tools.values()], "tools") == tools
    assert dataset([json.loads(json.dumps(dialogue.to_json())) for dialogue in dialogues], tools, "data") == dialogues


def test_the_order_of_tools_is_that_of_tool_list():
    other = {**GIVEAWAYS, "name": "other"}
    answers = {
        "tool_list": ["other", "live_giveaways_by_type"],
        "param_filling": [
            {"name": "live_giveaways_by_type", "arguments": {"type": "x"}},
            {"name": "other", "arguments": {"type": "y"}},
        ],
    }
    (dialogue,) = dataset([changed(["answers"], answers)], inventory([GIVEAWAYS, other], "tools"), "data")
    assert dialogue.requests[0].tools == ("other", "live_giveaways_by_type")


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ("text", r"record 1 must be a JSON object"),
        (changed(["query"], 3), r"record 1: query must be text, not 3"),
        (changed(["answers"], None), r"record 1 \('Where can.*: answers must be a JSON object"),
        (changed(["answers", "tool_list"], "x"), r"tool_list must be a list"),
        (changed(["answers", "param_filling"], None), r"param_filling must be a list"),
        (changed(["answers", "tool_list"], ["x"]), r"only one has \['live_giveaways_by_type', 'x'\]"),
        (changed(["answers", "param_filling", 0, "arguments"], [1]), r"arguments of live_giveaways_by_type"),
        (changed(["answers", "param_filling", 0, "arguments"], {"kind": 1}), r"\['kind'\] is no parameter"),
        (changed(["followups"], 1), r"followups must be a list"),
        ({**QUERY, "withheld": {"live_giveaways_by_type": ["type"]}}, r"exactly one call"),
    ],
)
def test_a_wrong_record_is_named(record, error):
    with pytest.raises(UserError, match=error):
        dataset([{**QUERY, "id": "first"}, record], TOOLS, "data")


def test_only_required_and_filled_parameters_can_be_withheld():
    record = {
        "query": "Where?",
        "answers": {"tool_list": ["live_giveaways_by_type"], "param_filling": [QUERY["answers"]["param_filling"][0]]},
    }
    (dialogue,) = dataset([{**record, "withheld": {"live_giveaways_by_type": ["type"]}}], TOOLS, "data")
    assert dialogue.requests[0].withheld == {"live_giveaways_by_type": ("type",)}
    with pytest.raises(UserError, match="withheld 'page' must be a required"):
        dataset([{**record, "withheld": {"live_giveaways_by_type": ["page"]}}], TOOLS, "data")


def test_a_tool_outside_the_inventory_is_named():
    record = changed(["answers"], {"tool_list": ["gone"], "param_filling": [{"name": "gone", "arguments": {}}]})
    with pytest.raises(UserError, match="'gone' is not in the inventory"):
        dataset([record], TOOLS, "data")


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (changed(["name"], "", GIVEAWAYS), r"tool 1: name must be text"),
        (changed(["required_param"], {}, GIVEAWAYS), r"tool 1 \(live.*required_param must be a list"),
        (changed(["required_param", 0], {"a": {}, "b": {}}, GIVEAWAYS), r"one key"),
        (changed(["optional_param", 0], {"type": {}}, GIVEAWAYS), r"'type' is listed twice"),
        (changed(["description"], "Other words.", GIVEAWAYS), r"another tool has the same name"),
    ],
)
def test_a_wrong_tool_is_named(entry, error):
    with pytest.raises(UserError, match=error):
        inventory([GIVEAWAYS, entry], "tools")


def test_a_tool_listed_twice_counts_once():
    assert inventory([GIVEAWAYS, GIVEAWAYS], "tools") == TOOLS


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(UserError, match="give --tool_inventory_path an existing file"):
        read_inventory(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_bytes(b"\xff[")
    with pytest.raises(UserError, match="is not JSON"):
        read_dataset(broken, TOOLS)
    broken.write_text("{}")
    with pytest.raises(UserError, match="must be a JSON list"):
        read_dataset(broken, TOOLS)
    broken.write_text("[]")
    with pytest.raises(UserError, match="holds no records"):
        read_dataset(broken, TOOLS)
    with pytest.raises(UserError, match="holds no tools"):
        read_inventory(broken)


def test_a_repeated_id_is_named():
    with pytest.raises(UserError, match="two records have the id 'a'"):
        dataset([{**QUERY, "id": "a"}] * 2, TOOLS, "data")
