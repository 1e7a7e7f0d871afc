"""Fields of a body by path, `customer` or `address.city`: read at run time, checked against the type before."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from typing import Any, NotRequired, Required, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

from pydantic import BaseModel

from actors import DecodeError
from topologies.hints import bare, members, shown, without_none

Reader = Callable[[Any], Any]
MANY = (dict, list, tuple, set, frozenset)
FIELDLESS = (str, bytes, int, float, bool, *MANY[1:])


def reader(path: str) -> Reader:
    """A function of the body that reads this field: an item of a dict, an attribute of anything else.

    It raises `DecodeError` where the body has no such field.
    """
    first, *rest = path.split(".")

    def read(body: Any) -> Any:
        try:
            return body[first] if isinstance(body, dict) else getattr(body, first)
        except (KeyError, AttributeError):
            raise DecodeError(f"a body of type {type(body).__name__} has no field {first!r}") from None

    if not rest:
        return read
    deeper = reader(".".join(rest))
    return lambda body: deeper(read(body))


def scalar(value: Any) -> str | None:
    """A single value as text; None where it is no single value, or None itself."""
    if isinstance(value, Enum):
        return scalar(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Decimal | UUID):
        return str(value)
    return value.isoformat() if isinstance(value, date | time) else None


def lack(hint: Any, path: str, *, single: bool = True) -> tuple[str, str] | None:
    """What is wrong with reading this path of such bodies, and the remedy; None where nothing is, or none can tell.

    `single` asks that the field be one value, which can stand in a text.
    """
    first, _, rest = path.partition(".")
    for member in members(without_none(hint)):
        known = declared_fields(member)
        if known is None:
            continue
        if first not in known:
            return f"{shown(member)} has no field {first!r}", _instead(first, known, shown(member))
        found = known[first]
        if rest:
            deeper = lack(found, rest, single=single)
            if deeper is not None:
                return deeper
        elif single and any(_is_many(part) for part in members(without_none(found))):
            problem = f"field {first!r} of {shown(member)} is a {shown(found)}, not a single value"
            return problem, "name a field that holds text or a number"
    return None


def _instead(name: str, known: dict[str, Any], owner: str) -> str:
    if not known:
        return f"bodies of type {owner} have no fields: return a model, a dataclass or a TypedDict"
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"its fields are: {', '.join(list(known)[:12])}"


def declared_fields(hint: Any) -> dict[str, Any] | None:
    """The fields of such bodies with their types; None where the annotation does not tell, as with `dict`."""
    kind = bare(hint)
    if is_typeddict(kind):
        return {name: _unwrapped(field) for name, field in _hints(kind).items()}
    if not isinstance(kind, type):
        return None
    if issubclass(kind, BaseModel):
        if kind.model_config.get("extra") == "allow":
            return None
        found = {name: field.annotation for name, field in kind.model_fields.items()}
        return found | dict.fromkeys(kind.model_computed_fields, Any) | _attributes(kind)
    if is_dataclass(kind):
        hints = _hints(kind)
        return {field.name: hints.get(field.name, Any) for field in fields(kind)} | _attributes(kind)
    return {} if kind in FIELDLESS else None


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError:  # types that are local to some function: their names are known, what they are is not
        return dict.fromkeys(kind.__annotations__, Any)


def _unwrapped(field: Any) -> Any:
    return get_args(field)[0] if get_origin(field) in (Required, NotRequired) else field


def _attributes(kind: type) -> dict[str, Any]:
    """What a class computes, or holds for all: properties, constants."""
    own = {
        name: value
        for parent in kind.__mro__
        if parent not in (BaseModel, object)
        for name, value in vars(parent).items()
    }
    return {
        name: Any
        for name, value in own.items()
        if not name.startswith("_")
        and name != "model_config"
        and not callable(value)
        and not isinstance(value, classmethod | staticmethod)
    }


def _is_many(hint: Any) -> bool:
    kind = bare(hint)
    return isinstance(kind, type) and (is_typeddict(kind) or is_dataclass(kind) or issubclass(kind, (BaseModel, *MANY)))
