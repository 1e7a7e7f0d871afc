"""Logs: a line an event, the same for everybody's loggers, and nothing secret in it."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import redact
from engine.telemetry.logs import configure

Written = Callable[[], str]


class Terminal(io.StringIO):
    """Standard error, where somebody looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """What has been written to stderr since the last look; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield lambda: capsys.readouterr().err
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_event_is_a_line_of_json_with_topology_and_stage(written: Written) -> None:
    configure("json")
    stage = logging.LoggerAdapter(logging.getLogger("headrace"), {"topology": "orders", "stage": "check"})
    stage.info("took %d", 3)
    [event] = events(written())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(event.pop("timestamp")))
    assert list(event.items()) == [
        ("level", "info"),
        ("logger", "headrace"),
        ("message", "took 3"),
        ("topology", "orders"),
        ("stage", "check"),
    ]


def test_a_users_logger_comes_out_alike_with_its_extra_fields(written: Written) -> None:
    configure("json")
    logging.getLogger("shop.orders").warning("odd", extra={"order": 7, "seen": {"at": [1]}, "what": object})
    [event] = events(written())
    assert event["logger"] == "shop.orders"
    assert event["level"] == "warning"
    assert (event["order"], event["seen"], event["what"]) == (7, {"at": [1]}, "<class 'object'>")


def test_an_exception_is_a_field_of_its_line(written: Written) -> None:
    configure("json")
    try:
        raise LookupError("gone")
    except LookupError:
        logging.getLogger("headrace").exception("failed")
    [event] = events(written())
    assert str(event["exception"]).startswith("Traceback")
    assert str(event["exception"]).endswith("LookupError: gone")


def test_warnings_are_logged_like_everything_else(written: Written) -> None:
    configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # again: catch_warnings has put its own in the place
        warnings.warn("careful", stacklevel=1)
    assert [(event["logger"], event["level"]) for event in events(written())] == [("py.warnings", "warning")]


def test_lines_below_the_level_are_left_out(written: Written) -> None:
    configure("json", "error")
    logging.getLogger("headrace").warning("not so bad")
    logging.getLogger("headrace").error("bad")
    assert [event["message"] for event in events(written())] == ["bad"]


def test_on_the_console_columns_are_aligned(written: Written) -> None:
    configure("console")
    logging.getLogger("headrace").info("short", extra={"topology": "orders", "stage": "check", "order": 7})
    logging.getLogger("shop").critical("a little longer", extra={"order": 8})
    first, second = written().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} \[info    ] orders/check +short +order=7$", first)
    assert [first.index(word) for word in ("orders/check", "short", "order=7")] == [
        second.index(word) for word in ("shop", "a little", "order=8")
    ]


def test_on_the_console_an_event_is_one_line_whatever_is_in_it(written: Written) -> None:
    configure("console")
    logging.getLogger("headrace").info("two\nlines \x1b[2J", extra={"field": "a\rb"})
    [line] = written().splitlines()
    assert r"two\nlines \x1b[2J" in line
    assert r"field=a\rb" in line


def test_auto_is_console_with_colors_on_a_terminal_and_json_elsewhere(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    logging.getLogger("headrace").info("to a file")
    assert events(written())[0]["message"] == "to a file"
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    configure()
    logging.getLogger("headrace").info("to a terminal")
    assert "\x1b[32minfo" in terminal.getvalue()
    assert "to a terminal" in terminal.getvalue()


def test_lines_go_to_what_stderr_is_at_the_time(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("json")
    monkeypatch.setattr(sys, "stderr", later := io.StringIO())
    logging.getLogger("headrace").info("later")
    assert events(later.getvalue())[0]["message"] == "later"
    assert written() == ""


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_secret_is_in_a_line(format: str, written: Written) -> None:
    configure(format)  # type: ignore[arg-type]
    try:
        raise ConnectionError("redis://:hidden@host/0 is away")
    except ConnectionError:
        logging.getLogger("headrace").exception(
            "cannot reach %s",
            "amqp://guest:hidden@host/",
            extra={"url": "nats://hidden@host", "password": "hidden", "api_key": "hidden", "Token": "hidden"},
        )
    text = written()
    assert "hidden" not in text
    assert text.count("***") >= 6
    assert "amqp://guest:***@host/" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing to hide", "nothing to hide"),
        ("http://host/path?a=b", "http://host/path?a=b"),
        ("mail a@b.c, see http://host", "mail a@b.c, see http://host"),
        ("amqp://guest@host", "amqp://guest@host"),
        ("amqp://u:p@ss/w:rd@host:1/v", "amqp://u:***@host:1/v"),
        ("nats://u:p@h1,nats://u:q@h2", "nats://u:***@h1,nats://u:***@h2"),
        ("nats://token@h1 and tls://token@h2", "nats://***@h1 and tls://***@h2"),
        ("'redis://:p@h' and x@y", "'redis://:***@h' and x@y"),
        ("http://h/?user=a&token=p&x=y", "http://h/?user=a&token=***&x=y"),
    ],
)
def test_only_the_password_of_a_url_is_blanked(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(
    st.sampled_from(["amqp", "amqps", "redis", "rediss", "nats", "tls", "kafka", "postgresql+asyncpg"]),
    st.text("abcXYZ09._-", max_size=8),
    st.from_regex(r"[!-~]+", fullmatch=True).filter(lambda word: not set(word) & set("'\"") and "://" not in word),
)
def test_no_password_is_ever_left_in_a_url(scheme: str, user: str, password: str) -> None:
    secret = f"<{password}>"
    assert secret not in redact(f"to {scheme}://{user}:{secret}@host:1234/x?y=z, again")
