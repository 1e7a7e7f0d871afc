"""Logs: an event a line, as JSON for machines or aligned for eyes, whoever logs through the standard library.

The fields are what a logger or its adapter has as `extra`; `topology` and `stage` come first, then
the trace and the span that it happened in.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import Processor, WrappedLogger

from actors import redact

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
Event = MutableMapping[str, Any]

_FIRST = ("timestamp", "level", "logger", "message", "topology", "stage", "trace_id", "span_id")
_SECRET = re.compile(r"passw(or)?d|secret|token|authorization|api_?key", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LEVEL_COLORS = {
    "critical": "\x1b[1;31m",
    "error": "\x1b[31m",
    "warning": "\x1b[33m",
    "info": "\x1b[32m",
    "debug": "\x1b[2m",
}
_DIM, _BRIGHT, _CYAN, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[36m", "\x1b[0m"


def configure(format: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Send everything that is logged to stderr in this format; `auto` is console on a terminal, JSON elsewhere.

    Passwords in URLs, and fields that are called like secrets, are blanked.
    """
    terminal = sys.stderr.isatty()
    if format == "json" or (format == "auto" and not terminal):
        render, stamp = _json(), structlog.processors.TimeStamper("iso", utc=True)
    else:
        render, stamp = _console(terminal), structlog.processors.TimeStamper("%H:%M:%S.%f", utc=False)
    handler = _Stderr()
    handler.setFormatter(
        _Redacting(
            foreign_pre_chain=[ExtraAdder(), add_logger_name, add_log_level, stamp, _blank, _traced],
            processors=[ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


class _Redacting(ProcessorFormatter):
    """Blanks passwords in the finished line, so that none gets by in an argument, a field or a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time: a status line puts itself there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _console(colors: bool) -> list[Processor]:
    dim, bright, cyan, reset = (_DIM, _BRIGHT, _CYAN, _RESET) if colors else ("", "", "", "")
    levels = _LEVEL_COLORS if colors else dict.fromkeys(_LEVEL_COLORS, "")
    columns = [
        Column("", KeyValueColumnFormatter(cyan, "", reset, _one_line)),
        Column("timestamp", KeyValueColumnFormatter(None, dim, reset, lambda stamp: str(stamp)[:12])),
        Column("level", LogLevelColumnFormatter(levels, reset, width=8)),
        Column("where", KeyValueColumnFormatter(None, cyan, reset, str, width=20)),
        Column("event", KeyValueColumnFormatter(None, bright, reset, _one_line, width=32)),
    ]
    return [_where, ConsoleRenderer(columns=columns, exception_formatter=structlog.dev.plain_traceback)]


def _one_line(value: object) -> str:
    """The value without line breaks and whatever else would move the cursor of a terminal."""
    return _CONTROL.sub(lambda sign: repr(sign[0])[1:-1], str(value).rstrip())


def _where(logger: WrappedLogger, method: str, event: Event) -> Event:
    """Say in one word where it happened: `topology/stage`, or the logger's name."""
    named = [str(event.pop(name)) for name in ("topology", "stage") if name in event]
    name = event.pop("logger", "")
    event["where"] = "/".join(named) or name
    return event


def _ordered(logger: WrappedLogger, method: str, event: Event) -> Event:
    event["message"] = event.pop("event", "")
    return {name: event[name] for name in _FIRST if name in event} | dict(event)


def _blank(logger: WrappedLogger, method: str, event: Event) -> Event:
    for name in event:
        if _SECRET.search(name):
            event[name] = "***"
    return event


def _traced(logger: WrappedLogger, method: str, event: Event) -> Event:
    """Name the trace and the span that the line was logged in, where there are any."""
    if (api := sys.modules.get("opentelemetry.trace")) is None:  # nobody has imported it, so nobody traces
        return event
    span = api.get_current_span().get_span_context()
    if span.is_valid and not _of_nobody(span):
        event.setdefault("trace_id", api.format_trace_id(span.trace_id))
        event.setdefault("span_id", api.format_span_id(span.span_id))
    return event


def _of_nobody(span: Any) -> bool:
    """Whether it stands for all messages that are not sampled."""
    trail = sys.modules.get("engine.telemetry.trail")
    return trail is not None and bool(trail.is_ground(span))
