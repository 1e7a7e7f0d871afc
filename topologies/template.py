"""Destinations as templates, `tenant.{tenant_id}`: compiled once, filled in from the fields of a body."""

import re
from collections.abc import Callable
from string import Formatter
from typing import Any

from actors import DecodeError
from topologies.fields import Reader, reader, scalar

LONGEST = 200
"""Characters of one value in a destination: brokers limit whole names to about 255."""

_PATH = re.compile(r"(?!__)[^\W\d]\w*(\.(?!__)[^\W\d]\w*)*")
# No separators (. / :), no wildcards (* > #), no blanks: a value fills its own part of the name, never the next.
_SEGMENT = r"[\w@+=~%-]+"
_SAFE = re.compile(_SEGMENT).fullmatch


class Template:
    """A destination's name: fixed text, or text with `{field}` and `{field.of.it}` in it; `{{` is a brace.

    `fields` lists the paths; it is empty for a name without any, and then `fill` always gives the same.
    Raises `ValueError` for a template that cannot be read.
    """

    __slots__ = ("_pattern", "fields", "fill", "text")

    fill: Callable[[Any], str]
    """The destination for a body; `DecodeError` where a field is missing, None, or not safe as a part of a name."""

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = [_piece(text, *piece) for piece in Formatter().parse(text)]
        self.fields = tuple(field for _, field in pieces if field)
        self.fill = _filler(pieces)
        part = "(" + _SEGMENT + ")"
        self._pattern = re.compile("".join(re.escape(before) + (part if field else "") for before, field in pieces))

    def matches(self, name: str) -> bool:
        """Whether a destination of this name may have been filled in by this template."""
        return self._pattern.fullmatch(name) is not None

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _piece(text: str, before: str, field: str | None, form: str | None, conversion: str | None) -> tuple[str, str]:
    if field is None:
        return before, ""
    if form or conversion or not _PATH.fullmatch(field):
        raise ValueError(f"{{{field}}} in {text!r} is not the name of a field")
    return before, field


def _filler(pieces: list[tuple[str, str]]) -> Callable[[Any], str]:
    if not any(field for _, field in pieces):
        fixed = "".join(before for before, _ in pieces)
        return lambda body: fixed
    compiled: list[tuple[str, str, Reader | None]] = [
        (before, field, reader(field) if field else None) for before, field in pieces
    ]

    def fill(body: Any) -> str:
        parts = []
        for before, field, read in compiled:
            parts.append(before)
            if read is not None:
                parts.append(segment(field, read(body)))
        return "".join(parts)

    return fill


def segment(field: str, value: Any) -> str:
    """A field's value as a part of a destination's name; `DecodeError` where it cannot be one."""
    text = value if type(value) is str else scalar(value)
    if text is None:
        kind = "None" if value is None else f"of type {type(value).__name__}"
        raise DecodeError(f"field {field!r} is {kind}: it cannot be part of a destination")
    if not _SAFE(text) or len(text) > LONGEST:
        told = repr(text if len(text) <= 40 else text[:39] + "…") if text else "empty"
        raise DecodeError(
            f"field {field!r} is {told}: a part of a destination is 1 to {LONGEST} letters, digits or any of _@+=~%-"
        )
    return text
