"""What the Redis back-end does beyond the contract, on real servers."""

from __future__ import annotations

import inspect
import pickle
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from fs_core.errors import ConfigurationError, OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore, said_as_ours
from fs_core.online.redis.links import link_class
from fs_core.online.redis.places import parse
from fs_core.online.redis.replies import Replies
from fs_core.testing.online_suite import new_view, packed
from tests.servers import available_servers, free_port, running_server

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A client of our own to an empty server, which sees what the store really keeps."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def online(redis_url: str, server: redis.Redis) -> Iterator[RedisOnlineStore]:
    """A store on that server."""
    made = RedisOnlineStore(redis_url, project="p")
    yield made
    made.close()


def rows(*numbers: int, collect_at: int | None = None) -> list[OnlineWrite]:
    """Return one write for each number, of an entity of its own."""
    return [OnlineWrite(b"e%d" % number, packed((number, 0, 0)), collect_at) for number in numbers]


@pytest.mark.parametrize("key", [b"", b"}", b"{", b"{}", b"}}", b"\x00", b"k", b"a}b"])
def test_views_of_an_entity_share_a_slot(online: RedisOnlineStore, server: redis.Redis, key: bytes) -> None:
    """The rows of one entity live in one slot of a cluster, by a hash tag that is never empty."""
    for view in ("a-1", "b-2", "c-3"):
        online.write(view, [OnlineWrite(key, packed((1, 1, 1)))])
    names: list[bytes] = server.keys()  # type: ignore[assignment]
    assert len(names) == 3
    assert len({key_slot(name) for name in names}) == 1
    for name in names:
        tag = name[name.index(b"{") + 1 :]
        assert tag.index(b"}") > 0


def test_entities_spread_over_slots(online: RedisOnlineStore, server: redis.Redis) -> None:
    """Different entities live in different slots: a cluster shares the load."""
    online.write("v-1", rows(*range(50)))
    names: list[bytes] = server.keys()  # type: ignore[assignment]
    assert len({key_slot(name) for name in names}) > 45


def test_projects_share_a_server(redis_url: str, server: redis.Redis) -> None:
    """Two projects on one database don't see each other's rows, watermarks or drops."""
    first, second = (RedisOnlineStore(redis_url, project=name) for name in ("p", "p.2"))
    for number, store in enumerate((first, second)):
        store.write("v-1", [OnlineWrite(b"e", packed((number, 0, 0)))])
        store.swap_watermark("v-1", store.watermark("v-1"), str(number))
    assert first.read([("v-1", [b"e"])]) == [[packed((0, 0, 0))]]
    assert first.drop("v-1") == 1
    assert second.read([("v-1", [b"e"])]) == [[packed((1, 0, 0))]]
    assert second.watermark("v-1") == "1"
    first.close()
    second.close()


@pytest.mark.parametrize("project", ["", "*", "a{b", "a}b", "a:watermark:b", "p?", "[p]", "x" * 65, "ä"])
def test_projects_that_would_touch_others(project: str) -> None:
    """A project whose name could match another's keys, or end the hash tag, is refused."""
    with pytest.raises(ConfigurationError, match="project"):
        RedisOnlineStore(NOBODY, project=project)


def test_a_read_is_one_round_trip(online: RedisOnlineStore, server: redis.Redis) -> None:
    """However many views and keys are asked for, the server gets one command."""
    online.write("v-1", rows(*range(1000)))
    online.read([("v-1", [b"e1"])])
    server.config_resetstat()
    online.read([(view, [b"e%d" % i for i in range(1000)]) for view in ("v-1", "v-2", "v-3")])
    calls = {name: stats["calls"] for name, stats in server.info("commandstats").items() if "mget" in name}
    assert calls == {"cmdstat_mget": 1}
    assert "cmdstat_get" not in server.info("commandstats")


def test_a_row_is_kept_in_little(online: RedisOnlineStore, server: redis.Redis) -> None:
    """A write leaves one key for each row, and nothing beside them."""
    online.write("v-1", rows(*range(7)))
    online.write("v-1", rows(*range(7)))
    assert server.dbsize() == 7


def test_collection_is_the_server_s(online: RedisOnlineStore, server: redis.Redis) -> None:
    """The moment of collection is the key's expiry; a newer row without one clears it."""
    moment = time.time_ns() // 10**6 + 3_600_000
    online.write("v-1", rows(1, collect_at=moment))
    name = server.keys()[0]  # type: ignore[index]
    assert 3_590_000 < server.pttl(name) <= 3_600_000  # type: ignore[operator]
    online.write("v-1", [OnlineWrite(b"e1", packed((2, 0, 0)))])
    assert server.pttl(name) == -1
    online.write("v-1", [OnlineWrite(b"e1", packed((1, 0, 0)), moment)])
    assert server.pttl(name) == -1


def test_a_flush_takes_rows_and_watermarks(online: RedisOnlineStore, server: redis.Redis) -> None:
    """An emptied database has forgotten how far it was filled."""
    online.write("v-1", rows(1))
    online.swap_watermark("v-1", None, "here")
    server.flushdb()
    assert online.watermark("v-1") is None
    assert online.read([("v-1", [b"e1"])]) == [[None]]


def test_a_forgotten_script(online: RedisOnlineStore, server: redis.Redis) -> None:
    """A server that has lost the script gets it again; the caller sees nothing of it."""
    online.write("v-1", rows(1))
    server.script_flush()
    assert online.write("v-1", rows(2)) == 1


def test_a_push_as_the_process_ends(redis_url: str, fresh_directory: Callable[[], Path]) -> None:
    """Rows of several calls and batches, pushed in an `atexit` handler, when threads take no more work, are written."""
    program = f"""
        import atexit
        from datetime import UTC, datetime
        from fs_core import Entity, FeatureStore, FeatureView, Field
        user = Entity("user", keys={{"user": "int64"}}, description="A user.")
        store = FeatureStore({str(fresh_directory())!r}, online={redis_url!r})
        store.apply(FeatureView("facts", entity=user, fields=[Field("x", "int64", "X.")], description="Facts."))

        def push(count):
            rows = {{"user": range(count), "event_timestamp": [datetime.now(UTC)] * count, "x": range(count)}}
            store.push("facts", rows)

        def end():
            push(25_000)
            print(store.get_online_features("facts", {{"user": [0, 24_999]}}).table["x"].to_pylist())

        push(1)  # modules that start threads can't be imported any more at the end
        atexit.register(end)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[0, 24999]\n", "")


def test_rows_that_are_none(online: RedisOnlineStore, server: redis.Redis) -> None:
    """A stored value too short to have an order is replaced; a key of another kind is an error that says so."""
    online.write("v-1", rows(9))
    name = server.keys()[0]  # type: ignore[index]
    for rest in (b"", b"x" * 31):
        server.set(name, rest)
        assert online.write("v-1", rows(9)) == 1
    server.delete(name)
    server.rpush(name, b"a list")
    with pytest.raises(OnlineStoreError, match=r"WRONGTYPE|wrong kind"):
        online.write("v-1", rows(9))


def test_text_options_do_not_reach_rows(redis_url: str, server: redis.Redis) -> None:
    """A URL that asks for decoded responses still gives bytes."""
    store = RedisOnlineStore(f"{redis_url}?decode_responses=yes", project="p")
    store.write("v-1", rows(1))
    assert store.read([("v-1", [b"e1"])]) == [[packed((1, 0, 0))]]
    store.close()


def test_closing_ends_connections(redis_url: str, server: redis.Redis) -> None:
    """A closed store holds no connection on the server."""
    store = RedisOnlineStore(redis_url, project="p")
    store.read([("v-1", [b"e"])])
    before = len(server.client_list())
    store.close()
    until(lambda: len(server.client_list()) == before - 1)


@pytest.mark.parametrize("name", available_servers())
def test_a_server_that_comes_back(name: str) -> None:
    """After a restart the same store works again, on new connections."""
    with running_server(name) as url:
        store = RedisOnlineStore(url, project="p")
        store.write("v-1", rows(1))
        with redis.Redis.from_url(url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert store.read([("v-1", [b"e1"])]) == [[packed((1, 0, 0))]]
        assert store.write("v-1", rows(2)) == 1
    with pytest.raises(OnlineUnavailableError):
        store.read([("v-1", [b"e1"])])
    store.close()


def calls(store: RedisOnlineStore) -> dict[str, Callable[[], Any]]:
    """Return every method that talks to the server, ready to call."""
    return {
        "read": lambda: store.read([("v-1", [b"e"])]),
        "write": lambda: store.write("v-1", rows(1)),
        "watermark": lambda: store.watermark("v-1"),
        "swap_watermark": lambda: store.swap_watermark("v-1", None, "x"),
        "drop": lambda: store.drop("v-1"),
    }


@pytest.mark.parametrize("method", ["read", "write", "watermark", "swap_watermark", "drop"])
def test_a_dead_server(method: str) -> None:
    """Where nobody listens, every call says so within a fraction of a second, naming the server and the way out."""
    store = RedisOnlineStore(f"redis://user:hunter2@127.0.0.1:{free_port()}/0", project="p")
    start = time.monotonic()
    with pytest.raises(OnlineUnavailableError, match=r"127\.0\.0\.1.*doesn't answer.*fallback='offline'") as caught:
        calls(store)[method]()
    assert time.monotonic() - start < 0.5
    assert "hunter2" not in str(caught.value)


def test_a_silent_server() -> None:
    """A server that accepts and never answers costs two timeouts, not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisOnlineStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", project="p", timeout=0.2)
        start = time.monotonic()
        with pytest.raises(OnlineUnavailableError, match="doesn't answer"):
            store.read([("v-1", [b"e"])])
        assert 0.2 <= time.monotonic() - start < 1.5
        store.close()


def test_replies_of_several_servers_share_the_time() -> None:
    """What one server's reply took is not left for the next one's."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kind = link_class(redis.Connection)
        link = kind(host="127.0.0.1", port=silent.getsockname()[1], protocol=2, driver_info=None)
        ends = time.monotonic() + 0.6
        link.open(ends)
        link.send(b"*1\r\n$4\r\nPING\r\n", ends)
        time.sleep(0.6)
        start = time.monotonic()
        with pytest.raises(redis.TimeoutError, match="no reply in time"):
            link.receive(Replies(1, array=False))
        assert time.monotonic() - start < 0.4


@pytest.mark.parametrize("name", available_servers())
def test_wrong_passwords(name: str) -> None:
    """No password and a wrong one are refused with what to do, and neither is shown."""
    with running_server(name, "--requirepass", "right") as url:
        for credentials in ("", ":hunter2@", "nobody:hunter2@"):
            store = RedisOnlineStore(url.replace("//", f"//{credentials}"), project="p")
            with pytest.raises(OnlineUnavailableError, match="refuses the credentials") as caught:
                store.read([("v-1", [b"e"])])
            assert "hunter2" not in f"{caught.value} {store!r}"
            store.close()


@pytest.mark.parametrize("name", available_servers())
def test_a_full_server(name: str) -> None:
    """A server out of memory says what to do; what it holds can still be read."""
    with running_server(name) as url, redis.Redis.from_url(url) as client:
        store = RedisOnlineStore(url, project="p")
        store.write("v-1", rows(1))
        client.config_set("maxmemory", 1000)
        for call in (lambda: store.write("v-1", rows(2)), lambda: store.swap_watermark("v-1", None, "x")):
            with pytest.raises(OnlineStoreError, match=r"out of memory.*maxmemory") as caught:
                call()
            assert not isinstance(caught.value, OnlineUnavailableError)
        assert store.read([("v-1", [b"e1", b"e2"])]) == [[packed((1, 0, 0)), None]]
        store.close()


def driver_errors() -> list[type[Exception]]:
    """Return every exception class that the driver defines."""
    found = inspect.getmembers(redis.exceptions, inspect.isclass)
    return [cls for _, cls in found if issubclass(cls, Exception) and cls.__module__ == redis.exceptions.__name__]


@pytest.mark.parametrize("kind", driver_errors())
def test_every_driver_error_is_ours(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the driver raises, a caller sees an error of the online store, with the store's name."""
    store = RedisOnlineStore("redis://:hunter2@somewhere:6379", project="p")
    # Some want a reply such as "MOVED 3999 127.0.0.1:6381" to take apart.
    error = kind("3999 127.0.0.1:6381")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(redis.Connection, "connect", fail)
    with pytest.raises(OnlineStoreError, match="somewhere") as caught:
        store.read([("v-1", [b"e"])])
    assert caught.value.__cause__ is error
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["ConnectionError", "TimeoutError", "BusyLoadingError", "MaxConnectionsError", "AuthenticationError"]
)
def test_what_may_pass_is_unavailability(name: str) -> None:
    """Errors that waiting or another server might cure are `OnlineUnavailableError`: a fallback may step in."""
    assert type(said_as_ours(getattr(redis.exceptions, name)("why"), "s")) is OnlineUnavailableError
    assert type(said_as_ours(redis.exceptions.ResponseError("why"), "s")) is OnlineStoreError


@pytest.mark.parametrize(
    "url", ["redis://host:port", "redis://host:99999", "redis://host?colour=blue", "redis://h?db=x"]
)
def test_urls_that_make_no_sense(url: str) -> None:
    """A URL that the driver can't use is a mistake of configuration, named before anything is sent."""
    with pytest.raises(ConfigurationError, match="not understood"):
        RedisOnlineStore(url, project="p").read([("v-1", [b"e"])])


def test_an_option_that_nobody_knows() -> None:
    """The option is named; not where a password might have been taken for one."""
    with pytest.raises(ConfigurationError, match="nobody knows the option 'colour'"):
        RedisOnlineStore("redis://host?colour=blue", project="p").read([("v-1", [b"e"])])
    with pytest.raises(ConfigurationError) as caught:
        RedisOnlineStore("redis://:pass?colour=word@host", project="p").read([("v-1", [b"e"])])
    assert "colour" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "way_out"),
    [
        (lambda url: url.replace("//", "//:secret@"), "Leave them out of its URL"),
        (lambda url: url.replace("redis:", "redis+cluster:").removesuffix("/0"), "is no cluster"),
        (lambda url: url + "?sentinel=mymaster", "is no Sentinel"),
    ],
    ids=["password", "cluster", "sentinel"],
)
def test_a_server_of_another_kind(change: Callable[[str], str], way_out: str, redis_url: str) -> None:
    """A URL that says more of a server than is so is told what to leave out."""
    store = RedisOnlineStore(change(redis_url), project="p")
    with pytest.raises(OnlineStoreError, match=way_out) as caught:
        store.read([("v-1", [b"e"])])
    assert "secret" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("sign", ["#", "/", "?", "@/", "?a=b@#"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://user:sEcr{}et1@localhost:6379/0",
        "redis://user:6379{}sEcret1@localhost:6379/0",
        "rediss://:sEcr{}et1@localhost",
        "redis+cluster://user:sEcr{}et1@h1,h2",
        "redis://user:sEcr{}et1@h1:26379,h2:26379/0?sentinel=m",
        "unix://user:sEcr{}et1@/run/redis.sock",
    ],
)
def test_a_password_that_parts_a_url(url: str, sign: str) -> None:
    """Signs that end a host must be escaped in a password: the error says how, and shows no piece of it."""
    if sign == "@/" and url.startswith("unix"):
        url = url.replace("unix", "redis")  # a socket's path may hold an `@`
    with pytest.raises(ConfigurationError, match="%23") as caught:
        RedisOnlineStore(url.format(sign), project="p").read([("v-1", [b"e"])])
    assert "sEcr" not in str(caught.value)
    assert "et1" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_signs_that_belong_where_they_are() -> None:
    """An escaped password, an `@` in it, in an option or in a socket's path part nothing."""
    assert parse("redis://user:a%23b%2Fc%3Fd@h").options["password"] == "a#b/c?d"
    assert parse("redis://user:a@b@h").seeds == (("h", 6379),)
    assert parse("redis://h:1/2?client_name=a@b").options["client_name"] == "a@b"
    assert parse("unix:///run/a@b.sock").seeds == (("/run/a@b.sock", 0),)
    assert parse("unix://user:secret@/run/a@b.sock").options["password"] == "secret"


@pytest.mark.parametrize("scheme", ["valkey", "VALKEY", "redis"])
def test_valkey_urls(redis_url: str, scheme: str) -> None:
    """`valkey://` is spoken to as Redis is."""
    store = RedisOnlineStore(redis_url.replace("redis", scheme, 1), project="p")
    assert store.read([(new_view(), [b"e"])]) == [[None]]
    store.close()


def test_settings_survive_pickling() -> None:
    """A copy made by pickling has the same server, project and limits, and no connection."""
    store = RedisOnlineStore(NOBODY, project="p", timeout=0.25, connections=3)
    copy = pickle.loads(pickle.dumps(store))
    assert vars(copy) == vars(store)


def test_without_the_driver() -> None:
    """Where redis isn't installed, the first call says how to install it; importing is no error."""
    program = """
import sys
sys.modules["redis"] = None
from fs_core.errors import ConfigurationError
from fs_core.online.redis import RedisOnlineStore
store = RedisOnlineStore("redis://localhost", project="p")
for call in (lambda: store.read([("v", [b"e"])]), lambda: store.write("v", []), lambda: store.watermark("v")):
    try:
        call()
    except ConfigurationError as error:
        assert "pip install 'fs-core[redis]'" in str(error)
    else:
        sys.exit("no error")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_loads_no_driver() -> None:
    """The driver is loaded with the first call, not with the module."""
    program = "import sys, fs_core, fs_core.online.redis, fs_core.online.open; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until a condition holds; fail if it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.01)
