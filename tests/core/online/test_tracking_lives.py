"""The connections, threads and processes that are told of changes: how each ends, and what is kept no longer then."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest
import redis

from tests.core.online.tracked import KEYS, VIEW, Cached, listening, put, row, until


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
