"""The bytes of commands, names and patterns, and replies that no server should send."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from fs_core.errors import OnlineStoreError
from fs_core.online.redis import RedisOnlineStore
from fs_core.online.redis.names import Names
from fs_core.online.redis.reads.protocol import PlainNames, Read, RowNames
from fs_core.online.redis.topology import SLOTS, Topology


@given(keys=st.lists(st.binary(max_size=20), min_size=1, max_size=12))
def test_commands_are_packed_as_the_driver_packs_them(keys: list[bytes]) -> None:
    """The packed command is byte for byte the driver's own, for keys of one length and of several."""
    names, driver = Names("p"), redis.Connection(protocol=2)
    requests = [("v-1", keys), ("v-2", []), ("v-3", keys[:1])]
    called = [name for view, part in requests for name in names.rows(part, view)]
    expected = b"".join(driver.pack_command("MGET", *called))
    assert RowNames(names, requests).mget() == PlainNames(called).mget() == expected
    nodes = Topology((("h", 1),), owners=np.zeros(SLOTS, np.int16))
    (exchange,) = Read(RowNames(names, requests), ends=0.0).exchanges(nodes)
    assert exchange.command == b"".join(b"".join(driver.pack_command("GET", name)) for name in called)


@given(keys=st.lists(st.binary(max_size=12), min_size=1, max_size=8), view=st.text(max_size=8))
def test_names_are_read_back_and_matched(keys: list[bytes], view: str) -> None:
    """A row's name gives its key back; the view's pattern is a glob that matches it by its plain bytes."""
    names = Names("p.1")
    called = names.rows(keys, view)
    assert [names.key(name) for name in called] == keys
    start, _, end = names.pattern(view).partition(b"*")
    unescaped = re.sub(rb"\\([*?\[\\])", rb"\1", end)
    assert all(name.startswith(start) and name.endswith(unescaped) for name in called)
    for name, key in zip(called, keys, strict=True):
        assert len(name) - len(key) == (11 if key[:1] in (b"", b"}", b"\xff") else 10)


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """Listen for as long as the context lasts, and send the same to whoever asks for something; yield a URL."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while greetings := connection.recv(65_536).count(b"SETINFO"):  # the driver introduces itself
                    connection.sendall(b"+OK\r\n" * greetings)
                connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread
            server.join()


@pytest.mark.parametrize(
    "noise", [b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"+OK\r\n", b"*x\r\n", b"*1\r\n:5\r\n", b"HTTP/1.1 400 Bad Request\r\n"]
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_no_answer(noise: bytes, asynchronous: bool) -> None:
    """What is no reply to the command is refused, rather than read as rows."""
    with answering(noise) as url:
        store, wanted = RedisOnlineStore(url, project="p"), [("v-1", [b"k"])]

        async def read() -> None:
            try:
                await store.read_async(wanted)
            finally:
                await store.aclose()

        with pytest.raises(OnlineStoreError, match=r"failed: (it sent|Protocol error|Bad multi-bulk)"):
            asyncio.run(read()) if asynchronous else store.read(wanted)
        store.close()


def test_an_error_in_place_of_a_row() -> None:
    """A node's error for one row is that row's; the others' rows are known."""
    names = [b"%d" % number for number in range(3)]
    read = Read(PlainNames(names), ends=time.monotonic() - 1)
    (exchange,) = read.exchanges(Topology((("h", 1),), owners=np.zeros(SLOTS, np.int16)))
    moved = redis.exceptions.MovedError("3999 127.0.0.1:6381")
    exchange.replies = [b"a", moved, None]
    read.settle()
    assert (read.goes_on, read.failures) == (False, {("h", 1): moved})
    part = read.partial()
    assert part is not None
    assert part.rows == [[b"a", None, None]]
    assert part.unread[0].tolist() == [False, True, False]  # type: ignore[union-attr]
