"""What a store promises to its copies: pickled, in threads, in processes that write and compact at once."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from fs_core.offline.contract import OfflineStore
from fs_core.rule import SEQ, TIME
from fs_core.testing.histories import moments
from fs_core.testing.offline_suite.tables import counted, counter
from fs_core.testing.processes import FRESH

_BATCHES, _BATCH = 12, 3  # what each concurrent writer appends


class ConcurrentHistory:
    """Whoever appends and reads at once loses nothing and sees whole batches."""

    def test_pickling(self, store: OfflineStore) -> None:
        """A copy made by pickling, after use, sees the same history and can add to it."""
        store.append(counter, counted([1]))
        copy: OfflineStore = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
        copy.append(counter, counted([2]))
        assert copy.read(counter).equals(store.read(counter))
        assert store.read(counter).num_rows == 2

    def test_threads_share_a_store(self, store: OfflineStore) -> None:
        """Many threads that read and append through one instance get whole and right answers."""
        store.append(counter, counted(range(50)))
        spine = pa.table({"thing": list(range(50)), TIME: moments([100] * 50)})

        def work(number: int) -> list[Any]:
            if number % 4 == 0:
                store.append(counter, counted([100 + number]))
            return list(store.as_of(counter, spine, ["value"])["value"].to_pylist())

        with ThreadPoolExecutor(4) as pool:
            assert all(found == list(range(50)) for found in pool.map(work, range(16)))
        assert store.read(counter).num_rows == 54

    def test_processes_append_at_once(self, store: OfflineStore) -> None:
        """Four processes that write at the same time lose nothing; a reader sees whole batches."""
        with ProcessPoolExecutor(4, mp_context=FRESH) as pool:
            writers = [pool.submit(append_batches, store, writer) for writer in range(4)]
            seen = [0]
            while not all(writer.done() for writer in writers):
                seen.append(store.read(counter).num_rows)
            states = [state for writer in writers for state in writer.result()]
        assert seen == sorted(seen)
        assert all(count % _BATCH == 0 for count in seen)
        assert store.read(counter)[SEQ].to_pylist() == list(range(4 * _BATCHES * _BATCH))
        assert store.snapshot(counter) == max(states)

    def test_compaction_beside_writers(self, store: OfflineStore) -> None:
        """What two processes append while a third compacts is there in the end, once."""
        store.append(counter, counted(range(-_BATCH, 0)))
        with ProcessPoolExecutor(3, mp_context=FRESH) as pool:
            writers = [pool.submit(append_batches, store, writer) for writer in range(2)]
            compactor = pool.submit(compact_often, store)
            compactor.result()
            assert all(len(writer.result()) == _BATCHES for writer in writers)
        store.compact(counter)
        assert store.read(counter)[SEQ].to_pylist() == list(range(-_BATCH, 2 * _BATCHES * _BATCH))

    def test_two_compactions_at_once(self, store: OfflineStore) -> None:
        """Of processes that compact at once none doubles a row, beside one that appends."""
        store.append(counter, counted(range(-_BATCH, 0)))
        with ProcessPoolExecutor(3, mp_context=FRESH) as pool:
            compactors = [pool.submit(compact_often, store) for _ in range(2)]
            pool.submit(append_batches, store, 0).result()
            for compactor in compactors:
                compactor.result()
        assert store.read(counter)[SEQ].to_pylist() == list(range(-_BATCH, _BATCHES * _BATCH))
        assert store.verify(counter).clean


def append_batches(store: OfflineStore, writer: int) -> list[int]:
    """Append one writer's batches; return the states; runs in a process of its own."""
    first = writer * _BATCHES * _BATCH
    starts = range(first, first + _BATCHES * _BATCH, _BATCH)
    return [store.append(counter, counted(range(start, start + _BATCH))) for start in starts]


def compact_often(store: OfflineStore) -> None:
    """Compact as often as a writer appends; runs in a process of its own."""
    for _ in range(_BATCHES):
        store.compact(counter)
