"""The standard `OTEL_*` variables, looked over before the SDK reads them: nonsense is told by name and left out.

The SDK ends the process over some of them, and logs the values of others, which may be secrets.
"""

import os
import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from logging import getLogger
from urllib.parse import unquote, urlsplit

logger = getLogger("headrace")

Check = Callable[[str], str]
"""What is expected in a variable's place; nothing where the value is fine."""
_NAME, _VALUE = re.compile(r"[!#-'*+.0-9A-Z^-z|~-]+"), re.compile(r"[ !#-+\--:<-\[\]-~]*")
"""Headers as the specification of the OTLP exporters has them, with blanks, which the SDK takes too."""
_PROTOCOLS = tuple(f"OTEL_EXPORTER_OTLP_{which}PROTOCOL" for which in ("", "TRACES_", "METRICS_"))


def number(least: float, most: float = float("inf"), whole: bool = False) -> Check:
    """A number within bounds."""
    expected = ("a whole number" if whole else "a number") + f", at least {least:g}"
    expected += "" if most == float("inf") else f" and at most {most:g}"

    def check(value: str) -> str:
        try:
            return "" if least <= (int(value) if whole else float(value)) <= most else expected
        except ValueError:
            return expected

    return check


def one_of(*words: str) -> Check:
    """One of those words."""
    return lambda value: "" if value.strip().lower() in words else f"one of {', '.join(words)}"


def exactly(*words: str) -> Check:
    """One of those words, written so."""
    return lambda value: "" if value in words else f"one of {', '.join(words)}"


def of_group(group: str, also: Iterable[str] = (), several: bool = True) -> Check:
    """Names of what is installed for OpenTelemetry under that entry point, separated by commas."""

    def check(value: str) -> str:
        known = {each.name for each in entry_points(group=group)} | set(also)
        names = [name.strip() for name in value.split(",")] if several else [value.strip().lower()]
        if all(name in known for name in names):
            return ""
        return f"{'names out of' if several else 'one of'} {', '.join(sorted(known))}, or another package installed"

    return check


def pairs(value: str) -> str:
    """Names and values, as baggage has them."""
    fine = all(name.strip() and equals for name, equals, _ in (each.partition("=") for each in value.split(",")))
    return "" if fine else "name=value, several separated by commas"


def headers(value: str) -> str:
    """Names and values that can be sent; of others the SDK and its exporters log all that there is."""
    each = (pair.partition("=") for pair in value.split(",") if pair.strip())
    fine = all(equals and _NAME.fullmatch(name.strip()) and _VALUE.fullmatch(text) for name, equals, text in each)
    return "" if fine and unquote(value).isprintable() else "name=value, several separated by commas, percent-encoded"


def url(value: str) -> str:
    """Where a collector is; the scheme may be left out for gRPC alone."""
    grpc = any(os.environ.get(name, "").strip().lower() == "grpc" for name in _PROTOCOLS)
    try:
        parts = urlsplit(f"http://{value}" if grpc and "://" not in value else value)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    return "" if fine else "a URL: http://localhost:4318"


_COUNT, _SECONDS, _PROTOCOL = number(0, whole=True), number(0), one_of("grpc", "http/protobuf")
_COMPRESSION = one_of("none", "gzip", "deflate")

CHECKS: dict[str, Check] = {
    "OTEL_SDK_DISABLED": one_of("true", "false"),
    "OTEL_RESOURCE_ATTRIBUTES": pairs,
    "OTEL_PROPAGATORS": of_group("opentelemetry_propagator", also=("none",)),
    "OTEL_TRACES_EXPORTER": of_group("opentelemetry_traces_exporter", also=("otlp", "none")),
    "OTEL_METRICS_EXPORTER": of_group("opentelemetry_metrics_exporter", also=("otlp", "none", "prometheus")),
    "OTEL_TRACES_SAMPLER": of_group("opentelemetry_traces_sampler", several=False),
    "OTEL_EXPORTER_OTLP_ENDPOINT": url,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url,
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": url,
    "OTEL_EXPORTER_OTLP_PROTOCOL": _PROTOCOL,
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": _PROTOCOL,
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": _PROTOCOL,
    "OTEL_EXPORTER_OTLP_HEADERS": headers,
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": headers,
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS": headers,
    "OTEL_EXPORTER_OTLP_TIMEOUT": _SECONDS,
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": _SECONDS,
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": _SECONDS,
    "OTEL_EXPORTER_OTLP_COMPRESSION": _COMPRESSION,
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": _COMPRESSION,
    "OTEL_METRICS_EXEMPLAR_FILTER": exactly("trace_based", "always_on", "always_off"),
    "OTEL_METRIC_EXPORT_INTERVAL": number(1),
    "OTEL_METRIC_EXPORT_TIMEOUT": number(1),
    "OTEL_BSP_SCHEDULE_DELAY": number(1),
    "OTEL_BSP_MAX_QUEUE_SIZE": number(1, whole=True),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": number(1, whole=True),
    "OTEL_BSP_EXPORT_TIMEOUT": number(1),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _COUNT,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _COUNT,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _COUNT,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _COUNT,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _COUNT,
}
_RATIO = ("traceidratio", "parentbased_traceidratio")
_SECRET = ("HEADERS", "RESOURCE", "ENDPOINT")


def look_over() -> None:
    """Take out of the environment what the SDK could make nothing of, and say so: its default counts then."""
    for name, check in CHECKS.items():
        value = os.environ.get(name, "")
        if not value:
            os.environ.pop(name, None)  # as good as not set, says the specification; the SDK does not know
        elif expected := check(value):
            _leave_out(name, value, expected)
    if os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() in _RATIO:
        value = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "")
        if expected := number(0, 1)(value):
            _leave_out("OTEL_TRACES_SAMPLER_ARG", value, f"{expected}; all is sampled")
            os.environ["OTEL_TRACES_SAMPLER_ARG"] = "1.0"


def _leave_out(name: str, value: str, expected: str) -> None:
    os.environ.pop(name, None)
    shown = "cannot be read" if any(word in name for word in _SECRET) else f"is {value!r:.60}"
    logger.warning("%s %s, and is left out: expected %s", name, shown, expected)
