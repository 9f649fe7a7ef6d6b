"""What a store promises to its copies: threads, processes and forks, closed or not."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from fs_core.online.contract import OnlineStore, OnlineWrite
from fs_core.testing.online_suite.rows import new_view, packed, shuffled, version_of, versioned, write_versions


class ConcurrentRows:
    """Whoever writes and reads at once sees whole rows, none of them older than one seen before."""

    def test_pickling(self, store: OnlineStore) -> None:
        """A copy made by pickling, after use, is the same store."""
        view = new_view()
        store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))])
        copy: OnlineStore = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
        assert copy.write(view, [OnlineWrite(b"e", packed((2, 1, 1)))]) == 1
        assert store.read([(view, [b"e"])]) == copy.read([(view, [b"e"])]) == [[packed((2, 1, 1))]]
        copy.close()

    def test_closing(self, store: OnlineStore) -> None:
        """A closed store opens again with the next call; closing twice is harmless."""
        view = new_view()
        store.write(view, [OnlineWrite(b"e", packed((1, 1, 1)))])
        store.close()
        store.close()
        assert store.read([(view, [b"e"])]) == [[packed((1, 1, 1))]]

    def test_threads_share_a_store(self, store: OnlineStore) -> None:
        """Threads that write and read the same rows see whole rows that never get older."""
        view, keys = new_view(), [bytes([i]) for i in range(20)]
        store.write(view, [OnlineWrite(key, versioned(0)) for key in keys])

        def write(number: int) -> None:
            store.write(view, [OnlineWrite(key, versioned(number)) for key in keys])

        def watch(_: int) -> bool:
            seen = [store.read([(view, keys)])[0] for _ in range(30)]
            assert all(row == versioned(version_of(row)) for rows in seen for row in rows)
            return all(
                [version_of(row) for row in rows] == sorted(map(version_of, rows)) for rows in zip(*seen, strict=True)
            )

        with ThreadPoolExecutor(8) as pool:
            watchers = pool.map(watch, range(2))
            list(pool.map(write, shuffled(range(1, 101))))
            assert all(watchers)
        assert store.read([(view, keys)]) == [[versioned(100)] * len(keys)]

    def test_processes_write_at_once(self, store: OnlineStore) -> None:
        """Processes that write the same rows in different orders end in the newest."""
        view, keys = new_view(), [bytes([i]) for i in range(20)]
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
            writers = [pool.submit(write_versions, store, view, keys, seed) for seed in range(3)]
            assert sum(writer.result() for writer in writers) >= len(keys)
        assert store.read([(view, keys)]) == [[versioned(30)] * len(keys)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_forking(self, store: OnlineStore) -> None:
        """A store in use when its process forks goes on working in both, each over its own connections."""
        view, keys = new_view(), [bytes([i]) for i in range(20)]
        store.write(view, [OnlineWrite(key, versioned(0)) for key in keys])
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=write_versions, args=(store, view, keys, seed)) for seed in range(3)]
        for child in children:
            child.start()
        while any(child.is_alive() for child in children):
            rows = store.read([(view, keys)])[0]
            assert all(row == versioned(version_of(row)) for row in rows)
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0]
        assert store.read([(view, keys)]) == [[versioned(30)] * len(keys)]
