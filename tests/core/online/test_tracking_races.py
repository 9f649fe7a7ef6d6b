"""Rows kept in a process while others change them: nobody goes on serving what was overwritten."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import redis

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.online.contract import OnlineWrite
from fs_core.online.redis import RedisOnlineStore
from tests.core.online.tracked import KEYS, VIEW, Cached, put, reads_of, row, until

FACTS = FeatureView(
    "facts",
    entity=Entity("user", keys={"user": "int64"}, description="A user."),
    fields=[Field("x", "int64", "X.")],
    description="Facts.",
)


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
