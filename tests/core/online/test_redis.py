"""What the Redis back-end does beyond the contract: names, round trips, what a server keeps; on real servers."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from fs_core.errors import OnlineStoreError, OnlineUnavailableError
from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore
from fs_core.testing.online_suite import new_view, packed
from tests.core.online.waiting import until
from tests.core.online.writes import rows
from tests.servers import free_port


@pytest.fixture
def url(redis_url: str) -> str:
    """The URL of each server that pip brings."""
    return redis_url


@pytest.fixture
def online(redis_url: str, server: redis.Redis) -> Iterator[RedisOnlineStore]:
    """A store on that server."""
    made = RedisOnlineStore(redis_url, project="p")
    yield made
    made.close()


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


def test_where_no_thread_can_start(redis_url: str, server: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read connects by itself then; no connection is lost to later ones."""
    assert server.dbsize() == 0

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    online = RedisOnlineStore(redis_url, project="p", connections=2)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    for _ in range(3):
        assert online.read([("v-1", [b"k"])], within=0.9) == [[None]]
        online.close()
    nobody = RedisOnlineStore(f"redis://127.0.0.1:{free_port()}", project="p", connections=2)
    for _ in range(3):
        with pytest.raises(OnlineUnavailableError, match="refused"):
            nobody.read([("v-1", [b"k"])], within=0.9)


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
    until(lambda: len(server.client_list()) == before - 1, "a connection stays open", seconds=5)


@pytest.mark.parametrize("scheme", ["valkey", "VALKEY", "redis"])
def test_valkey_urls(redis_url: str, scheme: str) -> None:
    """`valkey://` is spoken to as Redis is."""
    store = RedisOnlineStore(redis_url.replace("redis", scheme, 1), project="p")
    assert store.read([(new_view(), [b"e"])]) == [[None]]
    store.close()


def test_settings_survive_pickling() -> None:
    """A copy made by pickling has the same server, project and limits, and no connection."""
    store = RedisOnlineStore("redis://127.0.0.1:1/0", project="p", timeout=0.25, connections=3)
    copy = pickle.loads(pickle.dumps(store))
    assert copy._settings == store._settings
    assert copy.key_patterns == store.key_patterns
    assert (copy._clients.made(), copy._readers.made()) == (None, None)


def test_importing_loads_no_driver() -> None:
    """The driver is loaded with the first call, not with the module."""
    program = "import sys, fs_core, fs_core.online.redis, fs_core.online.open; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
