"""Servers that cut connections off: how the driver reports it, and what our error says of TLS."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from fs_core.errors import OnlineUnavailableError
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.redis.errors import online_error
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
    """For a port that is silent to TLS the error names the URL to write; for one that cuts it off it doesn't."""
    silent = str(online_error(redis.TimeoutError("Timeout connecting to server"), store))
    assert "may be a port without TLS" in silent
    assert change in silent
    assert "TLS" not in str(online_error(ConnectionResetError(104, "Connection reset by peer"), store))


@pytest.mark.parametrize(
    ("how", "step", "says"),
    [
        ("closed", "read", "Connection closed by server"),
        ("reset", "read", "while reading from .* reset by peer"),
        ("reset", "write", "Error 104 while writing"),
        ("closed", "write twice", "Error 32 while writing"),
    ],
)
def test_what_the_driver_says(how: str, step: str, says: str) -> None:
    """Each step at which the end of a connection can be met is taken for what it is."""
    with listening() as (listener, options):
        connection = redis.Connection(**options)
        connection.connect()
        peer = listener.accept()[0]
        port = peer.getpeername()[1]
        end(peer, how)
        wait_for(port, "CLOSE_WAIT" if how == "closed" else "")
        if step == "write twice":
            ping(connection)
            wait_for(port, "")
        with pytest.raises((redis.ConnectionError, OSError), match=says) as caught:
            connection.read_response() if step == "read" else ping(connection)
        connection.disconnect()
        assert_hinted(caught.value)


@pytest.mark.parametrize(
    ("how", "step", "says"),
    [
        ("closed", "read", "Connection closed by server"),
        ("reset", "read", "while reading from .* reset by peer"),
        ("reset", "write", "Error UNKNOWN while writing to socket. Connection lost"),
        ("reset", "write later", "Error 104 while writing"),
    ],
)
def test_what_the_driver_says_without_blocking(how: str, step: str, says: str) -> None:
    """As the driver that blocks; there a loop may learn of the end before a step, or by it."""

    async def met() -> Exception:
        with listening() as (listener, options):
            connection = redis.asyncio.Connection(**options)
            await connection.connect()
            peer = listener.accept()[0]
            port = peer.getpeername()[1]
            end(peer, how)
            wait_for(port, "CLOSE_WAIT" if how == "closed" else "")
            if step == "write later":
                await asyncio.sleep(0.05)  # the loop learns of it
            with pytest.raises((redis.ConnectionError, OSError), match=says) as caught:
                await (connection.read_response() if step == "read" else ping(connection))
            await connection.disconnect()
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
        mapped = online_error(error, store)
        assert isinstance(mapped, OnlineUnavailableError)
        assert "TLS" not in str(mapped)


def test_a_socket_has_no_tls() -> None:
    """A server behind a socket that cuts connections off isn't asked about TLS."""
    assert "TLS" not in str(online_error(ConnectionResetError(104, "Connection reset by peer"), "unix:///run/x.sock"))


def test_a_port_that_refuses() -> None:
    """Where nobody listens, the error says so."""
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


_CLOSED = {"": ("06",), "CLOSE_WAIT": ()}
"""What counts as the state too: TIME_WAIT, in which a closed connection may stay for a minute."""


def wait_for(port: int, state: str) -> None:
    """Wait until the system has a connection from a local port in a state, none where it is closed for both ends."""
    deadline = time.monotonic() + 60
    while state_of(port) not in (state, *_CLOSED[state]):
        assert time.monotonic() < deadline, state_of(port)
        time.sleep(0.001)


def state_of(port: int) -> str:
    """Return the state of the connection from a local port, by Linux's table of them."""
    states = {"01": "ESTABLISHED", "08": "CLOSE_WAIT"}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == port:
            return states.get(state, state)
    return ""


def ping(connection: Any) -> Any:
    """Send a command; what it returns is to be awaited where the connection doesn't block."""
    return connection.send_command("PING", check_health=False)


def assert_hinted(error: BaseException) -> None:
    """Check that a caller is asked about TLS."""
    assert isinstance(error, Exception)
    mapped = online_error(error, "redis://h")
    assert isinstance(mapped, OnlineUnavailableError)
    assert re.search(HINT.format("redis", "redis"), str(mapped))
