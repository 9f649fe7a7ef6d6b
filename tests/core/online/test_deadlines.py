"""A read ends at its deadline as a whole, whatever of connecting, sending and the reply takes the time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fs_core.errors import DeadlineExceededError
from fs_core.online.redis import RedisOnlineStore
from tests.servers import running_server
from tests.topologies import cut_off

WITHIN, AT_MOST = 0.3, 1.5  # seconds; machines are noisy
ROWS = b"*1\r\n$400\r\n"


def silent(_: socket.socket) -> None:
    """Send nothing."""


def half(connection: socket.socket) -> None:
    """Send the beginning of a reply."""
    connection.sendall(ROWS + b"x" * 100)


def trickling(connection: socket.socket) -> None:
    """Send a reply byte by byte, each soon enough by itself."""
    try:
        for byte in ROWS + b"x" * 400:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
    except OSError:
        pass


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listen for as long as the context lasts, and answer whoever asks for rows; yield a URL."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            while greetings := connection.recv(65_536).count(b"SETINFO"):  # the driver introduces itself
                connection.sendall(b"+OK\r\n" * greetings)
            answer(connection)
            over.wait(20)

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def seconds_until_refused(store: RedisOnlineStore, *, asynchronous: bool) -> float:
    """Return how long a read took that misses its deadline."""
    wanted = [("v-1", [b"k"])]

    async def read() -> None:
        try:
            await store.read_async(wanted, within=WITHIN)
        finally:
            await store.aclose()

    start = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"within the read's deadline: [a-z]"):
        asyncio.run(read()) if asynchronous else store.read(wanted, within=WITHIN)
    return time.monotonic() - start


@pytest.mark.parametrize("answer", [silent, half, trickling])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_reply_that_is_late(answer: Callable[[socket.socket], None], asynchronous: bool) -> None:
    """However much of a reply has come, and however steadily, a read waits no longer than its deadline."""
    with answering(answer) as url:
        store = RedisOnlineStore(url, project="p", timeout=20.0)
        assert WITHIN * 0.9 <= seconds_until_refused(store, asynchronous=asynchronous) < AT_MOST
        store.close()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_was_late_is_nobody_s_reply(asynchronous: bool) -> None:
    """The rest of a reply that came too late is not taken for the next read's."""
    with running_server("Valkey 9.1") as url, cut_off(int(url.split(":")[2].split("/")[0]), late=0.5) as port:
        store = RedisOnlineStore(f"redis://127.0.0.1:{port}", project="p", timeout=20.0)
        assert seconds_until_refused(store, asynchronous=asynchronous) < AT_MOST
        assert store.read([("v-1", [b"a", b"b"])], within=20.0) == [[None, None]]
        store.close()
