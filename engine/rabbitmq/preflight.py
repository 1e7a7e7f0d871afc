"""What a RabbitMQ tells of its queues and exchanges, over AMQP and by its management API. Changes nothing there."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pamqp.base import Frame

from actors import BrokerError, BrokerRefused
from engine.brokers.findings import Edge, Verdict
from engine.brokers.monitoring import get_json
from engine.rabbitmq.broker import RabbitMQ
from engine.rabbitmq.declare import QueueSpec
from engine.rabbitmq.endpoints import RabbitExchange, RabbitQueue
from engine.rabbitmq.methods import ExchangeDeclare, QueueDeclare
from engine.rabbitmq.options import RabbitMQOptions
from engine.rabbitmq.verdicts import Exchange, Node, Queue, judge
from engine.rabbitmq.wire import Wire

_PATIENCE = 2.0
"""Seconds that one answer of the management API may take."""


async def inspect(broker: RabbitMQ, edges: Sequence[Edge]) -> list[Verdict]:
    """Look at each queue and exchange. Raises `BrokerUnavailable` and `BrokerRefused`."""
    connection = broker.asking()
    connection.join()
    try:
        wire = await connection.wire()
        management = await _Management.of(broker.told)
        node = Node(wire.version, management is not None and not management.why, management.why if management else "")
        if management is not None and not management.why:
            node = await management.node(node)
        return [await _look(wire, management, node, edge) for edge in edges]
    finally:
        await connection.leave()


async def _look(wire: Wire, management: "_Management | None", node: Node, edge: Edge) -> Verdict:
    endpoint = edge.endpoint
    reads = management if node.told else None
    if isinstance(endpoint, RabbitExchange) and edge.role != "source":
        if edge.template and "{" in endpoint.spec.name:
            return judge(edge, node, None, Exchange(None))
        return judge(edge, node, None, await _exchange(wire, reads, endpoint))
    if isinstance(endpoint, RabbitExchange):
        exchange = await _exchange(wire, reads, endpoint)
        spec = QueueSpec()
        return judge(edge, node, await _queue(wire, reads, endpoint, endpoint.queue_of(edge.group), spec), exchange)
    assert isinstance(endpoint, RabbitQueue)
    if edge.template:
        return judge(edge, node, Queue.declared(endpoint.spec, node.version, None))
    return judge(edge, node, await _queue(wire, reads, endpoint, endpoint.name, endpoint.spec))


async def _queue(wire: Wire, management: "_Management | None", about: object, name: str, spec: QueueSpec) -> Queue:
    there, problem = await _passive(wire, about, QueueDeclare(queue=name, passive=True))
    if there and management is not None and (told := await management.ask("queues", name)) is not None:
        return Queue.told(told)
    return Queue.declared(spec, wire.version, there, problem)


async def _exchange(wire: Wire, management: "_Management | None", endpoint: RabbitExchange) -> Exchange:
    name = endpoint.spec.name
    there, problem = await _passive(wire, endpoint, ExchangeDeclare(exchange=name, passive=True))
    if not there or management is None:
        return Exchange(there, problem)
    told = await management.ask("exchanges", name)
    bound = await management.ask("exchanges", name, "bindings/source")
    return Exchange(True, "", None if bound is None else len(bound), (told or {}).get("arguments") or {})


async def _passive(wire: Wire, about: object, question: Frame) -> tuple[bool | None, str]:
    """Whether there is such a thing; None and the server's words where that may not be asked."""
    try:
        async with wire.channel() as channel:
            await wire.ask(channel.rpc(question), about=about)
    except BrokerRefused as error:
        if "NOT_FOUND" in str(error):
            return False, ""
        return None, str(error).partition(": the server said: ")[2] or str(error)
    return True, ""


class _Management:
    """The management API, where its URL was given. `why` says what is wrong with it, if something is."""

    def __init__(self, options: RabbitMQOptions, url: str) -> None:
        self._login = options.user, options.password.get_secret_value()
        self._vhost = quote(options.vhost, safe="")
        self._url = f"{url.rstrip('/')}/api"
        self._options = options
        self.why = ""

    @classmethod
    async def of(cls, options: RabbitMQOptions) -> "_Management | None":
        if options.management is None:
            return None
        made = cls(options, options.management)
        try:
            await made.get("overview")
        except (OSError, ValueError, LookupError) as error:
            made.why = f"{options.management}: {error}"
        return made

    async def get(self, path: str) -> Any:
        context = self._options.context() if self._url.startswith("https") else None
        return await get_json(f"{self._url}/{path}", _PATIENCE, self._login, context)

    async def ask(self, kind: str, name: str, more: str = "") -> Any:
        """What it tells of a queue or an exchange; None for one that it does not have."""
        path = f"{kind}/{self._vhost}/{quote(name, safe='')}"
        try:
            return await self.get(f"{path}/{more}" if more else path)
        except LookupError:
            return None
        except (OSError, ValueError) as error:
            raise BrokerError(f"RabbitMQ's management API at {self._options.management}: {error}") from None

    async def node(self, node: Node) -> Node:
        """The same with the alarms of all nodes."""
        try:
            nodes = await self.get("nodes")
        except (OSError, ValueError, LookupError):  # that takes the tag `monitoring`
            return Node(node.version, True, alarms=None)
        kinds = {"mem_alarm": "memory", "disk_free_alarm": "disk space"}
        alarms = {kind for each in nodes for key, kind in kinds.items() if each.get(key)}
        return Node(node.version, True, alarms=tuple(sorted(alarms)))
