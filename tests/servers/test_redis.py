"""Redis as the tests start it: with its data after a restart, logins, TLS, a cluster and a sentinel."""

import pytest
from redis.asyncio import Redis as Client
from redis.asyncio import RedisCluster as ClusterClient
from redis.asyncio import Sentinel as SentinelClient
from redis.exceptions import AuthenticationError, ConnectionError

from tests.servers.redis import Redis, RedisCluster, RedisSentinel
from tests.servers.site import Site

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kill", [False, True])
async def test_redis_keeps_its_data_through_a_restart(redis_server: Redis, kill: bool) -> None:
    async with Client.from_url(redis_server.url) as client:
        await client.set(f"kept-{kill}", "yes")
        await redis_server.async_restart(kill=kill)
    async with Client.from_url(redis_server.url) as client:
        assert await client.get(f"kept-{kill}") == b"yes"


async def test_redis_takes_a_login_and_refuses_a_wrong_one(redis_server: Redis) -> None:
    async with Client.from_url(redis_server.login_url) as client:
        assert await client.ping()
    async with Client.from_url(redis_server.login_url.replace("brook", "puddle")) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_redis_can_insist_on_a_login(servers: Site) -> None:
    server = servers.get(Redis, required=True)
    async with Client.from_url(server.url) as client:
        assert await client.ping()
    async with Client.from_url(server.open_url) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_redis_speaks_tls_to_who_trusts_its_authority(redis_server: Redis) -> None:
    certificates = redis_server.certificates
    async with Client.from_url(redis_server.tls_url, ssl_ca_certs=str(certificates.authority)) as client:
        assert await client.ping()
    async with Client.from_url(redis_server.tls_url, ssl_ca_certs=str(certificates.stranger)) as client:
        with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.ping()


async def test_a_cluster_spreads_keys_over_its_nodes(servers: Site) -> None:
    cluster = servers.get(RedisCluster)
    async with ClusterClient.from_url(cluster.url) as client:
        for number in range(30):
            await client.set(f"key-{number}", number)
        assert len(client.get_primaries()) == 3
    for node in cluster.nodes:
        async with Client.from_url(node.url) as client:
            assert await client.dbsize() > 0


async def test_a_sentinel_replaces_a_primary_that_died(servers: Site) -> None:
    watched = servers.get(RedisSentinel)
    before = watched.primary
    sentinel = SentinelClient([(watched.sentinel.host, watched.sentinel_port)])
    assert (await sentinel.discover_master(watched.service))[1] == before.port
    before.kill()
    while watched.primary is before:
        pass
    assert watched.primary.answers()
    for client in sentinel.sentinels:
        await client.aclose()
