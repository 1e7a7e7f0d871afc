"""What goes on from a handler, as far as its annotations and its code tell."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from inspect import unwrap
from typing import Any, get_args, get_origin

from actors import Message, Send
from topologies.hints import bare, members, without_none
from topologies.signature import MISSING, Form

ITERATED = (AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator)


def passed_on(returns: Any, form: Form) -> Any:
    """The annotation of one result: of a generator one item, None left out; `Any` where nothing is known."""
    if returns is MISSING:
        return Any
    if form in (Form.ASYNC_GENERATOR, Form.GENERATOR):
        arguments = get_args(returns) if get_origin(returns) in ITERATED else ()
        returns = arguments[0] if arguments else Any
    left = without_none(returns)
    # A `Message` may hold any body.
    return Any if any(bare(member) in (Message, Any) for member in members(left)) else left


def forwards(function: Callable[..., Any], returns: Any) -> bool:
    """Whether a router only says where its message goes: neither its code nor its annotation speaks of sending another.

    What a function called by it sends cannot be seen; then it should be annotated to return `Send`.
    """
    code = getattr(unwrap(function), "__code__", None)
    if code is None or any(part is Send or part is Any for part in _parts(returns)):
        return False
    return {"send", "Send", "Message"}.isdisjoint((*code.co_names, *code.co_freevars))


def _parts(hint: Any) -> list[Any]:
    found = [hint]
    for argument in get_args(hint):
        found += _parts(argument)
    return found
