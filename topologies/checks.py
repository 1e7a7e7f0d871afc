"""Checks of single declarations: options, middleware and lifespans, each error with its remedy."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from math import inf
from typing import Any

from actors import Batch, Deduplicate, Endpoint, Retry, Supervision
from topologies.declare import Declarations, Declared, PublisherOptions, StageOptions
from topologies.graph import MOST_WORKERS, Settings
from topologies.handler import Handler
from topologies.place import Where
from topologies.signature import Form, form_of, name_of

KNOWN: Mapping[str, tuple[str, ...]] = {
    "subscriber": tuple(StageOptions.__annotations__),
    "router": ("to", *StageOptions.__annotations__),
    "publisher": tuple(PublisherOptions.__annotations__),
}


def check_name(given: Any, function: str, place: str) -> None:
    """The name that a stage is given; without one, that of its function must do."""
    if given is None and function == "<lambda>":
        raise Where(place, function).error("a lambda has no name for a stage", 'write name="enrich"')
    if given is not None and not _is_name(given):
        raise Where(place, function).error(
            f"name={given!r:.60} cannot name a stage", 'write name="enrich": text without blanks'
        )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable() and " " not in value


def settings_of(declared: Declared, where: Where) -> Settings:
    """The settings of a stage, all checked; raises `TopologyError` for the first that cannot be."""
    options = dict(declared.options)
    known = KNOWN[declared.kind]
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}=? " if close else ""
            raise where.error(f"unknown option {name}= of a {declared.kind}", f"{hint}known are: {', '.join(known)}")
    for name, check in CHECKS.items():
        if name in options:
            check(name, options[name], where)
    options.pop("name", None)
    options.pop("key", None)
    if "deduplicate" in options:
        options["deduplicate"] = _deduplicate_of(options["deduplicate"])
    settings = Settings(**options)
    if settings.batch is not None and "mailbox" not in options:  # that of others, and room for at least one batch
        settings = replace(settings, mailbox=max(settings.mailbox, settings.batch.size))
    if settings.batch is not None and settings.mailbox < settings.batch.size:
        raise where.error(
            f"mailbox={settings.mailbox} is smaller than a batch of {settings.batch.size}",
            f"write mailbox={settings.batch.size} or more, or make the batch smaller",
        )
    return settings


def check_timeout(settings: Settings, handler: Handler, where: Where) -> None:
    """Raise `TopologyError` for a timeout that could not be kept: nothing can interrupt what is no coroutine.

    A router's may wait before it is called, for what it depends on and in its middleware.
    """
    if settings.timeout is None or not handler.blocks or (handler.inline and (handler.steps or handler.middleware)):
        return
    if handler.inline:
        what, why = f"{handler.form.value} router", "it is called in the event loop, and nothing can interrupt it there"
    else:
        what, why = handler.form.value, "it runs in a thread, which nothing can interrupt"
    raise where.error(
        f"timeout={settings.timeout:g} of a {what}: {why}",
        "write async def, or leave timeout= out and set one where it waits",
    )


def _count(name: str, value: Any, where: Where) -> None:
    if not _is_count(value):
        raise where.error(f"{name}={value!r:.40}: expected a whole number, at least 1", f"write {name}=1 or more")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _workers(name: str, value: Any, where: Where) -> None:
    if value == "auto":
        return
    sizes = value if isinstance(value, tuple) else (value, value)
    if len(sizes) == 2 and all(map(_is_count, sizes)) and sizes[0] <= sizes[1]:
        if sizes[1] > MOST_WORKERS:
            raise where.error(
                f"{name}={value!r:.40}: a pool has {MOST_WORKERS} workers at most",
                f"write {name}={MOST_WORKERS} or less, and start more processes where that is not enough",
            )
        return
    raise where.error(
        f'{name}={value!r:.40}: expected a whole number, at least 1, a range or "auto"',
        f'write {name}=16, {name}=(1, 64) or {name}="auto"',
    )


def _seconds(name: str, value: Any, where: Where) -> None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
        return
    raise where.error(f"{name}={value!r:.40}: expected seconds, more than 0", f"write {name}=10, or leave it out")


def _instance(kind: type, example: str) -> Callable[[str, Any, Where], None]:
    def check(name: str, value: Any, where: Where) -> None:
        if value is not None and not isinstance(value, kind):
            article = "an" if kind is Endpoint else "a"
            raise where.error(f"{name}={value!r:.60}: expected {article} {kind.__name__}", f"write {name}={example}")

    return check


def _key(name: str, value: Any, where: Where) -> None:
    path = isinstance(value, str) and all(part.isidentifier() for part in value.split("."))
    if value is not None and not path and not callable(value):
        raise where.error(
            f"{name}={value!r:.60}: expected the name of a field, or a function of the message",
            f'write {name}="customer", or {name}=lambda message: message.key',
        )
    _of_message(name, value, where)


def _of_message(name: str, value: Any, where: Where) -> None:
    """Refuse a function that gives no value when it is called with a message: a coroutine is like no other."""
    if not callable(value):
        return
    form = form_of(value)
    if form is Form.CLASS and value.__hash__ in (None, object.__hash__):
        own = "are each a key of their own" if value.__hash__ else "cannot be hashed"
        wrong = f"is a class whose instances {own}"
    elif form not in (Form.FUNCTION, Form.CLASS):
        wrong = f"is of the form `{form.value}`"
    elif not _takes(value, 1):
        wrong = "cannot be called with the message alone"
    else:
        return
    raise where.error(
        f"{name}={name_of(value)}: {wrong}; expected the name of a field, or a function of the message",
        "write the name of a field, a plain def of one parameter, or lambda message: message.key",
    )


def _deduplicate(name: str, value: Any, where: Where) -> None:
    if isinstance(value, Deduplicate):
        _of_message("Deduplicate: by", value.by, where)
        return
    if value is None or isinstance(value, bool) or (isinstance(value, int | float) and 0 < value < inf):
        return
    raise where.error(
        f"{name}={value!r:.60}: expected a Deduplicate, True, or seconds, more than 0",
        f"write {name}=Deduplicate(window=3600)",
    )


def _deduplicate_of(value: Any) -> Deduplicate | None:
    if isinstance(value, bool) or value is None:
        return Deduplicate() if value else None
    return value if isinstance(value, Deduplicate) else Deduplicate(window=value)


CHECKS: Mapping[str, Callable[[str, Any, Where], None]] = {
    "max_workers": _workers,
    "mailbox": _count,
    "key": _key,
    "retry": _instance(Retry, "Retry(attempts=5)"),
    "dead_letter": _instance(Endpoint, 'broker.topic("orders.dead")'),
    "timeout": _seconds,
    "batch": _instance(Batch, "Batch(size=500)"),
    "max_body": _count,
    "deduplicate": _deduplicate,
}


def check_middleware(middleware: Iterable[tuple[Any, str]]) -> None:
    """Middleware must be coroutine functions of the next call and the message."""
    for function, place in middleware:
        where = Where(place, name_of(function))
        if form_of(function) is not Form.COROUTINE or not _takes(function, 2):
            raise where.error(
                "is no middleware", "write `async def ...(call_next, message): return await call_next(message)`"
            )


def check_lifespans(lifespans: Iterable[tuple[Any, str]]) -> None:
    """Lifespans must be async generator functions of the context."""
    for function, place in lifespans:
        where = Where(place, name_of(function))
        if form_of(function) is not Form.ASYNC_GENERATOR or not _takes(function, 1):
            raise where.error(
                "is no lifespan", "write `async def ...(context):` with one `yield`, and without @asynccontextmanager"
            )


def check_topology(name: Any, supervision: Any, where: Where) -> None:
    """What a topology is made with."""
    if not _is_name(name):
        raise where.error(f"Topology({name!r:.60}): expected a name without blanks", 'write Topology("orders")')
    if not isinstance(supervision, Supervision):
        raise where.error(
            f"Topology({name!r}, supervision={supervision!r:.60}): expected a Supervision",
            "write supervision=Supervision(intensity=3, period=5)",
        )


def check_include(outer: Declarations, inner: Any, prefix: Any, where: Where) -> None:
    """A topology may include others, but not itself, not even by way of another."""
    if not isinstance(inner, Declarations) or not isinstance(prefix, str):
        raise where.error(
            f"{outer.name} includes what is no topology, or with a prefix that is no text",
            'write topology.include(other, prefix="eu.")',
        )
    if outer in inner.everything():
        raise where.error(
            f"{outer.name} includes {inner.name}, which includes {outer.name}", "leave one of the two out"
        )


def _takes(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # written in C, and does not tell its parameters: operator.attrgetter, say
        return True
    return True
