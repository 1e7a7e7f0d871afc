"""What a handler may ask for beside the body, found by annotation once and filled in for every message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import isclass
from logging import Logger, LoggerAdapter
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from actors import DecodeError, Message
from topologies.codec import reason, shorten
from topologies.hints import accepts_none, modern, shown, without_none
from topologies.place import Where
from topologies.signature import MISSING, Parameter

AnyLogger = Logger | LoggerAdapter[Any]
Fill = Callable[[Any], Any]
"""Takes the message; where there are dependencies, the frame: the message, then what each of them provided."""
Fitting = Callable[[Mapping[str, Any], AnyLogger], Fill]


@dataclass(frozen=True, slots=True)
class Depends:
    """`Annotated[T, Depends(f)]`: what `f` returns or yields, for this message.

    `f` may ask for whatever a handler may, except the body. It is called once per message however many ask for it,
    unless `use_cache=False`. What follows a generator's `yield` runs when the message is handled, in reverse order;
    the handler's error is raised at the `yield`, and goes on from there whether it was caught or not. With
    `@contextmanager` or `@asynccontextmanager` above it, such a generator is the same dependency; it may be a method.
    A `def` runs in a worker thread; a class is called in the event loop.
    """

    function: Callable[..., Any]
    use_cache: bool = True


@dataclass(frozen=True, slots=True)
class Header:
    """`Annotated[T, Header("x-request-id")]`: a header, its text validated to `T` by pydantic.

    A missing one is the parameter's default, else None where `T` allows it, else `DecodeError`. Without a name it is
    that of the parameter, with `-` for `_`.
    """

    name: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """`Annotated[T, Context("client")]`: what a lifespan put into the context under that name.

    Looked up when a worker starts. A missing one is the parameter's default, else None where `T` allows it, else
    `TopologyError`. Without a name it is that of the parameter.
    """

    name: str = ""


@dataclass(frozen=True, slots=True)
class Want:
    """What a parameter asks for: `fit` makes, for one worker, the function that fills it in."""

    kind: Literal["body", "message", "messages", "logger", "header", "context", "dependency", "default"]
    fit: Fitting
    parameter: Parameter
    needs: str = ""
    """The name that the context must have."""


def _always(fill: Fill) -> Fitting:
    return lambda context, logger: fill


def body(parameter: Parameter) -> Want:
    """The message's body."""
    return Want("body", _always(attrgetter("body")), parameter)


def provided(parameter: Parameter, slot: int) -> Want:
    """What the dependency in that slot of the frame provides."""
    return Want("dependency", _always(itemgetter(slot)), parameter)


def default(parameter: Parameter) -> Want:
    """Nothing: the parameter keeps its default, passed on so that those behind it keep their places."""
    return Want("default", _always(lambda message: parameter.default), parameter)


def marker(parameter: Parameter) -> Depends | Header | Context | None:
    """The marker in a parameter's annotation."""
    found = get_args(parameter.hint)[1:] if get_origin(parameter.hint) is Annotated else ()
    return next((one for one in found if isinstance(one, Depends | Header | Context)), None)


def injected(parameter: Parameter, where: Where) -> Want | None:
    """What a parameter's annotation asks for, `Depends` aside; None where it names nothing that is injected."""
    found = marker(parameter)
    if isinstance(found, Header):
        return Want("header", _always(_header(parameter, found, where)), parameter)
    if isinstance(found, Context):
        return _from_context(parameter, found, where)
    hint = parameter.hint
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    hint = without_none(hint)
    if hint is Message:
        return Want("message", _always(lambda message: message), parameter)
    if get_origin(hint) is list and get_args(hint) == (Message,):
        return Want("messages", _always(attrgetter("record")), parameter)
    kind = get_origin(hint) or hint
    if isclass(kind) and issubclass(kind, Logger | LoggerAdapter):
        return Want("logger", _message_logger, parameter)
    return None


def _header(parameter: Parameter, header: Header, where: Where) -> Fill:
    name = header.name or parameter.name.replace("_", "-")
    hint = get_args(parameter.hint)[0]
    default = parameter.default
    if default is MISSING and accepts_none(hint):
        default = None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(modern(parameter.hint))
    except Exception as error:
        raise where.error(
            f"header {name!r} cannot be made a {shown(hint)}: {shorten(error)}",
            f"annotate `{parameter.name}` with a type that text can be validated to",
        ) from None
    validate = adapter.validator.validate_python
    as_bytes = without_none(hint) is bytes

    def fill(message: Any) -> Any:
        headers = message.headers
        value = headers.get(name) if headers else None
        if value is None:
            if default is MISSING:
                raise DecodeError(f"header {name!r} is missing")
            return default
        if type(value) is bytes and not as_bytes:
            raise DecodeError(f"header {name!r} is not UTF-8 text")
        try:
            return validate(value)
        except ValidationError as error:
            raise DecodeError(f"header {name!r}: {reason(error)}") from None

    return fill


def _from_context(parameter: Parameter, wanted: Context, where: Where) -> Want:
    name = wanted.name or parameter.name
    default = parameter.default
    if default is MISSING and accepts_none(get_args(parameter.hint)[0]):
        default = None

    def fit(context: Mapping[str, Any], logger: AnyLogger) -> Fill:
        value = context.get(name, default)
        if value is MISSING:
            raise where.error(
                f"the context has no {name!r}, which `{parameter.name}` asks for",
                f"set context[{name!r}] in a lifespan, before its yield",
            )
        return lambda message: value

    return Want("context", fit, parameter, needs=name if default is MISSING else "")


class MessageLogger(LoggerAdapter[Any]):
    """A logger that names, beside what its stage's does, the message that is handled."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Add what it names to the record, below what the call names itself."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def _message_logger(context: Mapping[str, Any], logger: AnyLogger) -> Fill:
    extra: dict[str, object] = {}
    while isinstance(logger, LoggerAdapter):
        extra = {**(logger.extra or {}), **extra}
        logger = logger.logger
    plain = logger
    return lambda message: MessageLogger(plain, {**extra, "message_id": message.id})
