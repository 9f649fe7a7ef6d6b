"""Batches of streams: each message is in history once, whoever dies when, and many of them are one commit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import EMPTY, OvertakenError, Progress
from fs_core.offline.delta.journal import journal, segment
from fs_core.offline.delta.log import DeltaLog
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.testing.offline_suite import counted, counter
from tests.programs import ended

PARTITIONS, POISON, PUSHED = ("a", "b"), 5, 10**6


class Died(BaseException):
    """What stands for the end of a process."""


def die(*_: Any) -> None:
    """Be where a process ends."""
    raise Died


def rows_of(partition: str, before: int, after: int) -> pa.Table:
    """Return what becomes of messages of a partition, behind a position up to another; every fifth is no row."""
    numbers = [n for n in range(before + 1, after + 1) if n % POISON]
    return counted([len(PARTITIONS) * n + PARTITIONS.index(partition) for n in numbers])


def segments(directory: Path, *kinds: str) -> list[Path]:
    """Return the files that wait beside the table."""
    return segment.pending(directory / counter.storage_name / ".fs_core" / "pushed", *kinds)


def version(directory: Path) -> int:
    """Return the newest state that programs see which read the table alone."""
    return DeltaTable(str(directory / counter.storage_name)).version()


def take(store: DeltaOfflineStore, before: int | None, after: int, partition: str = "a") -> None:
    """Add the rows of messages."""
    store.append_from(
        counter, rows_of(partition, before or 0, after), Progress({partition: before}, {partition: after})
    )


@contextmanager
def changed(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Have objects do something else for as long as the context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        for target, name, value in changes:
            patch.setattr(target, name, value)
        yield


def cut_off(size: int) -> Callable[[int, Any], int]:
    """Return a `write` whose process dies once it has written some bytes."""
    write = segment.os.write

    def begun(file: int, data: Any) -> int:
        write(file, bytes(data)[:size])
        raise Died

    return begun


MOMENTS: dict[str, list[tuple[Any, str, Any]]] = {
    "add": [],
    "die in the first bytes": [(segment.os, "write", cut_off(7)), (segment.os, "ftruncate", die)],
    "die before the end": [(segment.os, "write", cut_off(600)), (segment.os, "ftruncate", die)],
    "die once it is written": [(segment.os, "fdatasync", die), (segment.os, "ftruncate", die)],
    "add many": [(journal.Journal, "takes", lambda *_: False)],
    "die once many are committed": [
        (journal.Journal, "takes", lambda *_: False),
        (DeltaLog, "bring_to_disk", die),
    ],
    "die before many are committed": [
        (journal.Journal, "takes", lambda *_: False),
        (journal.Journal, "fold", die),
    ],
}
"""Where a consumer that adds a batch may die."""

FOLDS: dict[str, list[tuple[Any, str, Any]]] = {
    "fold": [],
    "die in a fold before its commit": [(segment.Claimed, "mark", die)],
    "die in a fold after its commit": [(segment.Claimed, "remove", die)],
}
"""Where somebody who reads may die."""


class Plays:
    """Two consumers and others at one table, against a plain model: how far each partition has been taken.

    Args:
        directory: where the table lies.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._consumers = [DeltaOfflineStore(directory) for _ in range(2)]
        self._beliefs: list[dict[str, int | None]] = [dict.fromkeys(PARTITIONS) for _ in range(2)]
        self._taken: dict[str, int | None] = dict.fromkeys(PARTITIONS)
        self._pushed = 0

    def add(self, who: int, partition: str, count: int, moment: str) -> None:
        """Let a consumer add messages behind where it believes history to be; it may die."""
        before = self._beliefs[who][partition]
        after = (before or 0) + count
        if before != self._taken[partition]:
            with pytest.raises(OvertakenError):
                take(self._consumers[who], before, after, partition)
            self.look(who)
            return
        try:
            with changed(*MOMENTS[moment]):
                take(self._consumers[who], before, after, partition)
        except Died:  # whether it is there, nobody was told
            self._consumers[who] = DeltaOfflineStore(self._directory)
            self._beliefs[who] = self._consumers[who].positions(counter, PARTITIONS)
            found = self._beliefs[who][partition]
            assert found in (before, after)
            self._taken[partition] = found
        else:
            self._taken[partition] = self._beliefs[who][partition] = after

    def look(self, who: int) -> None:
        """Let a consumer ask how far history is."""
        self._beliefs[who] = self._consumers[who].positions(counter, PARTITIONS)
        assert self._beliefs[who] == self._taken

    def push(self, who: int) -> None:
        """Push a row."""
        self._consumers[who].push(counter, counted([PUSHED + self._pushed]))
        self._pushed += 1

    def read(self, moment: str) -> None:
        """Read history in another process, which may die."""
        reader = DeltaOfflineStore(self._directory)
        try:
            with changed(*FOLDS[moment]):
                found = reader.read(counter)["value"].to_pylist()
        except Died:
            return
        there = {p: rows_of(p, 0, position or 0)["value"].to_pylist() for p, position in self._taken.items()}
        for number, partition in enumerate(PARTITIONS):
            mine = [value for value in found if value < PUSHED and value % len(PARTITIONS) == number]
            assert mine == there[partition]
        assert [value for value in found if value >= PUSHED] == [PUSHED + n for n in range(self._pushed)]


consumers, partitions = st.integers(0, 1), st.sampled_from(PARTITIONS)
DEEDS = st.one_of(
    st.tuples(st.just("add"), consumers, partitions, st.integers(1, 7), st.sampled_from(sorted(MOMENTS))),
    st.tuples(st.just("add"), consumers, partitions, st.integers(1, 7), st.just("add")),
    st.tuples(st.just("look"), consumers),
    st.tuples(st.just("push"), consumers),
    st.tuples(st.just("read"), st.sampled_from(sorted(FOLDS))),
)


@settings(max_examples=40)
@given(st.lists(DEEDS, max_size=14))
def test_any_deeds_leave_each_message_once(deeds: list[tuple[Any, ...]]) -> None:
    """Whatever consumers, pushes and readers do in turns, and wherever they die, history is what the model says."""
    with tempfile.TemporaryDirectory() as directory:
        plays = Plays(Path(directory))
        for name, *arguments in deeds:
            getattr(plays, name)(*arguments)
        plays.read("fold")
        plays.look(0)


@pytest.fixture
def two(tmp_path: Path) -> tuple[DeltaOfflineStore, DeltaOfflineStore]:
    """A history, opened twice."""
    return DeltaOfflineStore(tmp_path), DeltaOfflineStore(tmp_path)


def test_many_batches_are_one_commit(two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path) -> None:
    """They wait in one file until somebody reads, pushes in another; so they leave few files."""
    store, other = two
    for number in range(30):
        take(store, number or None, number + 1)
        store.push(counter, counted([PUSHED + number]))
    assert [len(segments(tmp_path, kind)) for kind in (segment.TAKEN, segment.PUSHED)] == [1, 1]
    assert other.read(counter).num_rows == 30 - 6 + 30
    assert (version(tmp_path), segments(tmp_path)) == (0, [])
    take(store, 30, 31)
    assert other.snapshot(counter) == 1


def test_a_batch_without_rows_moves_the_position(
    two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path
) -> None:
    """Where all messages were rejected there is a state without rows, which knows how far it is."""
    store, other = two
    take(store, None, 0)
    assert other.positions(counter, ["a"]) == {"a": 0}
    assert other.read(counter).num_rows == 0
    assert DeltaTable(str(tmp_path / counter.storage_name)).transaction_version("a") == 0
    take(store, 0, 1)
    assert other.read(counter).num_rows == 1


def test_who_comes_too_late_costs_no_commit(two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path) -> None:
    """Consumers that take turns at one stream see each other's batches where they wait, however often they change."""
    for number in range(20):
        first, second = two if number % 3 else two[::-1]
        take(first, number or None, number + 1)
        with pytest.raises(OvertakenError):
            take(second, number or None, number + 1)
        assert second.positions(counter, ["a", "b"]) == {"a": number + 1, "b": None}
    assert len(segments(tmp_path)) == 2
    assert two[0].read(counter).num_rows == 16
    assert version(tmp_path) == 0


def test_many_rows_are_a_commit_at_once(
    two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go behind what waits, and small batches behind them; who comes too late adds nothing."""
    store, other = two
    take(store, None, 3)
    monkeypatch.setattr(journal, "_MOST_BYTES", 1_000)
    take(other, 3, 60)
    assert (version(tmp_path), segments(tmp_path)) == (1, [])
    with pytest.raises(OvertakenError):
        take(store, 3, 70)
    take(store, 60, 61)
    assert other.positions(counter, ["a"]) == {"a": 61}
    assert other.read(counter)["value"].to_pylist() == rows_of("a", 0, 61)["value"].to_pylist()


def test_batches_reach_the_table_in_time(
    two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment of batches that is old is folded by the next one; settling brings the rest."""
    monkeypatch.setattr(journal, "_MOST_SECONDS", 0.0)
    take(two[0], None, 1)
    assert version(tmp_path) == 0
    monkeypatch.undo()
    take(two[0], 1, 2)
    two[1].settle()
    assert version(tmp_path) == 0
    two[0].settle()
    assert version(tmp_path) == 1


def test_a_batch_that_finds_no_room(two: tuple[DeltaOfflineStore, DeltaOfflineStore]) -> None:
    """It has moved nothing, and the consumer adds it again."""
    take(two[0], None, 1)
    with changed((segment.os, "fdatasync", full)), pytest.raises(OfflineStoreError, match="No space left"):
        take(two[0], 1, 2)
    assert two[1].positions(counter, ["a"]) == two[0].positions(counter, ["a"]) == {"a": 1}
    take(two[0], 1, 3)
    assert two[1].read(counter)["value"].to_pylist() == rows_of("a", 0, 3)["value"].to_pylist()


def full(*_: Any) -> None:
    """Be a disk that is full."""
    raise OSError(28, "No space left on device")


def test_a_damaged_segment_of_batches(two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path) -> None:
    """Where its beginning can't be read none of it is, so its messages are taken again; a copy is kept."""
    take(two[0], None, 3)
    (file,) = segments(tmp_path)
    whole = bytearray(file.read_bytes())
    whole[20] ^= 1
    file.write_bytes(whole)
    assert two[1].snapshot(counter) == EMPTY
    assert file.with_suffix(".damaged").exists()
    assert two[0].positions(counter, ["a"]) == {"a": None}
    take(two[0], None, 3)
    assert two[1].read(counter).num_rows == 3


def test_what_waits_is_erased(two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path) -> None:
    """Of who is forgotten no row stays, also of those that wait; positions stay."""
    take(two[0], None, 4)
    who = pa.table({"thing": pa.array([4], pa.int64())})
    assert two[1].erase(counter, who).rows == 1
    assert (two[1].traces(counter, who), segments(tmp_path)) == (0, [])
    assert two[0].positions(counter, ["a"]) == {"a": 4}
    assert two[0].read(counter)["value"].to_pylist() == [2, 6, 8]


def test_consumers_and_readers_at_once(tmp_path: Path) -> None:
    """Threads with stores of their own race for each batch, small or large, while others read, push and fold."""
    ends = time.monotonic() + 2

    def consume(_: int) -> int:
        store, position, done = DeltaOfflineStore(tmp_path), None, 0
        while time.monotonic() < ends:
            after = (position or 0) + 1 + done % 4
            try:
                take(store, position, after)
                position, done = after, done + 1
            except OvertakenError:
                position = store.positions(counter, ["a"])["a"]
        return done

    def read(me: int) -> int:
        store, known, turn = DeltaOfflineStore(tmp_path), 0, 0
        while time.monotonic() < ends:
            position = store.positions(counter, ["a"])["a"] or 0
            there = [value for value in store.read(counter)["value"].to_pylist() if value < PUSHED]
            assert there[: len(rows_of("a", 0, position))] == rows_of("a", 0, position)["value"].to_pylist()
            assert len(there) >= known
            known, turn = len(there), turn + 1
            store.push(counter, counted([PUSHED * (me + 1) + turn]))
        return turn

    with ThreadPoolExecutor(5) as threads:
        work = [threads.submit(consume, n) for n in range(3)] + [threads.submit(read, n) for n in range(2)]
        assert all(one.result() for one in work)
    store = DeltaOfflineStore(tmp_path)
    position = store.positions(counter, ["a"])["a"] or 0
    found = [value for value in store.read(counter)["value"].to_pylist() if value < PUSHED]
    assert found == rows_of("a", 0, position)["value"].to_pylist()
    assert store.verify(counter).clean


TAKE_AND_DIE = """
import os, sys
from fs_core.offline.delta.journal import journal, segment
from tests.core.offline.delta.journal.test_batches import DeltaOfflineStore, counter, take

def die(*_):
    os.kill(os.getpid(), 9)

store = DeltaOfflineStore(sys.argv[1])
take(store, 2, 4)
target, name = {"batch": (segment.os, "fdatasync"), "commit": (segment.Claimed, "remove")}[sys.argv[2]]
setattr(target, name, die)
if sys.argv[2] == "batch":
    take(store, 4, 6)
else:
    store.read(counter)
"""


@pytest.mark.parametrize(("moment", "position"), [("batch", 6), ("commit", 4)])
def test_a_consumer_whose_process_died(
    two: tuple[DeltaOfflineStore, DeltaOfflineStore], tmp_path: Path, moment: str, position: int
) -> None:
    """A real process that is killed in its second batch, or once it has committed what waited, leaves all once."""
    take(two[0], None, 2)
    assert ended(TAKE_AND_DIE, str(tmp_path), moment) == -9
    with pytest.raises(OvertakenError):
        take(two[0], 2, 3)
    assert two[0].positions(counter, ["a"]) == {"a": position}
    take(two[0], position, 7)
    assert two[1].read(counter)["value"].to_pylist() == rows_of("a", 0, 7)["value"].to_pylist()
