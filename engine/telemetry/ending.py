"""How a span of an operation at a broker ends."""

from opentelemetry.trace import Span, StatusCode

from actors import redact, text
from engine.telemetry.attributes import ERROR_TYPE


def finish(span: Span, error: BaseException | None = None) -> None:
    """End a span, with the error that its operation failed with; no password of it is told."""
    if error is not None:
        span.set_attribute(ERROR_TYPE, type(error).__qualname__)
        span.set_status(StatusCode.ERROR, redact(text(error)) or None)
    span.end()
