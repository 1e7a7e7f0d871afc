"""The router stage: its handler says where a message goes."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.errors import HeadraceError
from actors.message import Headers, Message
from actors.outbox import Outbox, passed_on


class RoutingError(HeadraceError):
    """A router named a target that its `to=` does not declare."""


@dataclass(frozen=True, slots=True, eq=False)
class Send:
    """A target with a message of its own; made by `target.send(body, key=..., headers=...)`."""

    target: Hashable
    body: Any
    key: str | bytes | None = None
    headers: Headers | None = None


def _asked(choice: Send) -> Message:
    """What a router wants sent: of a `Message` as body, its own key and headers count where none is given."""
    inner = choice.body if type(choice.body) is Message else Message(choice.body)
    return Message(
        inner.body,
        key=inner.key if choice.key is None else choice.key,
        headers=inner.headers if choice.headers is None else choice.headers,
        reply_to=inner.reply_to,
        origin=inner.origin,
    )


def by_result(outbox: Outbox, targets: Mapping[Hashable, int], router: str) -> Callable[[Message, Any], None]:
    """How a router passes messages on: `targets` maps what its handler may return to the number of an outlet.

    All that it returns is resolved before anything is passed on: a target not declared fails the message whole.
    """
    outlets, buffers = outbox.outlets, outbox.buffers

    def resolve(message: Message, choice: Any) -> tuple[int, Message]:
        target = choice.target if type(choice) is Send else choice
        try:
            number = targets[target]
        except (KeyError, TypeError):
            known = ", ".join(sorted(outlet.name for outlet in outlets))
            raise RoutingError(
                f"router {router} returned {choice!r:.100}, which is not declared in its to=; declared are {known}"
            ) from None
        if type(choice) is Send:
            result: Any = _asked(choice)
        else:
            result = message
        return number, outlets[number].fit(passed_on(message, result))

    # One target that takes messages as they are, which is the usual, is looked up and nothing else.
    ways = {target: buffers[number].append for target, number in targets.items() if outlets[number].plain}

    def pass_on(message: Message, result: Any) -> None:
        if result is None:
            message.receipt.acknowledge()
            return
        try:
            way = ways.get(result)
        except TypeError:  # a list, or what cannot be a target
            way = None
        if way is not None:
            way(message.derive(message.body))
            return
        choices = result if type(result) in (list, tuple) else (result,)
        sends = [resolve(message, choice) for choice in choices]
        message.receipt.split(len(sends))
        for number, made in sends:
            buffers[number].append(made)
        message.receipt.acknowledge()

    return pass_on
