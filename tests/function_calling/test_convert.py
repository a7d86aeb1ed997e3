"""xlam-style and ToolBench-style records become dialogues and tools that the system's own reader takes."""

import json

import pytest

from env_tuning.errors import UserError
from env_tuning.function_calling.convert import from_toolbench, from_xlam, main
from env_tuning.function_calling.records import dataset, inventory, read_dataset, read_inventory

XLAM = {
    "id": 7,
    "query": "Torrents of Meg?",
    "tools": json.dumps(
        [
            {
                "name": "search",
                "description": "Search.",
                "parameters": {
                    "page": {"description": "Page.", "type": "int, optional", "default": 1},
                    "keywords": {"description": "Words.", "type": "str"},
                },
            }
        ]
    ),
    "answers": json.dumps([{"name": "search", "arguments": {"keywords": "Meg"}}]),
}


def bench(*turns, tools=None):
    """A ToolBench-style record."""
    schema = {"type": "object", "properties": {"q": {"type": "string", "example_value": "a"}}, "required": ["q"]}
    listed = tools or [{"name": "find", "description": "Finds.", "parameters": schema}, {"name": "Finish"}]
    head = [("system", f"You have these APIs: {listed}"), ("user", "\nFind b.\nBegin!\n")]
    return {"conversations": [{"from": who, "value": value} for who, value in [*head, *turns]]}


def act(name, **arguments):
    """An action as ToolBench models write it."""
    return "assistant", f"\nThought: hm\nAction: {name}\nAction Input: {json.dumps(arguments)}"


GOOD, BAD = ("function", '{"error": "", "response": "b"}'), ("function", '{"error": "no", "response": ""}')


def test_xlam():
    dialogues, tools, left_out = from_xlam([XLAM])
    assert left_out == 0
    assert dialogues[0].id == "7"
    assert [(p.name, p.required, p.default) for p in tools["search"].parameters] == [
        ("keywords", True, None),
        ("page", False, "1"),
    ]
    again = inventory([tool.to_json() for tool in tools.values()], "tools")
    assert again == tools
    assert dataset([dialogue.to_json() for dialogue in dialogues], again, "data") == dialogues


def test_parameters_of_several_records_are_joined():
    wider = json.loads(XLAM["tools"])
    wider[0]["parameters"]["year"] = {"type": "int"}
    tools = from_xlam([XLAM, {**XLAM, "id": 8, "tools": wider}]).tools
    assert [p.name for p in tools["search"].parameters] == ["keywords", "year", "page"]


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({**XLAM, "tools": "["}, "record 1: tools is not JSON"),
        ({**XLAM, "answers": "{}"}, "record 1: answers must be a list"),
        ({**XLAM, "query": None}, "record 1: query must be a str"),
        (None, "record 1: query must be a str"),
    ],
)
def test_a_wrong_xlam_record_is_named(record, error):
    with pytest.raises(UserError, match=error):
        from_xlam([XLAM, record])


def test_toolbench_keeps_the_calls_that_worked():
    turns = [act("find", q="x"), BAD, act("find", q="b"), GOOD, act("find", q="b"), GOOD, act("Finish", answer="b")]
    dialogues, tools, left_out = from_toolbench([bench(*turns), bench(act("find", q="x"), BAD)])
    assert left_out == 1
    (dialogue,) = dialogues
    assert dialogue.requests[0].query == "Find b."
    assert [call.arguments for call in dialogue.requests[0].calls] == [{"q": "b"}]
    assert list(tools) == ["find"]
    assert tools["find"].required == {"q"}


def test_a_toolbench_record_without_tools_is_named():
    with pytest.raises(UserError, match="record 0: the system message must end with the list"):
        from_toolbench([bench(act("find", q="b"), tools="__import__('os')")])
    with pytest.raises(UserError, match="a system and a user message"):
        from_toolbench([{"conversations": [{"from": "user", "value": "hi"}]}])


@pytest.mark.parametrize("lines", [True, False])
def test_a_file_becomes_two(tmp_path, capsys, lines):
    source = tmp_path / "xlam.json"
    source.write_text(json.dumps(XLAM) + "\n" if lines else json.dumps([XLAM]))
    command = ["xlam", str(source), "--dataset", str(tmp_path / "data.json"), "--tools", str(tmp_path / "tools.json")]
    assert main(command) == 0
    assert capsys.readouterr().out == "1 records, 1 tools, 0 records without a call that worked\n"
    tools = read_inventory(tmp_path / "tools.json")
    assert [dialogue.id for dialogue in read_dataset(tmp_path / "data.json", tools)] == ["7"]


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps({**XLAM, "answers": '[{"name": "gone", "arguments": {}}]'})])
def test_a_wrong_file_is_one_line_and_writes_nothing(tmp_path, capsys, text):
    source = tmp_path / "xlam.json"
    source.write_text(text)
    assert main(["xlam", str(source), "--dataset", str(tmp_path / "d.json"), "--tools", str(tmp_path / "t.json")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert not (tmp_path / "d.json").exists()
