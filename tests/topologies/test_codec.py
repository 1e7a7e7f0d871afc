"""Bodies: decoded by annotation, encoded by type, handed from stage to stage."""

import json
import math
import sys
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from traceback import format_exception
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from actors import DecodeError
from tests.topologies.declared import Order
from topologies import codec, encode


class Kind(StrEnum):
    OPEN = "open"


class Level(Enum):
    HIGH = 3


@dataclass
class Point:
    x: int
    y: float


@pydantic_dataclass
class Checked:
    at: datetime


class Parcel(TypedDict):
    id: int
    note: NotRequired[str]


class Parcels(TypedDict, total=False):
    first: Parcel
    rest: list[Parcel]


class Pair(NamedTuple):
    a: int
    b: str


class Opaque:
    """Nothing that pydantic knows."""


def refusal(hint: Any, raw: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        codec(hint).decode(raw)
    # Pydantic's own error would drag the body along into the traceback of the dead letter.
    assert "ValidationError" not in "".join(format_exception(caught.value))
    return str(caught.value)


WIRE: list[tuple[Any, bytes, Any]] = [
    (Order, b'{"id":1,"customer":"a","total":2}', Order(id=1, customer="a", total=2)),
    (Point, b'{"x":1,"y":2.5}', Point(1, 2.5)),
    (Checked, b'{"at":"2026-01-02T03:04:05Z"}', Checked(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))),
    (Parcel, b'{"id":1}', {"id": 1}),
    (Parcels, b'{"rest":[{"id":1,"note":"n"}]}', {"rest": [{"id": 1, "note": "n"}]}),
    (Pair, b'[1,"b"]', Pair(1, "b")),
    (dict, b'{"a":[1,null]}', {"a": [1, None]}),
    (dict[str, int], b'{"a":1}', {"a": 1}),
    (list, b'[1,"a"]', [1, "a"]),
    (list[Order], b'[{"id":1,"customer":"a","total":2}]', [Order(id=1, customer="a", total=2)]),
    (tuple[int, ...], b"[1,2]", (1, 2)),
    (set[int], b"[1,1]", {1}),
    (int, b"7", 7),
    (float, b"7.5", 7.5),
    (bool, b"true", True),
    (str, b"plain \xc3\xa9", "plain é"),
    (bytes, b"\x00\xff", b"\x00\xff"),
    (Kind, b'"open"', Kind.OPEN),
    (Level, b"3", Level.HIGH),
    (Decimal, b'"1.10"', Decimal("1.10")),
    (UUID, b'"12345678-1234-5678-1234-567812345678"', UUID("12345678-1234-5678-1234-567812345678")),
    (Any, b'{"a":1}', {"a": 1}),
    (object, b"[1]", [1]),
    (Order | None, b"null", None),
    (Order | Parcel, b'{"id":5}', {"id": 5}),
    (Annotated[str, Field(min_length=2)], b"ab", "ab"),
    (Annotated[bytes, Field(max_length=2)], b"ab", b"ab"),
    (Annotated[list[Parcel], Field(max_length=2)], b'[{"id":1}]', [{"id": 1}]),
    (Literal["a", "b"], b"a", "a"),
    (str | None, b"text", "text"),
    (bytes | None, b"\xff", b"\xff"),
    (str | Point, b"text", "text"),
    (str | Point, b'{"x":1,"y":2}', Point(1, 2)),
    (Literal[1, 2] | None, b"2", 2),
]


@pytest.mark.parametrize(("hint", "raw", "body"), WIRE, ids=lambda value: str(value)[:40])
def test_bodies_decode_by_their_annotation_and_encode_to_what_decodes_again(hint: Any, raw: bytes, body: Any) -> None:
    coded = codec(hint)
    assert not coded.opaque
    assert coded.decode(raw) == body
    if body is not None:
        again = encode(body)
        assert again is not None
        assert coded.decode(again) == body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(body=JSON.filter(lambda body: not isinstance(body, str) and body is not None))
def test_any_json_comes_back_as_it_was(body: Any) -> None:
    raw = encode(body)
    assert raw is not None
    assert codec(Any).decode(raw) == body
    assert json.loads(raw) == body


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    raw = encode(text)
    assert raw == text.encode()
    assert codec(str).decode(text.encode()) == text


@given(raw=st.binary())
def test_bytes_are_never_touched(raw: bytes) -> None:
    assert encode(raw) is raw
    assert codec(bytes).decode(raw) is raw
    assert encode(bytearray(raw)) == encode(memoryview(raw)) == raw


@given(raw=st.binary())
def test_whatever_comes_is_decoded_or_refused(raw: bytes) -> None:
    for hint in (Order, str, int, list[Order], Parcel):
        with suppress(DecodeError):
            codec(hint).decode(raw)


@given(
    order=st.builds(
        Order,
        id=st.integers(1, 2**63),
        customer=st.text(st.characters(exclude_categories=["Cs"])),
        total=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_model_comes_back_as_it_was(order: Order) -> None:
    raw = encode(order)
    assert raw is not None
    assert codec(Order).decode(raw) == order


def test_a_refusal_names_the_fields_and_what_was_expected() -> None:
    assert refusal(Order, b'{"id":0,"total":"x"}') == (
        "id: Input should be greater than 0; customer: Field required; "
        "total: Input should be a valid number, unable to parse string as a number"
    )
    assert refusal(Order, b"[1") == "Invalid JSON: EOF while parsing a list at line 1 column 2"
    assert refusal(Order, b"") == "Invalid JSON: EOF while parsing a value at line 1 column 0"
    assert refusal(list[Order], b'[1,{"id":1,"customer":"a","total":{}}]') == (
        "0: Input should be an object; 1.total: Input should be a valid number"
    )
    assert refusal(str, b"ok \xff") == "the body is not UTF-8 text: invalid start byte at byte 3"
    assert refusal(Annotated[str, Field(min_length=3)], b"ab") == "String should have at least 3 characters"


def test_a_refusal_tells_three_errors_and_counts_the_rest() -> None:
    assert refusal(list[int], b'["a","b","c","d","e"]').endswith("; and 2 more")
    many = refusal(list[int], json.dumps(["a"] * 5000).encode())
    assert many == "5000 values are not what list[int] declares"


def test_a_refusal_never_echoes_a_large_body() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: str

        @field_validator("name")
        @classmethod
        def short(cls, name: str) -> str:
            raise ValueError(f"{name} is no name")

    for raw in (json.dumps({"name": "x" * 100_000}), json.dumps({"y" * 100_000: 1}), '"' + "z" * 100_000):
        assert len(refusal(Strict, raw.encode())) < 300


def test_what_a_validator_raises_is_an_error_of_the_message() -> None:
    class Fragile(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def look_up(cls, name: str) -> str:
            return {"a": "b"}[name]

    assert refusal(Fragile, b'{"name":"z"}') == "the body's validator raised KeyError: 'z'"


def test_deep_nesting_is_refused_not_a_crash() -> None:
    assert "recursion limit" in refusal(Any, b"[" * 100_000)


def test_no_body_at_all_is_none_where_none_is_allowed() -> None:
    assert codec(Order | None).decode(b"") is None
    assert encode(None) is None


def test_models_are_published_by_alias_so_that_they_can_be_read_again() -> None:
    class Aliased(BaseModel):
        order_id: int = Field(alias="orderId")

    class ByName(BaseModel):
        model_config = ConfigDict(serialize_by_alias=False, populate_by_name=True)
        order_id: int = Field(alias="orderId")

    assert encode(Aliased(orderId=1)) == b'{"orderId":1}'
    assert encode([Aliased(orderId=1)]) == b'[{"orderId":1}]'
    assert encode(ByName(order_id=1)) == b'{"order_id":1}'


def test_what_json_cannot_say_is_null() -> None:
    order = Order(id=1, customer="a", total=math.inf)
    assert encode({"a": math.nan, "b": [math.inf]}) == b'{"a":null,"b":[null]}'
    assert b'"total":null' in (encode(order) or b"")
    assert encode(Point(1, math.nan)) == b'{"x":1,"y":null}'


def test_what_cannot_be_encoded_says_so_in_short() -> None:
    circular: list[Any] = []
    circular.append(circular)
    for body in (Opaque(), {"a": Opaque()}, circular, "half a pair: \ud800"):
        with pytest.raises(TypeError, match=f"a body of type {type(body).__name__} cannot be published") as caught:
            encode(body)
        assert len(str(caught.value)) < 300


def test_a_type_that_pydantic_does_not_know_can_only_pass_between_stages() -> None:
    coded = codec(Opaque)
    given = Opaque()
    assert "schema" in coded.opaque
    assert coded.convert(given) is given
    with pytest.raises(DecodeError, match="nothing can be decoded to Opaque"):
        coded.decode(b"{}")
    with pytest.raises(DecodeError, match="a body of type int came where Opaque is declared"):
        coded.convert(1)


def test_a_model_with_a_type_that_does_not_exist_is_opaque() -> None:
    class Loose(BaseModel):
        other: "Missing"  # type: ignore[name-defined]  # noqa: F821

    assert "Missing" in codec(Loose).opaque


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes them as they are")
def test_a_typed_dictionary_that_holds_itself_says_what_to_do() -> None:
    assert "take TypedDict from typing_extensions" in codec(Tree).opaque


class Tree(TypedDict):
    inside: "list[Tree]"


class Express(Order):
    by: str = "air"


FITTING: list[tuple[Any, Any]] = [
    (Order, Order),
    (Express, Order),
    (Order, Any),
    (Order, object),
    (Any, Any),
    (list[Order], list[Order]),
    (list[Order], list),
    (Parcel, dict),
    (dict[str, int], dict),
    (OrderedDict, dict),
    (Order | Express, Order),
    (Order, Order | None),
    (Order | None, Order | None),
    (Annotated[str, Field(min_length=2)], str),
    (bool, int),
]


@pytest.mark.parametrize(("offered", "wanted"), FITTING)
def test_a_body_that_fits_passes_untouched(offered: Any, wanted: Any) -> None:
    assert codec(wanted).adapter(offered) is None


CONVERTED: list[tuple[Any, Any, Any, Any]] = [
    (Any, Order, Order(id=1, customer="a", total=2), Order(id=1, customer="a", total=2)),
    (dict, Order, {"id": 1, "customer": "a", "total": 2}, Order(id=1, customer="a", total=2)),
    (Point, Pair, Point(1, 2), None),
    (Express, Point, Express(id=1, customer="a", total=2), None),
    (Order, Express, Order(id=1, customer="a", total=2), Express(id=1, customer="a", total=2)),
    (Order, dict, Order(id=1, customer="a", total=2), {"id": 1, "customer": "a", "priority": "low", "total": 2}),
    (Point, dict[str, float], Point(1, 2), {"x": 1, "y": 2}),
    (Point, bytes, Point(1, 2), b'{"x":1,"y":2}'),
    (bytes, Point, b'{"x":1,"y":2}', Point(1, 2)),
    (str, Point, '{"x":1,"y":2}', Point(1, 2)),
    (bytes, str, b"text", "text"),
    (int, str, 5, "5"),
    (int, float, 5, 5.0),
    (list, list[int], ["5"], [5]),
    (Order, Parcel, Order(id=1, customer="a", total=2), {"id": 1}),
    (int, Order, 5, None),
]


@pytest.mark.parametrize(("offered", "wanted", "body", "expected"), CONVERTED)
def test_a_body_that_does_not_fit_arrives_as_it_would_have_through_a_broker(
    offered: Any, wanted: Any, body: Any, expected: Any
) -> None:
    adapt = codec(wanted).adapter(offered)
    assert adapt is not None
    if expected is not None:
        assert adapt(body) == expected
        return
    with pytest.raises(DecodeError, match=f"a body of type {type(body).__name__} came where {wanted.__name__} is"):
        adapt(body)


def test_a_body_of_the_declared_class_is_not_validated_again() -> None:
    order = Order(id=1, customer="a", total=2)
    adapt = codec(Order).adapter(Any)
    assert adapt is not None
    assert adapt(order) is order
