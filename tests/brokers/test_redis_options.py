"""URLs and options of Redis: what is understood, and errors that help without telling a password."""

from pathlib import Path

import pytest

from actors import TopologyError
from engine import broker
from engine.redis.broker import Redis
from engine.redis.options import SCHEMES


@pytest.mark.parametrize(
    ("url", "kind", "tls", "where", "database"),
    [
        ("redis://", "single", False, "localhost:6379", 0),
        ("redis://host", "single", False, "host:6379", 0),
        ("redis://host:7000/3", "single", False, "host:7000/3", 3),
        ("redis://u:p@[::1]:7000", "single", False, "[::1]:7000", 0),
        ("rediss://host", "single", True, "host:6379", 0),
        ("unix:///var/run/redis.sock", "single", False, "/var/run/redis.sock", 0),
        ("redis+sentinel://a,b:7/main", "sentinel", False, "a:26379,b:7/main", 0),
        ("rediss+sentinel://a/main/2", "sentinel", True, "a:26379/main/2", 2),
        ("redis-cluster://a:1,b", "cluster", False, "a:1,b:6379", 0),
        ("redis://a?cluster=true", "cluster", False, "a:6379", 0),
        ("rediss-cluster://a", "cluster", True, "a:6379", 0),
    ],
)
def test_a_url_says_where_it_is(url: str, kind: str, tls: bool, where: str, database: int) -> None:
    target = Redis(url).target
    assert (target.kind, target.tls, target.where, target.options.database) == (kind, tls, where, database)


def test_user_and_password_are_decoded_and_never_shown() -> None:
    redis = Redis("redis://we%40us:s3cret%2F%3A@host/0")
    options = redis.target.options
    assert options.password is not None
    assert (options.user, options.password.get_secret_value()) == ("we@us", "s3cret/:")
    shown = [repr(redis), repr(redis.stream("a")), repr(options), str(redis.target), repr(redis.stream("a").options)]
    assert not any("s3cret" in text for text in shown)


def test_keywords_go_before_the_query_and_that_before_nothing() -> None:
    redis = Redis("redis://host/1?min_idle=5&timeout=7", timeout=9, consumer="worker")
    options = redis.target.options
    assert (options.min_idle, options.timeout, options.consumer, options.database) == (5, 9, "worker", 1)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "unix"])
def test_a_broker_is_made_of_a_url(scheme: str) -> None:
    made = broker(f"{scheme}://user:s3cret@host/1")
    assert isinstance(made, Redis)
    assert made.system == "redis"


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("redis://host", {"min_idel": 5}, "did you mean min_idle="),
        ("redis://host", {"socket_timeout": 5}, "known are: user, password, database"),
        ("redis://host?pool=5", {}, "no option pool="),
        ("redis://host", {"min_idle": "soon"}, "min_idle=...): Input should be a valid number"),
        ("redis://host", {"client": {"protocol": 3}}, "'protocol': ...}) is set by Headrace"),
        ("redis+sentinel://host/main", {"cluster": True}, "no sentinels"),
        ("redis+sentinel://host", {}, "cannot be read"),
        ("redis://user:s3cret@host:port", {}, "cannot be read"),
        ("redis://host/zero", {}, "cannot be read"),
        ("http://user:s3cret@host", {}, "cannot be read"),
        ("redis://user:s3/cret@host", {}, "in a password / is %2F"),
        ("redis://host", {"password": 7}, "password"),
    ],
)
def test_an_error_tells_what_is_known_and_nothing_secret(url: str, options: dict[str, object], told: str) -> None:
    with pytest.raises(TopologyError) as wrong:
        Redis(url, **options)
    assert told in str(wrong.value)
    assert "s3cret" not in str(wrong.value)


def test_endpoints_are_values() -> None:
    redis = Redis()
    assert redis.stream("a") == redis.stream("a")
    assert redis.stream("a") != redis.stream("a", maxlen=5)
    assert redis.stream("a") != Redis().stream("a")
    assert len({redis.list("a"), redis.stream("a"), redis.channel("a"), redis.list("a")}) == 3
    assert repr(redis.stream("a", group="g", maxlen=5)) == "Redis('localhost:6379').stream('a', group='g', maxlen=5)"
    assert redis.list("a", push="left").options == {"push": "left"}


def test_streams_that_are_trimmed_alike_share_a_sink() -> None:
    redis = Redis()
    assert redis.stream("a").sink_kind == redis.stream("b", group="g").sink_kind
    assert redis.stream("a").sink_kind != redis.stream("a", maxlen=5).sink_kind
    assert redis.list("a").sink_kind != redis.list("a", plain=True).sink_kind
    assert redis.channel("a").sink_kind != redis.stream("a").sink_kind


@pytest.mark.parametrize(
    "declare",
    [
        lambda redis: redis.stream(""),
        lambda redis: redis.stream("a", start="now"),
        lambda redis: redis.stream("a", maxlen=0),
        lambda redis: redis.list("a", push="up"),
        lambda redis: redis.channel(None),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(declare: object) -> None:
    with pytest.raises(TopologyError):
        declare(Redis())  # type: ignore[operator]


def test_files_of_tls_may_be_missing_where_only_a_drawing_is_made(tmp_path: Path) -> None:
    assert Redis("rediss://host", cafile=tmp_path / "none.pem").target.tls
