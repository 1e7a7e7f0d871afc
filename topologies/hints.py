"""What annotations say: their bare class, whether None is among them, whether one fits where another is wanted."""

import sys
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from weakref import WeakKeyDictionary

from typing_extensions import TypedDict

OLD_TYPED_DICT = sys.version_info < (3, 12)
"""Before Python 3.12 pydantic takes typed dictionaries of typing_extensions only."""


def bare(hint: Any) -> Any:
    """An annotation without its `Annotated` and its type arguments."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_origin(hint) or hint


def members(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else, itself alone."""
    if get_origin(hint) is Annotated and get_origin(get_args(hint)[0]) in (Union, UnionType):
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def accepts_none(hint: Any) -> bool:
    """Whether None is a value of it by name; of `Any` it is not."""
    return any(member is None or member is NoneType for member in members(hint))


def without_none(hint: Any) -> Any:
    """`Order` of `Order | None`; `NoneType` of None alone."""
    left = [member for member in members(hint) if member is not None and member is not NoneType]
    return union(left) if left else NoneType


def union(hints: Iterable[Any]) -> Any:
    """The union of these; `Any` where there are none, or it is among them."""
    found = list(dict.fromkeys(hints))
    if not found or Any in found:
        return Any
    return found[0] if len(found) == 1 else Union[tuple(found)]  # noqa: UP007 - made at run time


def plain_class(hint: Any) -> type | None:
    """The class that every value of it is an instance of, and that says all there is to say; else None."""
    if not isinstance(hint, type) or is_typeddict(hint) or get_origin(hint) is not None:
        return None
    return None if getattr(hint, "_is_protocol", False) else hint


def fits(offered: Any, wanted: Any) -> bool:
    """Whether every value of the one is one of the other, as far as the annotations tell."""
    if wanted is Any or wanted is object or offered == wanted:
        return True
    parts = members(offered)
    if len(parts) > 1:
        return all(fits(part, wanted) for part in parts)
    choices = members(wanted)
    if len(choices) > 1:
        return any(fits(offered, choice) for choice in choices)
    target, kind = plain_class(wanted), dict if is_typeddict(offered) else bare(offered)
    return target is not None and isinstance(kind, type) and issubclass(kind, target)


def shown(hint: Any) -> str:
    """An annotation as its reader would write it."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint.__name__
    parts = members(hint)
    if len(parts) > 1:
        return " | ".join("None" if part is NoneType else shown(part) for part in parts)
    if get_origin(hint) is not None and get_origin(hint) is not Annotated:
        inside = ", ".join(shown(part) for part in get_args(hint))
        return f"{getattr(get_origin(hint), '__name__', get_origin(hint))}[{inside}]"
    return str(hint).removeprefix("typing.")


def modern(hint: Any, inside: tuple[Any, ...] = ()) -> Any:
    """The same annotation with its typed dictionaries in the form that pydantic takes on this Python."""
    if not OLD_TYPED_DICT:
        return hint
    if is_typeddict(hint) and type(hint).__module__ == "typing":
        return _typed_dict(hint, inside)
    arguments = get_args(hint)
    renewed = tuple(modern(argument, inside) for argument in arguments)
    if all(new is old for new, old in zip(renewed, arguments, strict=True)):
        return hint
    if get_origin(hint) is Annotated:
        return Annotated[(renewed[0], *hint.__metadata__)]
    if get_origin(hint) in (Union, UnionType):
        return union(renewed)
    return hint.copy_with(renewed) if hasattr(hint, "copy_with") else get_origin(hint)[renewed]


_renewed: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""One for each, so that a dictionary within two others stays one type."""


def _typed_dict(hint: Any, inside: tuple[Any, ...]) -> Any:
    if hint in _renewed:
        return _renewed[hint]
    if hint in inside:
        raise TypeError(f"{hint.__name__} holds itself: take TypedDict from typing_extensions for it")
    fields = {}
    for name, field in get_type_hints(hint, include_extras=True).items():
        wanted = get_args(field)[0] if get_origin(field) in (Required, NotRequired) else field
        needed = Required if name in hint.__required_keys__ else NotRequired
        fields[name] = needed[modern(wanted, (*inside, hint))]
    made = _renewed[hint] = TypedDict(hint.__name__, fields)  # type: ignore[operator]
    made.__doc__, made.__module__, made.__qualname__ = hint.__doc__, hint.__module__, hint.__qualname__
    return made
