"""Brokers by URL: the right one, and no password in any error."""

from typing import Any

import pytest

from actors import Broker, TopologyError
from engine import Memory, broker


def test_memory_is_new_each_time_unless_it_has_a_name() -> None:
    first, second = broker("memory:"), broker("memory:")
    assert isinstance(first, Memory)
    assert isinstance(first, Broker)
    assert first is not second
    assert broker("memory://test-urls") is broker("MEMORY://test-urls")
    assert broker("memory://test-urls") is not broker("memory://other")


def test_options_follow_the_name() -> None:
    memory = broker("memory://test-options?capacity=5&max_bytes=100")
    assert isinstance(memory, Memory)
    assert (memory.name, memory.capacity, memory.max_bytes) == ("test-options", 5, 100)
    assert broker("memory://test-options?max_bytes=100&capacity=5") is memory
    with pytest.raises(TopologyError, match="other options"):
        broker("memory://test-options")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memory:?capacity=many", "invalid literal"),
        ("memory:?capacity=0", "at least 1"),
        ("memory:?size=5", "no option of it is called size"),
        ("memory:?size", "memory: URL"),
        ("postgres://user:s3cret@host/db", "the scheme postgres:"),
        ("//user:s3cret@host", "without a scheme"),
        ("s3cret", "without a scheme"),
        ("", "without a scheme"),
    ],
)
def test_an_error_tells_what_is_known_and_nothing_secret(url: str, told: str) -> None:
    with pytest.raises(TopologyError) as wrong:
        broker(url)
    assert told in str(wrong.value)
    assert "memory:" in str(wrong.value)
    assert "s3cret" not in str(wrong.value)


@pytest.mark.parametrize("url", [None, b"memory:", 5])
def test_what_is_no_text_is_no_url(url: Any) -> None:
    with pytest.raises(TopologyError) as wrong:
        broker(url)
    assert wrong.value.problem == f"broker(url): expected the URL of a broker as text, and not {type(url).__name__}"
    assert "memory:" in wrong.value.remedy
    assert "environment" in wrong.value.remedy


def test_a_password_does_not_become_a_name() -> None:
    assert "s3cret" not in repr(broker("memory://user:s3cret@test-password"))
