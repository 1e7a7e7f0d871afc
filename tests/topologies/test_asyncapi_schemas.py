"""Bodies as JSON Schema: in draft 7, shared, and under names that please."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, computed_field
from typing_extensions import TypedDict

from topologies.asyncapi_definitions import REF, draft7
from topologies.asyncapi_schemas import Schemas, content_type, variants


class Leaf(BaseModel):
    """A leaf."""

    size: int = 1


class Tree(BaseModel):
    leaf: Leaf = Field(description="The only one.")
    trees: "list[Tree]" = []


class Grown(BaseModel):
    tree: Tree

    @computed_field
    def height(self) -> int:
        return 1


class Holder(TypedDict):
    """Holds."""

    tree: Tree


def both(*hints: Any) -> Schemas:
    return Schemas((hint, mode) for hint in hints for mode in ("validation", "serialization"))


def test_a_model_that_is_read_and_written_alike_has_one_schema_even_if_it_holds_itself() -> None:
    schemas = both(Tree, Holder)
    assert list(schemas.definitions) == ["Holder", "Leaf", "Tree"]
    assert schemas.of(Tree, "validation") == schemas.of(Tree, "serialization") == {"$ref": f"{REF}Tree"}
    assert schemas.definitions["Tree"]["properties"]["trees"]["items"] == {"$ref": f"{REF}Tree"}


def test_a_model_with_a_computed_field_has_a_schema_for_each() -> None:
    schemas = both(Grown)
    assert list(schemas.definitions) == ["Grown-Input", "Grown-Output", "Leaf", "Tree"]
    assert "height" not in schemas.definitions["Grown-Input"]["properties"]
    assert schemas.definitions["Grown-Output"]["properties"]["tree"] == {"$ref": f"{REF}Tree"}


def test_what_stands_beside_a_reference_still_counts() -> None:
    leaf = both(Tree).definitions["Tree"]["properties"]["leaf"]
    assert leaf == {"allOf": [{"$ref": f"{REF}Leaf"}], "description": "The only one."}


def test_what_json_schema_has_no_words_for_is_left_open() -> None:
    @dataclass
    class Odd:
        call: Callable[[], None]
        size: int

    schemas = both(Odd, Any, Callable[[], None], object())
    (odd,) = schemas.definitions.values()
    assert odd["properties"]["size"]["type"] == "integer"
    assert "type" not in odd["properties"]["call"]
    assert schemas.of(Any, "validation") == {}
    assert schemas.of(Callable[[], None], "validation") == {}


def test_a_field_is_found_by_its_path_through_references() -> None:
    schemas = both(Grown)
    grown = schemas.of(Grown, "serialization")
    assert schemas.field(grown, "tree.leaf.size") == {"default": 1, "title": "Size", "type": "integer"}
    assert schemas.field(grown, "tree.leaf")["description"] == "The only one."
    assert schemas.field(grown, "tree.nothing.here") == {}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"prefixItems": [{}], "items": {"type": "string"}}, {"items": [{}], "additionalItems": {"type": "string"}}),
        ({"discriminator": {"propertyName": "kind", "mapping": {}}}, {"discriminator": "kind"}),
        ({"properties": {"$ref": {"type": "string"}, "b": {}}}, {"properties": {"$ref": {"type": "string"}, "b": {}}}),
        ({"default": float("inf"), "examples": [b"a"]}, {"default": None, "examples": ["YQ=="]}),
        ({"examples": [{"$ref": "#/x", "y": 1}]}, {"examples": [{"$ref": "#/x", "y": 1}]}),
    ],
)
def test_newer_words_become_those_of_draft_7(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert draft7(given) == made


@pytest.mark.parametrize(
    ("hint", "kind"),
    [
        (Leaf, "application/json"),
        (dict[str, Any], "application/json"),
        (str, "text/plain"),
        (Annotated[str, Field(max_length=3)], "text/plain"),
        (Literal["a", "b"], "text/plain"),
        (Literal["a", 1], "application/json"),
        (bytes, "application/octet-stream"),
        (Any, None),
    ],
)
def test_the_content_type_is_what_is_on_the_wire(hint: Any, kind: str | None) -> None:
    assert content_type(hint) == kind


def test_a_union_is_its_members_without_none() -> None:
    assert variants(Leaf | str | None) == (Leaf, str)
    assert variants(object) == (Any,)
