"""Destinations that are filled in from a body."""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import DecodeError
from tests.topologies.declared import Order
from topologies import Template


class Region(Enum):
    EUROPE = "eu"


@dataclass
class Address:
    city: str


@dataclass
class Person:
    name: str
    address: Address


def test_a_name_without_fields_is_the_same_for_every_body() -> None:
    template = Template("orders.enriched")
    assert template.fields == ()
    assert template.fill(None) == template.fill({"a": 1}) == "orders.enriched"


def test_fields_are_read_from_models_dataclasses_and_dicts() -> None:
    template = Template("tenant.{customer}")
    assert template.fields == ("customer",)
    assert template.fill(Order(id=1, customer="acme", total=1)) == "tenant.acme"
    assert template.fill({"customer": "acme"}) == "tenant.acme"
    assert Template("{a}-{b}.{a}").fill({"a": 1, "b": 2}) == "1-2.1"


def test_a_dotted_path_goes_deeper() -> None:
    template = Template("{name}.{address.city}.in")
    assert template.fill(Person("ann", Address("paris"))) == "ann.paris.in"
    assert template.fill({"name": "ann", "address": {"city": "paris"}}) == "ann.paris.in"


def test_the_items_of_a_dict_come_before_its_methods() -> None:
    assert Template("{items}").fill({"items": "three"}) == "three"


def test_doubled_braces_stay() -> None:
    template = Template("{{tag}}.{id}")
    assert template.fields == ("id",)
    assert template.fill({"id": 1}) == "{tag}.1"
    assert Template("{{tag}}").fill({}) == "{tag}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (-5, "-5"),
        (True, "true"),
        (Region.EUROPE, "eu"),
        (date(2026, 1, 2), "2026-01-02"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("ünï", "ünï"),
    ],
)
def test_single_values_become_text(value: Any, text: str) -> None:
    assert Template("{a}").fill({"a": value}) == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is None"),
        ("", "is empty"),
        ([1], "is of type list"),
        ({"a": 1}, "is of type dict"),
        (Order, "is of type ModelMetaclass"),
        ("a.b", "is 'a.b'"),
        ("a*", r"is 'a\*'"),
        (">", "is '>'"),
        ("#", "is '#'"),
        ("a b", "is 'a b'"),
        ("a/b", "is 'a/b'"),
        ("a\n", "is 'a"),
        (1.5, "is '1.5'"),
        ("x" * 300, "is 'xxxx.*…'"),
    ],
)
def test_a_value_that_is_no_safe_part_of_a_name_is_an_error_of_its_message(value: Any, why: str) -> None:
    with pytest.raises(DecodeError, match=f"field 'a' {why}") as caught:
        Template("tenant.{a}").fill({"a": value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("body", [{}, SimpleNamespace(), 5, None, "text", {"a": None}])
def test_a_missing_field_is_an_error_of_its_message(body: Any) -> None:
    with pytest.raises(DecodeError, match=r"has no field 'b'|has no field 'a'"):
        Template("{a.b}").fill(body)


@pytest.mark.parametrize(
    "text", ["{}", "{0}", "{a", "a}", "{a!r}", "{a:>3}", "{a[0]}", "{a..b}", "{__class__}", "{a b}"]
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Template(text)


def test_templates_are_values() -> None:
    assert Template("{a}") == Template("{a}") != Template("{b}")
    assert hash(Template("{a}")) == hash(Template("{a}"))
    assert repr(Template("{a}")) == "Template('{a}')"


SAFE = st.text(st.sampled_from("abzAZ019_-@+=~%é"), min_size=1, max_size=30)
LITERAL = st.text(st.sampled_from("ab.-/:{}"), max_size=6)


@given(parts=st.lists(st.tuples(LITERAL, SAFE), min_size=1, max_size=4), last=LITERAL)
def test_what_is_filled_in_is_found_between_the_fixed_parts(parts: list[tuple[str, str]], last: str) -> None:
    def escaped(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    body = {f"f{number}": value for number, (_, value) in enumerate(parts)}
    template = Template("".join(f"{escaped(text)}{{f{n}}}" for n, (text, _) in enumerate(parts)) + escaped(last))
    filled = template.fill(body)
    assert filled == "".join(text + value for text, value in parts) + last
    assert template.matches(filled)


@given(value=st.text())
def test_a_value_never_reaches_beyond_its_part(value: str) -> None:
    template = Template("tenant.{a}.in")
    try:
        filled = template.fill({"a": value})
    except DecodeError:
        return
    assert filled.split(".") == ["tenant", value, "in"]
    assert not set(value) & set("*>#/: \t\n")


def test_a_template_knows_the_names_that_may_come_of_it() -> None:
    assert Template("tenant.{a}").matches("tenant.acme")
    assert not Template("tenant.{a}").matches("tenant.acme.eu")
    assert not Template("tenant.{a}").matches("tenant.")
    assert Template("orders").matches("orders")
    assert not Template("orders").matches("orders2")
