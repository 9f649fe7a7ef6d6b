"""Rows kept in a process when a server, or a part of it, is lost, refuses, or is late: nothing stale, nothing slow."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from fs_core.errors import OnlineUnavailableError
from tests.core.online.tracked import VIEW, Cached, listening, put, row, until
from tests.servers import available_servers, free_port, running_server
from tests.topologies import cut_off, node

KEYS = [b"entity %d" % number for number in range(50)]


@pytest.mark.parametrize("name", available_servers())
def test_a_silent_server(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that gives no sign is taken to be lost, though the connection isn't closed; one that is idle isn't."""
    monkeypatch.setattr("fs_core.online.redis.listening._BEAT", 0.25)
    with node(name, tmp_path) as server:
        reader = Cached(server.url)
        put(server.url, 1, *KEYS)
        reader.keep(*KEYS)
        time.sleep(1)  # several beats: it is asked for signs, and gives them
        assert reader.tells(*KEYS)
        server.pause()
        until(lambda: not reader.tells(*KEYS), "kept though nobody tells of changes")
        server.resume()
        put(server.url, 2, *KEYS)
        assert reader.keep(*KEYS) == [row(2)] * len(KEYS)
        reader.close()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", available_servers())
def test_a_late_reply(name: str, tmp_path: Path, asynchronous: bool) -> None:
    """A reply that misses its deadline drops nothing: the connection is told of still, and read through again."""
    with node(name, tmp_path) as server:
        reader = Cached(server.url)
        put(server.url, 1, *KEYS)

        async def read(*keys: bytes) -> list[bytes | None]:
            return await reader.read_async(*keys) if asynchronous else reader.read(*keys)

        async def read_soon(*keys: bytes) -> None:
            asked = reader.cache.ask([(VIEW, keys)], 3600)
            if asynchronous:
                await reader.store.read_leased_async(asked.rest, reader.cache, within=0.05)
            else:
                reader.store.read_leased(asked.rest, reader.cache, within=0.05)

        async def keep(*keys: bytes) -> None:
            deadline = time.monotonic() + 20
            while not reader.tells(*keys):
                assert time.monotonic() < deadline
                await read(*keys)
                await asyncio.sleep(0.002)

        async def late() -> None:
            await keep(*KEYS[:40])
            held = reader.cache._held[VIEW, KEYS[0]]
            for number in range(40, 43):
                server.pause()
                with pytest.raises(OnlineUnavailableError):
                    await read_soon(KEYS[number])
                server.resume()
                await keep(KEYS[number])
            if asynchronous:
                server.pause()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):  # as if the caller went away
                        await read(KEYS[43])
                server.resume()
                await keep(KEYS[43])
            assert await read(*KEYS[:40]) == [row(1)] * 40
            assert reader.cache._held[VIEW, KEYS[0]] is held
            put(server.url, 2, *KEYS)
            deadline = time.monotonic() + 20
            while await read(*KEYS) != [row(2)] * len(KEYS):
                assert time.monotonic() < deadline
            await reader.store.aclose()

        asyncio.run(late())
        reader.close()


@pytest.mark.parametrize("name", available_servers())
def test_a_server_that_is_restarted(name: str, tmp_path: Path) -> None:
    """What a lost server had is served no more; the one that follows it is listened to."""
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(node(name, tmp_path / "first", port=port))
        reader = Cached(server.url)
        put(server.url, 1, *KEYS)
        reader.keep(*KEYS)
        server.kill()
        until(lambda: not reader.tells(*KEYS), "kept though nobody tells of changes")
        with pytest.raises(OnlineUnavailableError):
            reader.read(*KEYS)
        stack.enter_context(node(name, tmp_path / "second", port=port))
        assert reader.keep(*KEYS) == [None] * len(KEYS)
        put(server.url, 2, *KEYS)
        reader.sees([row(2)] * len(KEYS), *KEYS)
        reader.close()


@pytest.mark.parametrize("name", available_servers())
@pytest.mark.parametrize("lacks", ["client|id", "client|tracking", "subscribe", "ping", "channel"])
def test_a_user_who_may_not(name: str, lacks: str, caplog: pytest.LogCaptureFixture) -> None:
    """A user whom the server tells nothing keeps rows by their age; a warning, once, says which rights it takes."""
    rights = ["+get", "+mget", "+client|id", "+client|tracking", "+subscribe", "+ping"]
    channels = ["resetchannels"] if lacks == "channel" else ["resetchannels", "&__redis__:invalidate"]
    with running_server(name) as url, redis.Redis.from_url(url) as client:
        reader = Cached(url.replace("//", "//reader:s3same@"))
        rules = [*(right for right in rights if right != f"+{lacks}"), *channels]
        client.execute_command("ACL", "SETUSER", "reader", "on", ">s3same", f"~{reader.store.key_patterns[0]}", *rules)
        put(url, 1, b"a")
        with caplog.at_level(logging.WARNING, "fs_core"):
            until(lambda: reader.read(b"a") == [row(1)] and (VIEW, b"a") in reader.cache._held and _live(reader), "")
            tracking = reader.store._tracking
            tracking._pauses.clear()  # as if the pause were over: it is refused again
            reader.read(b"a", b"b")
            until(lambda: not tracking._listeners, "it is never refused")
        put(url, 2, b"a")
        assert reader.read(b"a") == [row(1)]
        asked = reader.cache.ask([(VIEW, [b"a"])], 0.0)
        assert asked.whole(*reader.store.read_leased(asked.rest, reader.cache)) == [[row(2)]]
        (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "+client|id +client|tracking +subscribe +ping on &__redis__:invalidate" in warning.getMessage()
        assert "s3same" not in warning.getMessage()
        client.execute_command("ACL", "SETUSER", "reader", f"+{lacks}" if lacks != "channel" else "allchannels")
        tracking._pauses.clear()
        assert reader.keep(b"a") == [row(2)]
        reader.close()


def _live(reader: Cached) -> bool:
    return reader.cache._held[VIEW, b"a"][2].live


def test_connecting_that_takes_long() -> None:
    """No read waits for a listener, or for a connection that it is told of: each ends as soon as the row is there."""
    with running_server("Valkey 9.1") as url, cut_off(int(url.split(":")[2].split("/")[0]), late=1.0) as port:
        reader = Cached(f"redis://127.0.0.1:{port}/0")
        put(url, 1, b"a")
        reader.store.read([(VIEW, [b"a"])], within=10)  # which connects
        slowest = 0.0
        deadline = time.monotonic() + 20
        while not reader.tells(b"a"):
            assert time.monotonic() < deadline
            start = time.monotonic()
            assert reader.read(b"a") == [row(1)]
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.01)
        assert slowest < 0.9
        put(url, 2, b"a")
        reader.sees([row(2)], b"a")
        reader.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_connection_that_is_silent(asynchronous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is fetched anew where its connection has been silent for long: it may have broken; one in use keeps it."""
    monkeypatch.setattr("fs_core.online.redis.listening._BEAT", 0.1)
    monkeypatch.setattr("fs_core.online.redis.listening._SILENT", 1.0)
    with running_server("Valkey 9.1") as url:
        reader = Cached(url)
        put(url, 1, b"a")

        async def read(*keys: bytes) -> list[bytes | None]:
            return await reader.read_async(*keys) if asynchronous else reader.read(*keys)

        async def watch() -> None:
            deadline = time.monotonic() + 20
            while not reader.tells(b"a"):
                assert time.monotonic() < deadline
                await read(b"a")
                await asyncio.sleep(0.002)
            held = reader.cache._held[VIEW, b"a"]
            for number in range(30):  # the one connection is read through again and again
                await read(b"%d" % number)
                await asyncio.sleep(0.1)
            assert reader.cache._held[VIEW, b"a"] is held
            assert reader.tells(b"a")
            while reader.tells(b"a"):
                assert time.monotonic() < deadline
                assert await read(b"a") == [row(1)]  # nothing is read through it
                await asyncio.sleep(0.002)
            await reader.store.aclose()

        asyncio.run(watch())
        reader.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_takes_no_more_connections(asynchronous: bool) -> None:
    """Reads go on, and only a few of them ask for a connection that is told of; once there is one it is used."""
    with running_server("Valkey 9.1", "--maxclients", "3") as url, redis.Redis.from_url(url) as client:
        reader = Cached(url)

        async def read() -> None:
            await reader.read_async(b"a") if asynchronous else reader.read(b"a")
            await asyncio.sleep(0.005)

        async def several() -> None:
            client.ping()  # so that there are three with the listener and the one to read through
            while not any(listener.is_up for listener in list(reader.store._tracking._listeners.values())):
                await read()
            before = client.info("stats")["rejected_connections"]
            for _ in range(150):
                await read()
            assert 1 <= client.info("stats")["rejected_connections"] - before <= 8
            client.config_set("maxclients", 100)
            deadline = time.monotonic() + 20
            while not reader.tells(b"a"):
                assert time.monotonic() < deadline
                await read()
            await reader.store.aclose()

        asyncio.run(several())
        reader.close()


def test_a_name_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name leads to another server, no row is kept that the one which is listened to doesn't tell of."""
    looked_up, here = socket.getaddrinfo, 0

    def moved(host: str, port: int, *rest: Any, **options: Any) -> Any:
        at = ("127.0.0.1", ports[here]) if host == "moved.test" else (host, port)
        return looked_up(*at, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", moved)
    with ExitStack() as stack:
        urls = [stack.enter_context(running_server("Valkey 9.1")) for _ in range(2)]
        ports = [int(url.split(":")[2].split("/")[0]) for url in urls]
        clients = [stack.enter_context(redis.Redis.from_url(url)) for url in urls]
        others = [redis.Redis.from_url(urls[1]) for _ in range(20)]  # one has the listener's number there
        for other in others:
            stack.callback(other.close)
            other.ping()
        for number, url in enumerate(urls, 1):
            put(url, number, b"a")
        reader = Cached(f"redis://moved.test:{ports[0]}/0")
        assert reader.keep(b"a") == [row(1)]
        here = 1
        clients[0].client_kill_filter(_type="normal", skipme=True)
        reader.sees([row(2)], b"a")
        reader.keep(b"a")
        put(urls[1], 3, b"a")
        until(lambda: reader.read(b"a") == [row(3)], "it is told of by nobody", seconds=5)
        reader.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_descriptors(asynchronous: bool) -> None:
    """Connections that come and go leave no open file behind."""
    with running_server("Valkey 9.1") as url:
        put(url, 1, b"a")

        async def once(reader: Cached) -> None:
            deadline = time.monotonic() + 20
            while not reader.tells(b"a"):
                assert time.monotonic() < deadline
                await reader.read_async(b"a")
                await asyncio.sleep(0.001)
            await reader.store.aclose()

        counts = []
        for _ in range(5):
            reader = Cached(url)
            asyncio.run(once(reader)) if asynchronous else reader.keep(b"a")
            reader.close()
            until(lambda: not listening(), "a listener goes on")
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
        assert counts[-1] <= counts[1]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("leased", [False, True])
def test_event_loops_that_close_nothing(leased: bool) -> None:
    """A loop that ends without `aclose` leaves no open file behind once another one reads."""
    with running_server("Valkey 9.1") as url:
        reader = Cached(url)
        put(url, 1, b"a")

        async def once() -> None:
            await reader.store.read_async([(VIEW, [b"a"])])
            deadline = time.monotonic() + 20
            while leased and not reader.tells(b"a"):
                assert time.monotonic() < deadline
                await reader.read_async(b"a")
                await asyncio.sleep(0.001)

        counts = []
        for _ in range(12):
            asyncio.run(once())
            reader.cache.drop(VIEW, [b"a"])
            gc.collect()
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
        assert counts[-1] <= counts[1]
        reader.close()
        gc.collect()  # what is collected warns that it wasn't closed
