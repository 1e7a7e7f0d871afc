"""What a user declared, as it was declared: nothing is checked or resolved before the graph is compiled."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar

from actors import Batch, Deduplicate, Endpoint, Headers, Message, Retry, Send, Supervision
from topologies.graph import Kind, Lifespan, Workers
from topologies.handler import Middleware

Function = TypeVar("Function", bound=Callable[..., Any])


class StageOptions(TypedDict, total=False):
    """The options of subscribers and routers."""

    name: str
    """Instead of the function's own."""
    max_workers: Workers
    """How many at once, up to 1,024: a number, a range `(1, 64)` to find the number in, or "auto"."""
    mailbox: int
    """How many messages may wait; when they do, whoever sends more waits."""
    key: str | Callable[[Message], Any]
    """A field of the body, or a function of the message: one key, one order, one at a time."""
    retry: Retry | None
    dead_letter: Endpoint | None
    timeout: float | None
    """Seconds that the handler may take. A `def` cannot be interrupted: there it is refused."""
    batch: Batch | None
    max_body: int
    """Bytes; a larger body is dead on arrival."""
    deduplicate: Deduplicate | float | bool | None
    """What was done within a window, in seconds, is not handled again; True is an hour, by the message's id."""


class PublisherOptions(TypedDict, total=False):
    """The options of publishers."""

    name: str
    key: str | Callable[[Message], Any]
    """A field of the body, or a function of the message: what it is published with as its key."""
    mailbox: int
    max_workers: Workers
    retry: Retry | None


@dataclass(eq=False, slots=True)
class Declared:
    """One subscriber, router or publisher as it was declared."""

    kind: Kind
    place: str
    options: Mapping[str, Any]
    inputs: list[Any]
    """Endpoints and stages; of a publisher the functions that it decorates."""
    target: Any = None
    """The function or class that was decorated; of a publisher its `Publisher`. None while nothing was."""
    to: Any = None
    """Of a router."""
    endpoint: Any = None
    """Of a publisher."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """Names local to where it was declared, which annotations may refer to."""


class Publisher:
    """What `topology.publisher(...)` gives: a decorator of functions, and a target of routers."""

    def __init__(self, declared: Declared, changed: Callable[[], None]) -> None:
        self._declared = declared
        self._changed = changed

    def __call__(self, function: Function) -> Function:
        """Publish what this stage's handler returns; the function itself is given back unchanged."""
        self._declared.inputs.append(function)
        self._changed()
        return function

    def send(self, body: Any, *, key: str | bytes | None = None, headers: Headers | None = None) -> Send:
        """For a router to return: publish this body here, instead of the one it was given."""
        return Send(self, body, key, headers)

    def __repr__(self) -> str:
        return f"<publisher to {getattr(self._declared.endpoint, 'name', self._declared.endpoint)}>"


@dataclass(frozen=True, slots=True)
class Included:
    """Another topology taken in."""

    other: "Declarations"
    prefix: str


@dataclass(eq=False, slots=True)
class Declarations:
    """All that a topology was told."""

    name: str
    place: str
    supervision: Supervision
    stages: list[Declared] = field(default_factory=list)
    included: list[Included] = field(default_factory=list)
    middleware: list[tuple[Middleware, str]] = field(default_factory=list)
    lifespans: list[tuple[Lifespan, str]] = field(default_factory=list)
    changes: int = 0

    def changed(self) -> None:
        """Something more was declared: a graph compiled before is out of date."""
        self.changes += 1

    def state(self) -> int:
        """Grows with every declaration, here and in whatever is included."""
        return self.changes + sum(each.other.state() for each in self.included)

    def everything(self) -> Iterator["Declarations"]:
        """Itself and all that it includes, each time that it is included."""
        yield self
        for each in self.included:
            yield from each.other.everything()


def give_send(target: Any) -> None:
    """Let routers write `target.send(body, key=..., headers=...)` of a function or class that is a stage."""
    if hasattr(target, "send"):
        return

    def send(body: Any, *, key: str | bytes | None = None, headers: Headers | None = None) -> Send:
        """For a router to return: hand this body to the stage, instead of the one it was given."""
        return Send(target, body, key, headers)

    try:
        target.send = staticmethod(send) if isinstance(target, type) else send
    except AttributeError:  # a bound method, say; `Send(target, body)` does the same
        return
