"""Methods with any name in them: RabbitMQ takes all of UTF-8, pamqp no more than `[a-zA-Z0-9-_.:@#,/+ ]`."""

from aiormq import spec


class QueueDeclare(spec.Queue.Declare):
    """Make a queue be there."""

    def validate(self) -> None:
        """The server sees to it."""


class QueueBind(spec.Queue.Bind):
    """Let a queue have messages of an exchange."""

    def validate(self) -> None:
        """The server sees to it."""


class QueueDelete(spec.Queue.Delete):
    """Remove a queue with all that is in it."""

    def validate(self) -> None:
        """The server sees to it."""


class ExchangeDeclare(spec.Exchange.Declare):
    """Make an exchange be there."""

    def validate(self) -> None:
        """The server sees to it."""


class Consume(spec.Basic.Consume):
    """Have a queue's messages delivered."""

    def validate(self) -> None:
        """The server sees to it."""
