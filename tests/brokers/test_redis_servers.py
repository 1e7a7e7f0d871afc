"""Redis in all its shapes: logins and rights, TLS, sentinels, a cluster, a Unix socket, and what goes wrong there."""

from typing import Any
from uuid import uuid4

import anyio
import pytest
from redis.asyncio import Redis as Client
from redis.crc import key_slot

from actors import BrokerRefused, BrokerUnavailable
from engine.redis.broker import Redis
from tests.brokers import test_redis
from tests.brokers.contract import fetched, message, numbers, opened
from tests.brokers.surviving import eventually, insist
from tests.servers.ports import free_port
from tests.servers.redis import Redis as Server
from tests.servers.redis import RedisCluster, RedisSentinel
from tests.servers.site import Site

pytestmark = pytest.mark.anyio


async def passes(redis: Redis) -> None:
    """A message goes through, and a request is answered."""
    stream = redis.stream(f"s-{uuid4().hex}")
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        await sink.publish([message(1, stream.name)])
        run = await source.fetch(5)
        assert numbers(run) == [1]
        await source.settle(run, [])


async def refusal(redis: Redis, *told: str) -> str:
    """What source and sink say when they are refused; it holds no password."""
    stream = redis.stream(f"s-{uuid4().hex}")
    said = ""
    for port in (stream.source("readers"), stream.sink(), redis.list("l").source(""), redis.channel("c").source("")):
        with pytest.raises(BrokerRefused) as refused:
            await port.open()
        said = str(refused.value)
        for text in told:
            assert text in said
        assert "s3cret" not in said
    return said


# -- logins and rights -------------------------------------------------------------------------------------------


async def test_a_user_logs_in(servers: Site) -> None:
    await passes(Redis(servers.get(Server, required=True).url))
    server = servers.get(Server, required=True)
    await passes(Redis(server.open_url, user=server.user, password=server.password))


async def test_a_wrong_password_is_refused_with_the_remedy(redis_server: Server) -> None:
    wrong = redis_server.login_url.replace(redis_server.password, "s3cret")
    await refusal(Redis(wrong), f"{redis_server.host}:{redis_server.port}", "WRONGPASS", "correct the user")


async def test_no_login_where_one_is_asked_for_is_refused_with_the_remedy(servers: Site) -> None:
    await refusal(Redis(servers.get(Server, required=True).open_url), "NOAUTH", "put user and password into the URL")


async def test_a_login_that_the_server_does_not_ask_for_is_refused(redis_server: Server) -> None:
    await refusal(Redis(redis_server.url, password="s3cret"), "without any password", "leave it out of the URL")


async def test_a_database_that_is_not_there_is_refused(redis_server: Server) -> None:
    await refusal(Redis(redis_server.url, database=999), "DB index is out of range")


async def test_a_missing_right_is_refused_until_it_is_given(redis_server: Server) -> None:
    async with Client.from_url(redis_server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "guest", "on", ">s3cret", "~s-*", "&*", "+@all", "-xreadgroup")
        stream = Redis(redis_server.url, user="guest", password="s3cret").stream(f"s-{uuid4().hex}")
        source, sink = stream.source("readers"), stream.sink()
        async with opened(source, sink):
            await sink.publish([message(1, stream.name)])
            with pytest.raises(BrokerRefused, match=r"NOPERM .*xreadgroup[^$]*ACL SETUSER"):
                await source.fetch(1)
            with pytest.raises(BrokerRefused, match="NOPERM"):
                await sink.publish([message(1, "forbidden")])
            await admin.execute_command("ACL", "SETUSER", "guest", "+xreadgroup")
            assert numbers(await source.fetch(1)) == [1]
        await admin.execute_command("ACL", "DELUSER", "guest")


async def test_a_source_without_the_right_to_run_scripts_still_closes(redis_server: Server) -> None:
    async with Client.from_url(redis_server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "bare", "on", "nopass", "~*", "&*", "+@all", "-@scripting")
        await passes(Redis(redis_server.url, user="bare", password="any"))
        await admin.execute_command("ACL", "DELUSER", "bare")


async def test_what_cannot_be_reached_is_unavailable() -> None:
    redis = Redis(f"redis://user:s3cret@127.0.0.1:{free_port()}")
    for port in (
        redis.stream("s").source("g"),
        redis.list("l").source("g"),
        redis.channel("c").source("g"),
        redis.inbox().source("g"),
        redis.stream("s").sink(),
    ):
        with pytest.raises(BrokerUnavailable) as unavailable:
            await port.open()
        assert "127.0.0.1" in str(unavailable.value)
        assert "s3cret" not in str(unavailable.value)
        await port.close()


async def test_a_host_that_does_not_exist_is_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match=r"nowhere\.invalid"):
        await Redis("redis://nowhere.invalid").stream("s").sink().open()


async def test_what_redis_py_does_not_know_is_refused(redis_server: Server) -> None:
    await refusal(Redis(redis_server.url, client={"sockets": 5}), "sockets", "correct client=")


async def test_a_server_that_accepts_and_says_nothing_is_unavailable() -> None:
    async def silent(stream: Any) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, silent)
        redis = Redis(f"redis://127.0.0.1:{port}", connect_timeout=0.2, user="u", password="p")
        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await redis.stream("s").source("g").open()
        tasks.cancel_scope.cancel()


# -- TLS and sockets ---------------------------------------------------------------------------------------------


async def test_tls_with_an_authority_and_a_certificate_of_ones_own(redis_server: Server) -> None:
    certificates = redis_server.certificates
    await passes(Redis(redis_server.tls_url, cafile=certificates.authority))
    await passes(Redis(f"{redis_server.tls_url}?cafile={certificates.authority}"))
    await passes(Redis(redis_server.tls_url, ssl=certificates.context()))
    pair = {"certfile": certificates.client, "keyfile": certificates.client_key}
    await passes(Redis(redis_server.tls_url, cafile=certificates.authority, **pair))


async def test_a_certificate_that_nobody_vouches_for_is_refused(redis_server: Server) -> None:
    await refusal(Redis(redis_server.tls_url), "no TLS with it", "CERTIFICATE_VERIFY_FAILED", "correct cafile=")


async def test_a_file_that_is_missing_is_said_to_be(redis_server: Server) -> None:
    await refusal(Redis(redis_server.tls_url, cafile="/none.pem"), "cafile=", "No such file")


async def test_tls_with_a_server_that_has_none_says_what_it_may_be(redis_server: Server) -> None:
    with pytest.raises(BrokerUnavailable, match="does this port speak TLS"):
        await Redis(redis_server.url.replace("redis:", "rediss:"), connect_timeout=0.3).stream("s").sink().open()


async def test_a_unix_socket(servers: Site) -> None:
    server = servers.get(Server, settings={"unixsocket": "redis.sock"})
    await passes(Redis(f"unix://{server.folder}/redis.sock"))


# -- sentinels ---------------------------------------------------------------------------------------------------


async def test_a_service_that_no_sentinel_knows_is_refused(servers: Site) -> None:
    fleet = servers.get(RedisSentinel)
    url = f"redis+sentinel://{fleet.sentinel.host}:{fleet.sentinel_port}/other"
    await refusal(Redis(url), "no sentinel knows a service other", "correct the service's name")


async def test_sentinels_name_the_primary_also_after_it_was_killed(servers: Site) -> None:
    fleet = servers.get(RedisSentinel)
    url = f"redis+sentinel://127.0.0.1:1,{fleet.sentinel.host}:{fleet.sentinel_port}/{fleet.service}"
    stream = Redis(url).stream(f"s-{uuid4().hex}")
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        await sink.publish([message(1, stream.name)])
        run = await source.fetch(5)
        await source.settle(run, [])
        (follower,) = [server for server in fleet.redis if server is not fleet.primary]
        async with Client(port=follower.port) as replica:

            async def follows() -> Any:
                return await replica.exists(stream.name) and await replica.xinfo_groups(stream.name)

            await eventually(follows)
        fleet.primary.kill()
        with anyio.fail_after(30):
            assert await insist(lambda: sink.publish([message(2, stream.name)])) > 0
            got: list[Any] = []

            async def fetch() -> None:
                got.extend(await source.fetch(5))

            await insist(fetch)
        assert numbers(got)[-1] == 2


# -- a cluster ---------------------------------------------------------------------------------------------------


class TestClusterStreamContract(test_redis.TestStreamContract):
    @pytest.fixture
    async def endpoint(self, servers: Site) -> Any:
        return Redis(servers.get(RedisCluster).url, cluster=True).stream(f"s-{uuid4().hex}")


class TestClusterListContract(test_redis.TestListContract):
    @pytest.fixture
    async def endpoint(self, servers: Site) -> Any:
        return Redis(servers.get(RedisCluster).url.replace("redis:", "redis-cluster:")).list(f"l-{uuid4().hex}")


async def test_pub_sub_in_a_cluster_reaches_those_who_listen_on_another_node(servers: Site) -> None:
    redis = Redis(servers.get(RedisCluster).url, cluster=True)
    unique = uuid4().hex
    source, sink = redis.channel(f"{unique}.*").source("readers"), redis.channel(unique).sink()
    async with opened(source, sink):
        await sink.publish([message(number, f"{unique}.{number}") for number in range(12)])
        assert sorted(numbers(await fetched(source, 12))) == list(range(12))


async def test_a_run_for_many_streams_goes_to_the_nodes_that_have_them(servers: Site) -> None:
    fleet = servers.get(RedisCluster)
    unique, sink = uuid4().hex, Redis(fleet.url, cluster=True).stream("all.{number}").sink()
    async with opened(sink):
        await sink.publish([message(number, f"{unique}.{number % 12}") for number in range(120)])
    found = []
    for node in fleet.nodes:
        client: Any
        async with Client.from_url(node.url) as client:
            for name in await client.keys(f"{unique}.*"):
                entries = [int(fields[b"body"]) for _, fields in await client.xrange(name) or ()]
                assert entries == sorted(entries)
                found.append(len(entries))
    assert found == [10] * 12


async def test_a_slot_that_moves_is_followed(servers: Site) -> None:
    fleet = servers.get(RedisCluster)
    name = f"s-{uuid4().hex}"
    stream = Redis(fleet.url, cluster=True).stream(name)
    source, sink = stream.source("readers"), stream.sink()
    async with opened(source, sink):
        await sink.publish([message(1, name)])
        held = await source.fetch(5)
        await _move(fleet, name)
        assert await insist(lambda: sink.publish([message(2, name)])) == 1
        got: list[Any] = []

        async def fetch() -> None:
            got.extend(await source.fetch(5))

        await insist(fetch)
        assert numbers(got) == [2]
        await insist(lambda: source.settle([*held, *got], []))


async def _move(fleet: RedisCluster, name: str) -> None:
    """Give the slot of a key to another node, with all that is in it: other tests may have had a key there."""
    slot = key_slot(name.encode())
    clients = [Client.from_url(node.url) for node in fleet.nodes]
    try:
        (owner,) = [each for each in clients if await _has(each, name)]
        other = next(each for each in clients if each is not owner)
        ids = {each: (await each.execute_command("CLUSTER MYID")).decode() for each in clients}
        await other.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[owner])
        await owner.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[other])
        port = other.connection_pool.connection_kwargs["port"]
        keys = await owner.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
        await owner.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
        for each in (other, owner, *clients):
            await each.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[other])
    finally:
        for each in clients:
            await each.aclose()


async def _has(client: Any, name: str) -> bool:
    slots = await client.execute_command("CLUSTER COUNTKEYSINSLOT", key_slot(name.encode()))
    return bool(slots)


async def test_a_node_of_a_cluster_taken_for_a_single_server_says_what_to_write(servers: Site) -> None:
    fleet = servers.get(RedisCluster)
    name = next(name for name in map(str, range(100)) if key_slot(name.encode()) > 10922)  # not on the first node
    with pytest.raises(BrokerRefused, match=r"MOVED[^$]*redis-cluster://"):
        await Redis(fleet.url).stream(name).source("g").open()


async def test_a_single_server_taken_for_a_cluster_says_what_to_write(redis_server: Server) -> None:
    with pytest.raises(BrokerRefused, match=r"cluster support disabled[^$]*write redis://"):
        await Redis(redis_server.url, cluster=True).stream("s").sink().open()
