"""Servers that cut connections off: how the driver reports it, and what is said then of TLS."""

from __future__ import annotations

import asyncio
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import redis
import redis.asyncio.connection as asynchronous

from fs_core.errors import OnlineUnavailableError
from fs_core.online.redis import RedisOnlineStore, said_as_ours
from fs_core.online.redis.links import link_class
from fs_core.online.redis.replies import Replies
from tests.servers import free_port

WANTED = [("v-1", [b"e"])]
HINT = r"may be a port with TLS.* write {}s instead of {} in its URL"
WAYS: dict[str, Callable[[RedisOnlineStore], Any]] = {
    "read": lambda store: store.read(WANTED),
    "read_async": lambda store: asyncio.run(store.read_async(WANTED)),
    "watermark": lambda store: store.watermark("v-1"),
}


def end(connection: socket.socket, how: str) -> None:
    """Close a connection in order, or reset it."""
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def cutting(how: str, *, after_bytes: bool = False) -> Iterator[int]:
    """Listen for as long as the context lasts, and end each connection, perhaps after its first bytes; yield a port."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                if after_bytes:
                    connection.recv(65_536)
            except OSError:
                pass
            end(connection, how)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread
            server.join()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after_bytes", [False, True], ids=["at once", "after bytes"])
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_port_that_cuts_off(how: str, after_bytes: bool, way: str) -> None:
    """However and whenever a port cuts connections off, whoever reads or writes is asked about TLS."""
    with cutting(how, after_bytes=after_bytes) as port:
        store = RedisOnlineStore(f"redis://127.0.0.1:{port}/1", project="p", timeout=5.0)
        with pytest.raises(OnlineUnavailableError, match=HINT.format("redis", "redis")):
            WAYS[way](store)
        store.close()


@pytest.mark.parametrize(
    ("url", "scheme", "ways"),
    [
        ("redis://127.0.0.1:{}", "redis", ["read", "read_async", "watermark"]),
        ("Redis://127.0.0.1:{}", "redis", ["read", "read_async", "watermark"]),
        ("redis+cluster://127.0.0.1:{}", "redis", ["read", "read_async", "watermark"]),
        # Where no Sentinel answers, the driver's own client doesn't say why.
        ("redis://127.0.0.1:{}/0?sentinel=m", "redis", ["read", "read_async"]),
        ("valkey://127.0.0.1:{}", "valkey", ["read", "read_async", "watermark"]),
        ("valkey+cluster://127.0.0.1:{}", "valkey", ["read", "read_async", "watermark"]),
    ],
)
def test_what_to_write_for_tls(url: str, scheme: str, ways: list[str]) -> None:
    """The way out is right for every scheme, of clusters and Sentinels too."""
    with cutting("reset") as port:
        store = RedisOnlineStore(url.format(port), project="p", timeout=5.0)
        for way in ways:
            with pytest.raises(OnlineUnavailableError, match=HINT.format(scheme, scheme)):
                WAYS[way](store)
        store.close()


@pytest.mark.parametrize(
    ("store", "change"),
    [
        ("rediss://h", "write redis instead of rediss "),
        ("rediss+cluster://h1,h2", "write redis instead of rediss "),
        ("rediss://h1,h2/0?sentinel=m", "write redis instead of rediss "),
        ("valkeys://h", "write valkey instead of valkeys "),
        ("valkeys+cluster://h", "write valkey instead of valkeys "),
    ],
)
def test_what_to_write_for_none(store: str, change: str) -> None:
    """A port that is silent to TLS is told which URL to write; one that cuts it off has nothing to do with that."""
    silent = str(said_as_ours(redis.TimeoutError("Timeout connecting to server"), store))
    assert "may be a port without TLS" in silent
    assert change in silent
    assert "TLS" not in str(said_as_ours(ConnectionResetError(104, "Connection reset by peer"), store))


@pytest.mark.parametrize(
    ("how", "step", "says"),
    [
        ("closed", "read", "Connection closed by server"),
        ("reset", "read", "while reading from .* reset by peer"),
        ("reset", "write", "Error 104 while writing"),
        ("closed", "write twice", "Error 32 while writing"),
        ("closed", "rows", "the server closed the connection"),
        ("reset", "rows", "reset by peer"),
    ],
)
def test_what_the_driver_says(how: str, step: str, says: str) -> None:
    """Each step at which the end of a connection can be met is taken for what it is."""
    with listening() as (listener, options):
        link = link_class(redis.Connection)(**options)
        link.open(time.monotonic() + 10)
        end(listener.accept()[0], how)
        steps = {"read": link.read_response, "rows": lambda: link.receive(Replies(1, array=True))}
        wait_for(link, select.POLLRDHUP)
        if step == "write twice":
            ping(link)
            wait_for(link, select.POLLHUP)
        with pytest.raises((redis.ConnectionError, OSError), match=says) as caught:
            steps.get(step, lambda: ping(link))()
        assert_hinted(caught.value)


@pytest.mark.parametrize(
    ("how", "step", "says"),
    [
        ("closed", "read", "Connection closed by server"),
        ("reset", "read", "while reading from .* reset by peer"),
        ("reset", "write", "Error UNKNOWN while writing to socket. Connection lost"),
        ("reset", "write later", "Error 104 while writing"),
        ("closed", "rows", "the server closed the connection"),
        ("reset", "rows", "Connection lost"),
    ],
)
def test_what_the_driver_says_without_blocking(how: str, step: str, says: str) -> None:
    """As the driver that blocks; there a loop may learn of the end before a step, or by it."""

    async def met() -> Exception:
        with listening() as (listener, options):
            link = link_class(cast(Hashable, asynchronous.Connection))(**options)
            await link.open(time.monotonic() + 10)
            end(listener.accept()[0], how)
            wait_for(link, select.POLLRDHUP)
            while step == "write later" and link._reader.exception() is None:
                await asyncio.sleep(0)
            steps = {
                "read": link.read_response,
                "rows": lambda: link.exchange(b"PING\r\n", Replies(1, array=True), time.monotonic() + 10),
            }
            with pytest.raises((redis.ConnectionError, OSError), match=says) as caught:
                await steps.get(step, lambda: ping(link))()
            return caught.value

    assert_hinted(asyncio.run(met()))


def raised(error: Exception, after: Exception | None = None) -> Exception:
    """Return an error as it is raised while another is handled."""
    error.__context__ = after
    return error


@pytest.mark.parametrize(
    "error",
    [
        raised(redis.ConnectionError("Error 111 connecting to h:1. Refused."), ConnectionRefusedError(111, "Refused")),
        raised(
            redis.ConnectionError("Error 111 connecting to h:1. Refused."),
            raised(ConnectionRefusedError(111, "Refused"), ConnectionResetError(104, "Connection reset by peer")),
        ),
        raised(redis.ConnectionError("Error -2 connecting to h:1. Unknown."), socket.gaierror(-2, "Unknown")),
        raised(redis.TimeoutError("Timeout connecting to server"), TimeoutError("timed out")),
        raised(redis.TimeoutError("Timeout reading from h:1"), TimeoutError("timed out")),
        raised(redis.ConnectionError("Error 113 connecting to h:1."), OSError(113, "No route to host")),
        redis.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.exceptions.MaxConnectionsError("Too many connections"),
        redis.ConnectionError("no server knows who has the rows"),
        TimeoutError("timed out"),
    ],
    ids=str,
)
def test_what_has_nothing_to_do_with_it(error: Exception) -> None:
    """A server that takes no connection, or takes its time, isn't one that cuts connections off."""
    for store in ("redis://h", "valkey+cluster://h"):
        said = said_as_ours(error, store)
        assert isinstance(said, OnlineUnavailableError)
        assert "TLS" not in str(said)


def test_a_socket_has_no_tls() -> None:
    """A server behind a socket that cuts connections off isn't asked about TLS."""
    assert "TLS" not in str(said_as_ours(ConnectionResetError(104, "Connection reset by peer"), "unix:///run/x.sock"))


def test_a_port_that_refuses() -> None:
    """Where nobody listens, that is what is said."""
    store = RedisOnlineStore(f"redis://127.0.0.1:{free_port()}", project="p")
    for way in WAYS.values():
        with pytest.raises(OnlineUnavailableError, match=r"refused|Connect call failed") as caught:
            way(store)
        assert "TLS" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("call", [WAYS["watermark"], lambda store: store.drop("v-1")], ids=["watermark", "drop"])
def test_a_cluster_that_nobody_answers_for(call: Callable[[RedisOnlineStore], Any]) -> None:
    """Where none of a cluster's nodes can be asked, the store is unavailable, as it is for reads."""
    store = RedisOnlineStore(f"redis+cluster://127.0.0.1:{free_port()}", project="p")
    with pytest.raises(OnlineUnavailableError, match=r"doesn't answer.*refused") as caught:
        call(store)
    assert "TLS" not in str(caught.value)
    store.close()


@contextmanager
def listening() -> Iterator[tuple[socket.socket, dict[str, Any]]]:
    """Listen; yield the socket, and options of a connection to it that says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        yield listener, {"host": host, "port": port, "protocol": 2, "driver_info": None}


def wait_for(link: Any, sign: int) -> None:
    """Wait until the system knows of a connection's end; the driver hasn't looked yet."""
    watch = select.poll()
    watch.register(link._sock if hasattr(link, "_sock") else link._writer.get_extra_info("socket"), sign)
    assert watch.poll(10_000)


def ping(link: Any) -> Any:
    """Send a command; what it returns is to be awaited where the connection doesn't block."""
    return link.send_command("PING", check_health=False)


def assert_hinted(error: BaseException) -> None:
    """Check that a caller is asked about TLS."""
    assert isinstance(error, Exception)
    said = said_as_ours(error, "redis://h")
    assert isinstance(said, OnlineUnavailableError)
    assert re.search(HINT.format("redis", "redis"), str(said))
