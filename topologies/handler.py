"""A user's function or actor as a handler, compiled once: what is decoded, what is injected, what comes back."""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, get_args, get_origin

from anyio import CapacityLimiter

from actors import Actor, Bound, Emit, Invoke, Message
from topologies.codec import Codec, as_is, codec
from topologies.hints import bare, shown
from topologies.inject import AnyLogger, Want, body, injected, marker
from topologies.place import Where
from topologies.results import forwards, passed_on
from topologies.running import running
from topologies.scope import scoped
from topologies.signature import Form, Parameter, form_of, signature_of, waits
from topologies.wants import Step, Wants, arrange

Middleware = Callable[[Invoke, Message], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Handler:
    """A handler compiled; `bind` is called once per worker, `decode` once per message that comes from a broker."""

    name: str
    function: Callable[..., Any]
    """As its author wrote it: a function, or a subclass of `Actor`."""
    form: Form
    """Of the function, or of the actor's `receive`."""
    body: Any
    """The annotation of one message's body; `Any` where the handler does not ask for the body."""
    returns: Any
    """The annotation of one result, without None; `Any` where that is not known, and of routers."""
    passes: Any
    """What reaches the stages behind it, to check and to document: `returns`, and of a router that sends nothing
    of its own the body. Not a promise."""
    decode: Callable[[bytes], Any]
    """A body from the bytes as they came; raises `DecodeError` with a short reason."""
    codec: Codec | None = None
    """None where the handler does not ask for the body."""
    inline: bool = False
    """A router: its `def` is called in the event loop, for it decides and does not block."""
    wants: tuple[Want, ...] = ()
    steps: tuple[Step, ...] = ()
    middleware: tuple[Middleware, ...] = ()

    @property
    def stateful(self) -> bool:
        """Whether each worker has an instance of its own."""
        return isinstance(self.function, type)

    @property
    def blocks(self) -> bool:
        """Whether nothing can interrupt it: it is no coroutine, nor does it return one."""
        function: Any = self.function
        return self.form.blocks and not waits(function.receive if self.stateful else function)

    @property
    def needs(self) -> frozenset[str]:
        """The names that a lifespan must have put into the context before `bind`."""
        wants = [*self.wants, *(want for step in self.steps for want in step.wants)]
        return frozenset(want.needs for want in wants if want.needs)

    def bind(self, emit: Emit, context: Mapping[str, Any], logger: AnyLogger) -> Bound:
        """Make it ready for one worker, which handles one message at a time.

        `emit(message, item)` takes what a generator yields. Raises what an actor's constructor raises, and
        `TopologyError` where the context lacks what is asked for. Call it in the event loop.
        """
        actor = None
        function = self.function
        if isinstance(function, type):
            actor = _instance(function, context, logger)
            function = actor.receive
        framed = bool(self.steps)
        call = arrange(function, self.wants, context, logger, framed)
        # A limit of its own: threads that wait for room behind them must not use up those that would make the room.
        limiter = CapacityLimiter(1)
        invoke = running(self.form, call, emit, limiter, inline=self.inline, framed=framed)
        if framed:
            invoke = scoped(invoke, self.steps, context, logger, limiter)
        for middleware in reversed(self.middleware):
            invoke = partial(middleware, invoke)
        return Bound(invoke, actor)

    def adapter(self, offered: Any) -> Callable[[Any], Any] | None:
        """What bodies of another stage, which declares that it returns `offered`, have to pass through to fit.

        None where they fit as they are. The function raises `DecodeError`.
        """
        return self.codec.adapter(offered) if self.codec is not None else None

    def __repr__(self) -> str:
        return f"<handler {self.name}: {self.form}, takes {shown(self.body)}, returns {shown(self.returns)}>"


def _instance(kind: type[Any], context: Mapping[str, Any], logger: AnyLogger) -> Actor:
    actor: Actor = kind()
    actor.context = context
    actor.logger = logger  # type: ignore[assignment] # an adapter logs as a logger does
    return actor


def compile_handler(
    function: Any,
    where: Where,
    *,
    names: Mapping[str, Any],
    router: bool = False,
    batch: bool = False,
    from_broker: bool = True,
    middleware: Sequence[Middleware] = (),
) -> Handler:
    """Compile a function or actor. Raises `TopologyError` for what cannot work.

    `names` are those local to where it was declared; `from_broker` says that bodies come as bytes, too.
    """
    receive, bound = _receive(function, where)
    form = form_of(receive)
    signature = signature_of(receive, where, names, bound=bound)
    wants = Wants(where, names)
    hint, own = _body_and_rest(signature.parameters, wants, where, batch)
    _check_batch(wants.all(own), where, batch)
    codes = None if hint is None else codec(hint)
    if codes is not None and codes.opaque and from_broker:
        raise where.error(
            f"no body can be decoded to {shown(hint)}: {codes.opaque}",
            "annotate the body with a pydantic model, a dataclass, a TypedDict, dict, list, str or bytes",
        )
    taken = Any if hint is None else hint
    returns = Any if router else passed_on(signature.returns, form)
    passes = taken if router and not batch and forwards(receive, signature.returns) else returns
    return Handler(
        name=where.stage,
        function=function,
        form=form,
        body=taken,
        returns=returns,
        passes=passes,
        decode=as_is if codes is None else codes.decode,
        codec=codes,
        inline=router,
        wants=own,
        steps=tuple(wants.steps),
        middleware=tuple(middleware),
    )


def _receive(function: Any, where: Where) -> tuple[Callable[..., Any], bool]:
    """The function that takes the message, and whether its `self` is already bound."""
    if not callable(function):
        raise where.error(f"{function!r:.60} is not a handler", "decorate a function or a subclass of Actor")
    if not isinstance(function, type):
        return function, True
    if not issubclass(function, Actor):
        raise where.error(f"class {function.__name__} is not a handler", f"write `class {function.__name__}(Actor)`")
    found = inspect.getattr_static(function, "receive", None)
    if found is None:
        raise where.error(
            f"actor {function.__name__} has no `receive`", "add `async def receive(self, body: YourModel)`"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise where.error(
            f"actor {function.__name__} cannot be made without arguments: {error}",
            "take what it needs from self.context in on_start",
        ) from None
    _check_hooks(function, where)
    return function.receive, not inspect.isfunction(found)


def _check_hooks(actor: type[Actor], where: Where) -> None:
    for name in ("on_start", "on_stop"):
        hook = getattr(actor, name)
        if not waits(hook):
            raise where.error(
                f"{name} of actor {actor.__name__} is of the form `{form_of(hook).value}`, and it is awaited",
                f"write `async def {name}(self)`",
            )


def _body_and_rest(
    parameters: Sequence[Parameter], wants: Wants, where: Where, batch: bool
) -> tuple[Any, tuple[Want, ...]]:
    """The annotation of one body (None: it is not asked for), and all that the handler wants."""
    if not parameters:
        raise where.error("takes no parameter", "take the body first, annotated: `order: Order`")
    first, *rest = parameters
    if not first.annotated:
        raise where.error(
            f"its body `{first.name}` has no annotation",
            f"write `{first.name}: YourModel` (a pydantic model, a dataclass, dict, str, bytes, ...)",
        )
    if marker(first) is not None or injected(first, where) is not None:
        return None, wants.of(parameters, "the handler")
    hint = _item(first, where) if batch else first.hint
    return hint, (body(first), *wants.of(rest, "the handler"))


def _item(parameter: Parameter, where: Where) -> Any:
    hint = get_args(parameter.hint)[0] if get_origin(parameter.hint) is Annotated else parameter.hint
    if bare(hint) not in (list, Sequence):
        raise where.error(
            f"has batch=, and its body `{parameter.name}: {shown(hint)}` is no list",
            f"write `{parameter.name}: list[{shown(hint)}]`, or leave batch= out",
        )
    return (get_args(hint) or (Any,))[0]


def _check_batch(wants: Iterable[Want], where: Where, batch: bool) -> None:
    for want in wants:
        name = want.parameter.name
        if batch and want.kind in ("message", "header"):
            raise where.error(
                f"has batch=, and `{name}` asks for the {want.kind} of one message",
                "take `messages: list[Message]`: each has its body and headers",
            )
        if not batch and want.kind == "messages":
            raise where.error(
                f"`{name}: list[Message]` without batch=", "add batch=Batch(size=...), or take `message: Message`"
            )
