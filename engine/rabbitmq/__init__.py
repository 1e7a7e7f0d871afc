"""RabbitMQ: queues and exchanges; its frames, confirms and declarations."""

from engine.rabbitmq.broker import RabbitMQ

__all__ = ["RabbitMQ"]
