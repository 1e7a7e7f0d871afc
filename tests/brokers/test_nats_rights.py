"""What a user of NATS has no right to: whoever needs it is told, with what the server said, and nobody else is."""

import asyncio
from typing import Any
from uuid import uuid4

import anyio
import pytest

from actors import PublishError
from engine.nats.broker import Nats
from engine.nats.denials import Denials
from tests.brokers.at_nats import refusal
from tests.brokers.contract import fetched, message, numbers, opened
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy
from tests.servers.site import Site

pytestmark = pytest.mark.anyio
DENIED = ["*.No", '*."quoted"']


def lets(servers: Site, **permissions: Any) -> Server:
    """A server on which a user called `few` has these rights, and `all` has all."""
    users = [{"user": "few", "password": "s3cret", "permissions": permissions}, {"user": "all", "password": "s3cret"}]
    return servers.get(Server, settings={"authorization": {"users": users}, "no_auth_user": "all"})


def few(server: Any, **options: Any) -> Nats:
    return Nats(f"nats://few:s3cret@{server.host}:{server.port}", **options)


async def test_of_two_that_publish_side_by_side_the_one_is_told_that_is_denied(servers: Site) -> None:
    server = lets(servers, publish={"deny": DENIED})
    async with Proxy(server) as proxy:
        sink = few(proxy).subject("any").sink()
        async with opened(sink):
            proxy.stall("answers")
            with anyio.fail_after(10):
                both = [asyncio.ensure_future(sink.publish([message(1, subject)])) for subject in ("a.No", "a.yes")]
                await anyio.wait_all_tasks_blocked()
                proxy.mend()
                denied, allowed = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(denied, PublishError)
    assert allowed is None


@pytest.mark.parametrize("name", ["No", '"quoted"'])
@pytest.mark.parametrize("kind", ["stream", "subject"])
async def test_one_denied_subject_of_many_costs_the_others_nothing(servers: Site, kind: str, name: str) -> None:
    server, unique = lets(servers, publish={"deny": DENIED}), uuid4().hex
    subject = f"{unique}.{{x}}"
    kept = Nats(server.url).stream(f"S-{unique}", subject=f"{unique}.*").source("readers")
    broker = few(server)
    sink = broker.subject(subject).sink() if kind == "subject" else broker.stream(f"S-{unique}", subject=subject).sink()
    async with opened(kept, sink):
        names = ["a", name, "b"]
        for _ in range(2):
            with pytest.raises(PublishError) as wrong:
                await sink.publish([message(at, f"{unique}.{each}") for at, each in enumerate(names)])
            assert list(wrong.value.failures) == [1]
            assert "permissions violation" in str(wrong.value.failures[1])
        await sink.publish([message(5, f"{unique}.a")])
        assert numbers(await fetched(kept, 5)) == [0, 2, 0, 2, 5]
        assert not getattr(getattr(sink, "_inbox", None), "waiting", None)


@pytest.mark.parametrize("kind", ["stream", "subject"])
async def test_a_denied_subject_that_is_the_only_one_is_refused_as_a_whole(servers: Site, kind: str) -> None:
    server, unique = lets(servers, publish={"deny": DENIED}), uuid4().hex
    broker, subject = few(server), f"{unique}.No"
    sink = broker.subject(subject).sink() if kind == "subject" else broker.stream(f"S-{unique}", subject=subject).sink()
    async with opened(sink):
        for _ in range(2):
            with refusal("permissions violation", "give this user the right"):
                await sink.publish([message(1, subject), message(2, subject)])


async def test_a_stream_whose_confirms_may_not_be_heard_is_refused(servers: Site) -> None:
    server = lets(servers, subscribe={"allow": ["nothing"]})
    with refusal("permissions violation for subscription"):
        await few(server, timeout=2).stream("S").sink().open()


async def test_a_source_that_may_not_acknowledge_is_refused_and_hands_nothing_out_again(servers: Site) -> None:
    server, unique = lets(servers, publish={"deny": ["$JS.ACK.>"]}), uuid4().hex
    sink = Nats(server.url).stream(f"S-{unique}").sink()
    source = few(server, ack_wait=1, timeout=2).stream(f"S-{unique}").source("readers")
    async with opened(sink, source):
        await sink.publish([message(1, f"S-{unique}")])
        with anyio.fail_after(20):
            run = await source.fetch(1)
            await source.settle(run, [])
            for _ in range(3):
                with refusal("permissions violation", "publish to $JS.ACK.>"):
                    await source.fetch(1)


async def test_a_source_that_may_not_ask_for_messages_is_refused(servers: Site) -> None:
    server, unique = lets(servers, publish={"deny": ["$JS.API.CONSUMER.MSG.NEXT.>"]}), uuid4().hex
    source = few(server).stream(f"S-{unique}").source("readers")
    async with opened(source):
        with anyio.fail_after(4), refusal("permissions violation", f"$JS.API.CONSUMER.MSG.NEXT.S-{unique}."):
            await source.fetch(1)


def test_denials_are_found_by_what_the_server_named() -> None:
    denied = Denials()
    assert not denied
    denied.note('permissions violation for publish to "t.no"')
    denied.note('permissions violation for publish with reply of "$js.ack.x"')
    denied.note(r'permissions violation for publish to "a\"b\\c\u200b"')
    assert denied.of("a", "T.No") == 'permissions violation for publish to "t.no"'
    assert denied.of("$JS.ACK.x")
    assert denied.of('a"b\\c\u200b')
    assert not denied.of("t.n", "t.no.", "")
    assert not denied.other
    denied.note('permissions violation for subscription to "t.no"')
    assert "subscription" in denied.other
