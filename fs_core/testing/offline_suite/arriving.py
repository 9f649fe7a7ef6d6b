"""What a history may offer beside `OfflineStore`: pushes, rows in parts, positions of streams."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from fs_core.offline.contract import (
    EMPTY,
    ComparedHistory,
    OfflineStore,
    OvertakenError,
    PositionedHistory,
    Progress,
    PushedHistory,
    StreamedHistory,
)
from fs_core.testing.offline_suite.tables import counted, counter


class ArrivingRows:
    """Rows that come by other ways than one append."""

    def test_pushed_rows_are_read_at_once(self, store: OfflineStore) -> None:
        """Whoever asks for the newest state has what was pushed; each earlier state stays as it was."""
        if not isinstance(store, PushedHistory):
            pytest.skip("it takes no pushes")
        store.push(counter, counted([3]))
        store.push(counter, counted([4, 5]))
        first = store.snapshot(counter)
        assert first != EMPTY
        store.push(counter, counted([6]))
        store.append(counter, counted([7]))
        assert store.read(counter)["value"].to_pylist() == [3, 4, 5, 6, 7]
        assert store.read(counter, snapshot=first)["value"].to_pylist() == [3, 4, 5]
        store.settle()
        assert store.read(counter)["value"].to_pylist() == [3, 4, 5, 6, 7]

    def test_pushed_rows_are_erased(self, store: OfflineStore) -> None:
        """Erasing finds what was pushed just before."""
        if not isinstance(store, PushedHistory):
            pytest.skip("it takes no pushes")
        store.push(counter, counted([3, 4]))
        erased = store.erase(counter, pa.table({"thing": pa.array([3], pa.int64())}))
        assert erased.rows == 1
        assert store.traces(counter, pa.table({"thing": pa.array([3], pa.int64())})) == 0
        assert store.read(counter)["value"].to_pylist() == [4]

    def test_parts_are_one_append(self, store: OfflineStore) -> None:
        """Rows that come in parts are there together, or none of them where reading a part fails."""
        if not isinstance(store, StreamedHistory):
            pytest.skip("it takes no parts")

        def broken() -> Iterator[pa.Table]:
            yield counted([1, 2])
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            store.append_parts(counter, broken())
        assert store.snapshot(counter) == EMPTY
        state = store.append_parts(counter, iter([counted([3, 4]), counted([5])]))
        assert store.read(counter, snapshot=state)["value"].to_pylist() == [3, 4, 5]

    def test_what_is_compared_is_added_once(self, store: OfflineStore) -> None:
        """Who compares rows with a history waits until another who does has added what it lacked."""
        if not isinstance(store, ComparedHistory):
            pytest.skip("whoever compares rows with it is alone by other means")

        def add_missing() -> None:
            with store.comparing(counter):
                if (missing := store.unwritten(counter, counted([1, 2]))).num_rows:
                    store.append(counter, missing)

        with ThreadPoolExecutor(4) as threads:
            with store.comparing(counter):
                others = [threads.submit(add_missing) for _ in range(4)]
                store.append(counter, counted([1, 2]))
            for other in others:
                other.result()
        assert store.read(counter)["value"].to_pylist() == [1, 2]

    def test_a_position_is_reached_once(self, store: OfflineStore) -> None:
        """Rows of a stream go in where its position is theirs, and move it; who comes too late adds nothing."""
        if not isinstance(store, PositionedHistory):
            pytest.skip("it keeps no positions")
        assert store.positions(counter, ["a", "b"]) == {"a": None, "b": None}
        store.append_from(counter, counted([1]), Progress({"a": None, "b": None}, {"a": 10, "b": 7}))
        late = Progress({"a": None}, {"a": 12})
        for _ in range(2):
            with pytest.raises(OvertakenError):
                store.append_from(counter, counted([2]), late)
        store.append_from(counter, counted([3]), Progress({"a": 10}, {"a": 12}))
        store.append_from(counter, counted([]), Progress({"b": 7}, {"b": 8}))
        store.compact(counter)
        assert store.positions(counter, ["a", "b", "c"]) == {"a": 12, "b": 8, "c": None}
        assert store.read(counter)["value"].to_pylist() == [1, 3]
