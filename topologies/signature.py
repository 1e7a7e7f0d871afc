"""What a user's function looks like: its form, its parameters, and its annotations resolved."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, get_type_hints

from topologies.place import Where

MISSING: Any = inspect.Parameter.empty


class Form(StrEnum):
    """How a function is to be called."""

    COROUTINE = "async def"
    FUNCTION = "def"
    ASYNC_GENERATOR = "async generator"
    GENERATOR = "generator"
    CLASS = "class"

    @property
    def blocks(self) -> bool:
        """Whether it runs in a worker thread, because it may block."""
        return self in (Form.FUNCTION, Form.GENERATOR)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function, its annotation resolved."""

    name: str
    hint: Any
    default: Any
    named: bool
    """Passed by name, not by position."""

    @property
    def annotated(self) -> bool:
        return self.hint is not MISSING

    @property
    def required(self) -> bool:
        return self.default is MISSING


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters that can be filled one by one, and what it is annotated to return."""

    parameters: tuple[Parameter, ...]
    returns: Any


def form_of(function: Any) -> Form:
    """How to call it. A class is called to make an instance; of a callable object its `__call__` counts."""
    if inspect.isclass(function):
        return Form.CLASS
    called = _called(function)
    if inspect.iscoroutinefunction(called):
        return Form.COROUTINE
    if inspect.isasyncgenfunction(called):
        return Form.ASYNC_GENERATOR
    return Form.GENERATOR if inspect.isgeneratorfunction(called) else Form.FUNCTION


def waits(function: Any) -> bool:
    """Whether it gives what is to be awaited: an `async def`, also under a plain decorator, with which it is a def."""
    return Form.COROUTINE in (form_of(function), form_of(inspect.unwrap(_called(function))))


def _called(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def generator_of(function: Any) -> Any:
    """The generator function that `@contextmanager` or `@asynccontextmanager` was put on; any other as it is.

    Of a method one that is bound to the same object, and of a `functools.partial` one with the same arguments.
    """
    if isinstance(function, functools.partial):
        made = generator_of(function.func)
        return function if made is function.func else functools.partial(made, *function.args, **function.keywords)
    if getattr(function, "__code__", None) not in _MANAGERS:
        return function
    made = function.__wrapped__
    return made.__get__(function.__self__) if inspect.ismethod(function) else made


_ANY: Any = str
_MANAGERS = frozenset({contextmanager(_ANY).__code__, asynccontextmanager(_ANY).__code__})
"""What all functions run that these decorators return."""


def name_of(function: Any) -> str:
    """What its author calls it."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def signature_of(
    function: Callable[..., Any], where: Where, names: Mapping[str, Any], *, bound: bool = True
) -> Signature:
    """The signature of a function, its annotations resolved; of a method that is not yet `bound`, without its self.

    `names` are those local to where it was declared. Raises `TopologyError` for what cannot be read.
    """
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise where.error(
            f"the parameters of {name_of(function)} cannot be read", "wrap it in a function of your own"
        ) from None
    hints = _hints(function, where, names)
    parameters = tuple(
        Parameter(
            one.name,
            hints.get(one.name, one.annotation),
            one.default,
            one.kind is inspect.Parameter.KEYWORD_ONLY,
        )
        for one in found[0 if bound else 1 :]
        if one.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    )
    return Signature(parameters, hints.get("return", MISSING))


def _hints(function: Any, where: Where, names: Mapping[str, Any]) -> dict[str, Any]:
    called = function.__init__ if inspect.isclass(function) else _called(function)
    try:
        return get_type_hints(called, localns=dict(names), include_extras=True)
    except NameError as error:
        problem = f"the annotation {error.name!r} of {name_of(function)} is not defined where it is declared"
        remedy = f"import or define {error.name!r} at the top of the module, not under TYPE_CHECKING"
    except Exception as error:
        problem = f"the annotations of {name_of(function)} cannot be resolved: {error}"
        remedy = "write types into them, or Annotated[T, ...] of one"
    raise where.error(problem, remedy) from None
