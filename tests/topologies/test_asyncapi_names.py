"""Names that a reference may end in, and the parameters of an address."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.asyncapi_names import Names, parameterized, safe


@given(st.text())
def test_a_safe_name_is_never_empty_and_needs_no_escaping(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", safe(text))


@given(st.lists(st.text(alphabet="ab/_-2", max_size=4), max_size=20))
def test_no_name_is_given_twice(wishes: list[str]) -> None:
    names = Names()
    given_ = [names.free(wish) for wish in wishes]
    assert len(set(given_)) == len(given_)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in given_)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("orders", "orders"),
        ("tenant.{id}", "tenant.id"),
        ("list[Order]", "list_Order"),
        ("orders.*", "orders.any"),
        ("a b/c", "a_b_c"),
        ("", "_"),
        ("größe", "gr_e"),
    ],
)
def test_a_safe_name_stays_readable(text: str, name: str) -> None:
    assert safe(text) == name


def test_the_second_of_a_name_gets_a_number() -> None:
    names = Names()
    assert [names.free("a"), names.free("a"), names.free("a-2"), names.free("a", "b")] == ["a", "a-2", "a-2-2", "b"]


def test_fields_of_an_address_are_parameters_and_one_field_is_one_parameter() -> None:
    address, fields = parameterized("{a.b}.x.{a_b}.{a.b}")
    assert address == "{a_b}.x.{a_b-2}.{a_b}"
    assert fields == {"a_b": "a.b", "a_b-2": "a_b"}


def test_an_address_with_braces_of_its_own_cannot_be_written() -> None:
    assert parameterized("a{{b}}") == (None, {})
