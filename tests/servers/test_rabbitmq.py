"""RabbitMQ as the tests start it: with its queues after a restart, logins, TLS, and its command line tool."""

import aio_pika
import anyio.to_thread
import pytest

from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.anyio


async def test_rabbitmq_keeps_confirmed_messages_through_a_kill(rabbitmq_server: RabbitMQ) -> None:
    async with await aio_pika.connect(rabbitmq_server.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(b"yes", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
    await anyio.to_thread.run_sync(rabbitmq_server.write_down_declarations)
    await rabbitmq_server.async_restart(kill=True)
    async with await aio_pika.connect(rabbitmq_server.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        async with queue.iterator(timeout=20) as messages:
            async for received in messages:
                assert received.body == b"yes"
                await received.ack()
                break


async def test_rabbitmq_takes_a_login_and_refuses_a_wrong_one(rabbitmq_server: RabbitMQ) -> None:
    async with await aio_pika.connect(rabbitmq_server.login_url) as connection:
        assert not connection.is_closed
    with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
        await aio_pika.connect(rabbitmq_server.login_url.replace("brook", "puddle"))


async def test_rabbitmq_speaks_tls_to_who_trusts_its_authority(rabbitmq_server: RabbitMQ) -> None:
    certificates = rabbitmq_server.certificates
    async with await aio_pika.connect(rabbitmq_server.tls_url, ssl_context=certificates.context()) as connection:
        assert not connection.is_closed
    with pytest.raises(aio_pika.exceptions.AMQPConnectionError, match="certificate verify failed"):
        await aio_pika.connect(rabbitmq_server.tls_url)


def test_rabbitmqctl_reaches_the_node_of_the_tests(rabbitmq_server: RabbitMQ) -> None:
    assert "guest" in rabbitmq_server.ctl("list_users")
    with pytest.raises(RuntimeError, match="no_such_command"):
        rabbitmq_server.ctl("no_such_command")
