"""The subscriber stage: what its handler returns goes to every stage and publisher behind it."""

from collections.abc import Callable
from typing import Any

from actors.message import Message
from actors.outbox import Outbox, passed_on

PassOn = Callable[[Message, Any], None]


def to_all(outbox: Outbox, replies: bool = False) -> PassOn:
    """How a subscriber passes results on, compiled for the outlets it has.

    A result of None goes nowhere and acknowledges. With `replies` the last outlet takes the answers to messages that
    ask for one. Whatever raises does so before anything is passed on.
    """
    if replies:
        return _and_reply(outbox)
    if not outbox.outlets:
        return _nowhere
    return _to_one(outbox) if len(outbox.outlets) == 1 else _to_many(outbox)


def _nowhere(message: Message, result: Any) -> None:
    message.receipt.acknowledge()


def _to_one(outbox: Outbox) -> PassOn:
    (outlet,), (buffer,) = outbox.outlets, outbox.buffers
    append, plain, fit = buffer.append, outlet.plain, outlet.fit

    def pass_on(message: Message, result: Any) -> None:
        if result is None:
            message.receipt.acknowledge()
        elif plain:
            append(message.derive(result) if type(result) is not Message else passed_on(message, result))
        else:
            append(fit(passed_on(message, result)))

    return pass_on


def _to_many(outbox: Outbox) -> PassOn:
    outlets, buffers = outbox.outlets, outbox.buffers

    def pass_on(message: Message, result: Any) -> None:
        if result is None:
            message.receipt.acknowledge()
            return
        made = [outlet.fit(passed_on(message, result)) for outlet in outlets]
        message.receipt.split(len(made) - 1)
        for each, buffer in zip(made, buffers, strict=True):
            buffer.append(each)

    return pass_on


def _and_reply(outbox: Outbox) -> PassOn:
    answers = outbox.buffers[-1]
    pass_on = to_all(outbox.without_last())

    def reply_and_pass_on(message: Message, result: Any) -> None:
        if result is None:
            message.receipt.acknowledge()
            return
        if message.reply_to is None:
            pass_on(message, result)
            return
        answer = passed_on(message, result)
        answer.destination, answer.reply_to = message.reply_to, None
        message.receipt.split(1)
        try:
            pass_on(message, result)
        except BaseException:
            message.receipt.unsplit(1)
            raise
        answers.append(answer)

    return reply_and_pass_on
