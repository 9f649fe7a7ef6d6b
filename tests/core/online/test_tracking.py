"""Rows kept in a process that a server tells of changes: what changes is dropped, what doesn't is not fetched again."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.contract import LeasingReader, OnlineWrite, Recent, timeline_name
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.sqlite import SQLiteOnlineStore
from tests.core.online.tracked import VIEW, Cached, listening, put, reads_of, row, until
from tests.servers import available_servers, running_server

pytestmark = pytest.mark.faults

KEYS = [b"a", b"b", b"c"]
FACTS = FeatureView(
    "facts",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field("x", "int64", "X.")],
    description="Facts.",
)


@pytest.fixture(scope="module", params=available_servers())
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of each kind of server in turn."""
    with running_server(request.param) as made:
        yield made


@pytest.fixture
def server(url: str) -> Iterator[redis.Redis]:
    """A client of our own to an empty server."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


@pytest.fixture
def reader(url: str, server: redis.Redis) -> Iterator[Cached]:
    """A reader that keeps what it reads."""
    made = Cached(url)
    yield made
    made.close()


def test_who_tells_of_changes(tmp_path: Path) -> None:
    """The contract's optional part is met by Redis's back-end, not by the embedded one, which needs no cache."""
    assert isinstance(RedisOnlineStore("redis://127.0.0.1:1/0", project="p"), LeasingReader)
    assert not isinstance(SQLiteOnlineStore(tmp_path / "online.db", project="p"), LeasingReader)


def test_a_change(url: str, reader: Cached) -> None:
    """A row that somebody else writes is served soon, though older ones might be; so is one where there was none."""
    put(url, 1, b"a", b"b")
    assert reader.keep(*KEYS) == [row(1), row(1), None]
    put(url, 2, b"b", b"c")
    reader.sees([row(1), row(2), row(2)], *KEYS)


def test_an_older_row(url: str, reader: Cached) -> None:
    """A write that loses to the row that is there changes nothing."""
    put(url, 2, b"a")
    assert reader.keep(b"a") == [row(2)]
    put(url, 1, b"a")
    reader.sees([row(2)], b"a")


@pytest.mark.parametrize("how", ["delete", "drop", "flushall", "flushdb"])
def test_a_deletion(url: str, server: redis.Redis, reader: Cached, how: str) -> None:
    """A row that somebody else deletes, alone, with its view or with everything, is served no more."""
    put(url, 1, *KEYS)
    assert reader.keep(*KEYS) == [row(1)] * 3
    other = RedisOnlineStore(url, project="p")
    {
        "delete": lambda: other.delete(VIEW, KEYS),
        "drop": lambda: other.drop(VIEW),
        "flushall": server.flushall,
        "flushdb": server.flushdb,
    }[how]()
    other.close()
    reader.sees([None] * 3, *KEYS)
    put(url, 1, *KEYS)
    reader.sees([row(1)] * 3, *KEYS)
    assert reader.keep(*KEYS) == [row(1)] * 3


def test_a_collection(url: str, reader: Cached) -> None:
    """A row that the server collects is served no more."""
    other = RedisOnlineStore(url, project="p")
    other.write(VIEW, [OnlineWrite(b"a", row(1), time.time_ns() // 10**6 + 1500)])
    assert reader.keep(b"a") == [row(1)]
    reader.sees([None], b"a")
    other.close()


def test_a_timeline(url: str, reader: Cached) -> None:
    """Recent rows of an entity, kept beside the latest, are told of as well."""
    other, name = RedisOnlineStore(url, project="p"), timeline_name(VIEW)
    for number in (1, 2):
        other.write(VIEW, [OnlineWrite(b"a", row(number))], recent=Recent(0, 3_600_000_000, complete=True))
        until(lambda: reader.read(b"a", view=name) == other.read([(name, [b"a"])])[0], "an old timeline")
        reader.keep(b"a", view=name)
    other.close()


def test_nothing_is_fetched_twice(url: str, server: redis.Redis, reader: Cached) -> None:
    """While nothing changes, rows and that there is none are read once; a change of one fetches that one."""
    put(url, 1, b"a", b"b")
    reader.keep(*KEYS)
    done = reads_of(server)
    for _ in range(100):
        assert reader.read(*KEYS) == [row(1), row(1), None]
    assert reads_of(server) == done
    put(url, 2, b"b")
    reader.sees([row(1), row(2), None], *KEYS)
    assert not reader.cache.ask([(VIEW, [b"a", b"c"])], 3600).rest[0][1]


def test_other_names(url: str, server: redis.Redis, reader: Cached) -> None:
    """What else changes on the server, and what other views and projects have under the same key, drops nothing."""
    put(url, 1, b"a")
    reader.keep(b"a")
    held = reader.cache._held[VIEW, b"a"]
    put(url, 2, b"a", view="v-2")
    other = RedisOnlineStore(url, project="p.2")
    other.write(VIEW, [OnlineWrite(b"a", row(2))])
    other.close()
    server.set("a", 1)
    put(url, 2, b"b")
    reader.sees([row(2)], b"b")
    assert reader.cache._held[VIEW, b"a"] is held


def test_plain_reads_cost_the_server_nothing(url: str, server: redis.Redis, reader: Cached) -> None:
    """A server remembers names only of reads whose rows are kept, and nobody listens where none are."""
    before = len(listening())
    reader.store.read([(VIEW, KEYS)])
    assert server.info("stats")["tracking_total_keys"] == 0
    assert len(listening()) == before
    reader.keep(*KEYS)
    assert server.info("stats")["tracking_total_keys"] == len(KEYS)


def test_rows_of_a_read_that_a_change_overtakes(url: str, reader: Cached) -> None:
    """A row that changed while it was on its way is served, since it was read, but not kept."""
    put(url, 1, *KEYS)
    reader.keep(b"c")

    def overtaken() -> bool:
        asked = reader.cache.ask([(VIEW, [b"a", b"b"])], 3600)
        rows, leases = reader.store.read_leased(asked.rest, reader.cache)
        if not all(type(lease).__name__ == "LinkLease" for lease in leases[0]):
            return False
        put(url, 2, b"b")
        until(lambda: asked.changes == {(VIEW, b"b")}, "no word of the change")
        return asked.whole(rows, leases) == [[row(1), row(1)]]

    until(overtaken, "never tracked")
    assert reader.read(b"a", b"b") == [row(1), row(2)]


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_a_connection_that_is_closed(url: str, server: redis.Redis, reader: Cached, kind: str) -> None:
    """Where the listening connection is lost, or one that rows were read through, no such row is served any more."""
    put(url, 1, *KEYS)
    for number in (2, 3):
        reader.keep(*KEYS)
        server.client_kill_filter(_type=kind)
        until(lambda: not reader.tells(*KEYS), "kept though nobody tells of changes")
        put(url, number, *KEYS)
        reader.sees([row(number)] * 3, *KEYS)
    assert reader.keep(*KEYS) == [row(3)] * 3


def test_a_lease_that_ends_twice(reader: Cached) -> None:
    """A lease whose end is told twice doesn't take with it another one, whose file has got its number meanwhile."""

    class Connected:
        """A connection as far as a listener needs it."""

        def __init__(self, end: socket.socket) -> None:
            self.lease, self.descriptor = None, end.fileno()

    reader.keep(b"a")
    (listener,) = reader.store._tracking._listeners.values()
    end, other = socket.socketpair()  # connected, or the listener finds it closed
    with end, other:
        first, second = Connected(end), Connected(end)
        listener._grant(first, time.monotonic())
        ended: Any = first.lease
        ended.end()
        listener._grant(second, time.monotonic())
        lease: Any = second.lease
        assert lease.descriptor == ended.descriptor
        ended.end()
        assert lease.live
        listener.stop()
        assert not lease.live


def test_own_writes(url: str, reader: Cached) -> None:
    """What a store writes or deletes itself it serves at once."""
    for number in range(1, 100):
        reader.store.write(VIEW, [OnlineWrite(b"a", row(number))])
        assert reader.read(b"a") == [row(number)]
    reader.keep(b"a")
    reader.store.delete(VIEW, [b"a"])
    assert reader.read(b"a") == [None]


def test_without_blocking(url: str, server: redis.Redis) -> None:
    """An event loop's reads are told of changes by the same listener, and of connections that end with their loop."""
    reader = Cached(url)

    async def watch(number: int) -> None:
        put(url, number, *KEYS)
        deadline = time.monotonic() + 20
        while await reader.read_async(*KEYS) != [row(number)] * 3 or not reader.tells(*KEYS):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)
        done = reads_of(server)
        assert await reader.read_async(*KEYS) == [row(number)] * 3
        assert reads_of(server) == done

    async def several(*numbers: int) -> None:
        for number in numbers:
            await watch(number)
        await reader.store.aclose()

    asyncio.run(several(1, 2))
    until(lambda: not reader.tells(*KEYS), "kept though the connection has ended")
    asyncio.run(several(3, 4))
    assert reader.keep(*KEYS) == [row(4)] * 3
    assert len(server.client_list(_type="pubsub")) == 1
    reader.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork(url: str, reader: Cached) -> None:
    """A forked child keeps rows of its own under a listener of its own, and leaves the parent's alone."""
    put(url, 1, *KEYS)
    reader.keep(*KEYS)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own = Cached(url)
            own.store = reader.store
            assert own.keep(*KEYS) == [row(1)] * 3
            put(url, 2, *KEYS)
            own.sees([row(2)] * 3, *KEYS)
            reader.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    reader.sees([row(2)] * 3, *KEYS)
    put(url, 3, *KEYS)
    reader.sees([row(3)] * 3, *KEYS)


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_the_end_of_a_store(url: str, how: str) -> None:
    """A store that is closed, or that nobody refers to, ends its thread; its rows count no more."""
    before = listening()
    reader = Cached(url)
    reader.keep(*KEYS)
    mine = [thread for thread in listening() if thread not in before]
    assert len(mine) == 1
    cache = reader.cache
    if how == "closed":
        reader.close()
    else:
        del reader.store
    until(lambda: not mine[0].is_alive(), "it listens still")
    assert cache.ask([(VIEW, KEYS)], 3600).rest == [(VIEW, KEYS)]
    if how == "closed":
        reader.keep(*KEYS)
        reader.close()


def test_the_end_of_a_process(url: str) -> None:
    """A process whose store listens, and is never closed, ends when it is done."""
    program = f"""
        from fs_core.online.redis import RedisOnlineStore
        from fs_core.serving import RowCache
        store, cache = RedisOnlineStore({url!r}, project="p"), RowCache()
        while (asked := cache.ask([("v", [b"a"])], 3600.0)).rest[0][1]:
            asked.whole(*store.read_leased(asked.rest, cache))
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_what_another_process_pushes(url: str, server: redis.Redis, fresh_directory: Callable[[], Path]) -> None:
    """A user's read with a long `max_age` sees what another process has pushed, both ways of reading."""
    directory = fresh_directory()
    program = f"""
        from datetime import UTC, datetime
        from fs_core import FeatureStore
        with FeatureStore({str(directory)!r}, online={url!r}) as store:
            store.push("facts", {{"user": [1], "event_timestamp": [datetime.now(UTC)], "x": [2]}})
    """
    with FeatureStore(directory, online=url) as store, FeatureStore(directory, online=url) as waiting:
        store.apply(FACTS)
        store.push("facts", {"user": [1], "event_timestamp": [datetime.now(UTC)], "x": [1]})

        def read() -> list[int | None]:
            found: list[int | None]
            found = store.get_online_features("facts", {"user": [1, 2]}, max_age="1h").table["x"].to_pylist()
            return found

        async def watch() -> None:
            seen = set()
            deadline = time.monotonic() + 30
            pushing = None
            while 2 not in seen:
                assert time.monotonic() < deadline
                found = await waiting.get_online_features_async("facts", {"user": [1]}, max_age="1h")
                seen.add(found.table["x"][0].as_py())
                if pushing is None and len(seen) == 1:
                    pushing = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(program))
                await asyncio.sleep(0.01)
            assert pushing is not None
            assert await pushing.wait() == 0
            await waiting.aclose()

        assert read() == [1, None]
        asyncio.run(watch())
        until(lambda: read() == [2, None], "the row is never served")

        def is_kept() -> bool:
            done = reads_of(server)
            return read() == [2, None] and reads_of(server) == done

        until(is_kept, "it is fetched again and again")


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns often, so that more of them meet, and none waits long for one that spins."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("eager_threads", "server")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_readers_agree_in_the_end(url: str, asynchronous: bool) -> None:
    """Whatever is written while readers keep what they read, each serves the last row once writers are done."""
    keys = [b"%d" % number for number in range(20)]
    reader, over = Cached(url), threading.Event()
    wrong: list[BaseException] = []

    def write(seed: int) -> None:
        random, store = Random(seed), RedisOnlineStore(url, project="p")
        for number in range(1, 300):
            store.write(VIEW, [OnlineWrite(key, row(number)) for key in random.sample(keys, 3)])
        store.write(VIEW, [OnlineWrite(key, row(1000)) for key in keys])
        store.close()

    def read(seed: int) -> None:
        random = Random(seed)
        while not over.is_set():
            reader.read(*random.sample(keys, 5))

    async def read_async() -> None:
        async def one(seed: int) -> None:
            random = Random(seed)
            while not over.is_set():
                await reader.read_async(*random.sample(keys, 5))
                await asyncio.sleep(0)

        await asyncio.gather(*map(one, range(8)))
        await reader.store.aclose()

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # it is shown by the test
            wrong.append(error)

    reading: list[Callable[[], object]] = [lambda: asyncio.run(read_async())]
    if not asynchronous:
        reading = [lambda seed=seed: read(seed) for seed in range(4)]  # type: ignore[misc]
    readers = [threading.Thread(target=guarded, args=(work,)) for work in reading]
    writers = [threading.Thread(target=guarded, args=(lambda seed=seed: write(seed),)) for seed in range(2)]  # type: ignore[misc]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    try:
        until(lambda: reader.read(*keys) == [row(1000)] * 20, "a reader keeps what was overwritten")
    finally:
        over.set()
        for thread in readers:
            thread.join()
    assert not wrong
    assert reader.read(*keys) == [row(1000)] * 20
    reader.close()
