"""`dead_letter`: the original untouched, and headers that say why."""

from typing import Any

from actors import Failure, Message, Receipt, dead_letter
from actors.deadletter import TRACEBACK_LIMIT, text
from tests.actors.fakes import Completed, Shelf


def letter(error: BaseException, headers=None, **options) -> Message:
    """The dead letter of a message with those headers that failed with that error."""
    original = Message(raw=b"\xff untouched", key=b"key", headers=headers, **options)
    receipt = Receipt(Completed(), original)
    receipt.fail(Failure(error, "stage", 3, 0.0, 1700000000.5))
    return dead_letter(receipt, ("memory", "orders"), Shelf("orders.dead"))


def headers_of(error: BaseException, headers=None, **options) -> dict[str, Any]:
    return dict(letter(error, headers, **options).headers or {})


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_body_key_and_headers_are_those_of_the_original():
    made = letter(ValueError("no"), {"trace": "1", "binary": b"\xff"}, id="id", correlation_id="c")
    assert (made.raw, made.key, made.id, made.correlation_id) == (b"\xff untouched", b"key", "id", "c")
    assert made.headers is not None
    assert made.headers["trace"] == "1"
    assert made.headers["binary"] == b"\xff"
    assert made.destination == "orders.dead"


def test_its_headers_say_why_where_and_how_often():
    error = raised(ValueError("total is negative\nand more"))
    headers = headers_of(error, source="eu.orders", partition=2, offset=41)
    assert headers.pop("headrace-traceback").endswith("ValueError: total is negative\nand more\n")
    assert headers == {
        "headrace-reason": "total is negative",
        "headrace-error-type": "ValueError",
        "headrace-stage": "stage",
        "headrace-attempts": "3",
        "headrace-first-failure": "1970-01-01T00:00:00.000+00:00",
        "headrace-last-failure": "2023-11-14T22:13:20.500+00:00",
        "headrace-origin-broker": "memory",
        "headrace-origin-destination": "eu.orders",
        "headrace-origin-partition": "2",
        "headrace-origin-offset": "41",
    }


def test_passwords_in_what_an_exception_says_are_blanked():
    error = raised(OSError("cannot reach postgres://ann:hunter2@db/orders"))
    headers = headers_of(error)
    assert headers["headrace-reason"] == "cannot reach postgres://ann:***@db/orders"
    assert "hunter2" not in headers["headrace-traceback"]
    assert "OSError: cannot reach" in headers["headrace-traceback"]


def test_what_came_under_the_names_of_its_own_headers_says_nothing_in_it():
    came = {"headrace-origin-offset": "7", "headrace-origin-partition": "0", "headrace-reason": "forged"}
    headers = headers_of(ValueError("no"), came | {"headrace-mine": "kept"})
    assert headers["headrace-reason"] == "no"
    assert headers["headrace-mine"] == "kept"
    assert "headrace-origin-offset" not in headers
    assert "headrace-origin-partition" not in headers


def test_a_brief_one_is_short_and_says_the_rest_all_the_same():
    receipt = Receipt(Completed(), Message(raw=b"x" * 1000))
    receipt.fail(Failure(raised(ValueError("no " * 1000)), "stage", 3, 0.0, 1.0))
    made = dead_letter(receipt, ("memory", "orders"), Shelf("orders.dead"), brief=True)
    assert made.raw == b"x" * 1000
    headers = dict(made.headers or {})
    assert "headrace-traceback" not in headers
    assert headers["headrace-error-type"] == "ValueError"
    assert sum(len(name) + len(value) for name, value in headers.items()) < 500


def test_where_the_source_says_nothing_its_ledger_does():
    headers = headers_of(ValueError("no"))
    assert headers["headrace-origin-destination"] == "orders"
    assert "headrace-origin-partition" not in headers
    assert "headrace-origin-offset" not in headers


def test_what_another_failure_wrote_is_replaced():
    assert headers_of(ValueError("new"), {"headrace-reason": "old"})["headrace-reason"] == "new"


def test_an_error_without_words_is_called_by_its_name():
    assert headers_of(KeyboardInterrupt())["headrace-reason"] == "KeyboardInterrupt"


def test_long_texts_are_cut_where_the_error_is_not():
    headers = headers_of(ValueError("x" * 10_000))
    assert len(headers["headrace-reason"]) == 500
    assert len(headers["headrace-traceback"]) <= TRACEBACK_LIMIT


def test_whatever_an_error_says_can_be_encoded():
    headers = headers_of(raised(ValueError("a lone surrogate: \ud800")))
    assert headers["headrace-reason"] == "a lone surrogate: \\ud800"
    for value in headers.values():
        value.encode()


def test_an_error_that_cannot_say_what_it_is_is_told_of_all_the_same():
    class Unspeakable(Exception):
        def __str__(self):
            raise KeyError

    assert text(Unspeakable()) == "its text cannot be had: KeyError"
    assert headers_of(raised(Unspeakable()))["headrace-error-type"] == "Unspeakable"
