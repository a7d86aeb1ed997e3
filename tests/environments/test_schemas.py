"""Tool documents from signatures and docstrings: nested types are kept, and nothing is guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import pytest
from typing_extensions import NotRequired

from env_tuning.environments.registry import TOOL_CLASSES, tool_class
from env_tuning.environments.schemas import SchemaError, read_docstring, schema_of, tool_docs_of
from env_tuning.environments.tool_class import ToolClass

TEXT, NUMBER, NULL = {"type": "string"}, {"type": "number"}, {"type": "null"}


class Place(TypedDict):
    street: str
    rooms: list[int]
    note: NotRequired[str]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, TEXT),
        (int, {"type": "integer"}),
        (float, NUMBER),
        (bool, {"type": "boolean"}),
        (None, NULL),
        (Any, {}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (list[str], {"type": "array", "items": TEXT}),
        (Sequence[str], {"type": "array", "items": TEXT}),
        (
            list[dict[str, int]],
            {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "integer"}}},
        ),
        (Mapping[str, list[float]], {"type": "object", "additionalProperties": {"type": "array", "items": NUMBER}}),
        (tuple[str, ...], {"type": "array", "items": TEXT}),
        (tuple[str, float], {"type": "array", "prefixItems": [TEXT, NUMBER], "minItems": 2, "maxItems": 2}),
        (Optional[str], {"anyOf": [TEXT, NULL]}),  # noqa: UP045
        (Union[str, float], {"anyOf": [TEXT, NUMBER]}),  # noqa: UP007
        (str | None, {"anyOf": [TEXT, NULL]}),
        (list[str | None], {"type": "array", "items": {"anyOf": [TEXT, NULL]}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (
            Place,
            {
                "type": "object",
                "properties": {"street": TEXT, "rooms": {"type": "array", "items": {"type": "integer"}}, "note": TEXT},
                "required": ["street", "rooms"],
            },
        ),
    ],
    ids=str,
)
def test_the_schema_of_an_annotation_keeps_what_is_inside(annotation, schema):
    assert schema_of(annotation) == schema


@pytest.mark.parametrize("annotation", [set[str], bytes, complex, object, dict[int, str], Literal[b"a"], ToolClass])
def test_a_type_that_json_does_not_have_is_refused(annotation):
    with pytest.raises(SchemaError):
        schema_of(annotation)


class Kitchen(ToolClass):
    def cook(
        self,
        dish: str,
        amounts: list[dict[str, int]],
        place: Place | None = None,
        hot: Annotated[bool, "ignored"] = True,
        *,
        style: Literal["soup", "stew"] = "soup",
    ) -> dict:
        """Cook a dish.

        It may take
        some time.

        Args:
            dish: what to cook;
                a name.
            amounts (list): grams: by ingredient.
            place: where.

        Returns:
            The dish.

        Raises:
            ValueError: no fire.
        """

    def rest(self) -> None:
        """Rest."""


def test_a_tool_becomes_a_document():
    cook, rest = tool_docs_of(Kitchen)
    assert (cook.name, cook.description) == ("cook", "Cook a dish. It may take some time.")
    assert cook.response == {"description": "The dish."}
    assert cook.parameters["required"] == ["dish", "amounts"]
    properties = cook.parameters["properties"]
    assert properties["dish"] == {"type": "string", "description": "what to cook; a name."}
    assert properties["amounts"]["description"] == "grams: by ingredient."
    assert properties["amounts"]["items"]["additionalProperties"] == {"type": "integer"}
    assert properties["place"]["anyOf"][0]["required"] == ["street", "rooms"]
    assert properties["place"]["default"] is None
    assert properties["hot"] == {"type": "boolean", "default": True}
    assert properties["style"] == {"type": "string", "enum": ["soup", "stew"], "default": "soup"}
    assert rest.parameters == {"type": "object", "properties": {}, "required": []}
    assert rest.response is None


@pytest.mark.parametrize("name", TOOL_CLASSES)
def test_every_class_of_the_benchmark_can_be_documented_from_its_code(name):
    jsonschema = pytest.importorskip("jsonschema")
    documents = tool_docs_of(tool_class(name))
    assert [doc.name for doc in documents] == list(tool_class(name).tools)
    for doc in documents:
        jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(doc.parameters)))


def test_what_a_model_could_not_fill_in_is_named():
    class Silent(ToolClass):
        def f(self): ...

    class Bare(ToolClass):
        def f(self, x):
            """Do."""

    class Star(ToolClass):
        def f(self, *x: int):
            """Do."""

    class Positional(ToolClass):
        def f(self, x: int, /):
            """Do."""

    class Default(ToolClass):
        def f(self, x: str = object()):  # type: ignore[assignment]
            """Do."""

    class Typo(ToolClass):
        def f(self, place: str):
            """Do.

            Args:
                palce: where.
            """

    class Hidden(ToolClass):
        def f(self, x: NotImported):  # noqa: F821
            """Do."""

    for found, part in {
        Silent: "no docstring",
        Bare: "parameter x has no annotation",
        Star: "models name every argument",
        Positional: "models name every argument",
        Default: "is no JSON value",
        Typo: "explains ['palce']",
        Hidden: "TYPE_CHECKING",
    }.items():
        with pytest.raises(SchemaError) as caught:
            tool_docs_of(found)
        assert part in str(caught.value)
        assert f"{found.__name__}.f" in str(caught.value)


def test_a_docstring_without_sections_is_all_description():
    assert read_docstring("One.\n\nTwo: three.\n").description == "One. Two: three."
    assert read_docstring("One.\n\nArgs:\n").arguments == {}
