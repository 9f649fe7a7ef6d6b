"""Who compacts, forgets and writes at once, or dies: no row is there twice, none is lost, and forgetting ends."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.offline.delta.leftovers import data_files, named_files
from tests.programs import ended

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("v", entity=THING, fields=[Field("x", "int64", "X.")], description="V.", online=False)
DAY = datetime(2025, 1, 1, tzinfo=UTC)


def row(k: int) -> dict[str, Any]:
    """Return one row of a thing."""
    return {"k": [k], "event_timestamp": [DAY], "x": [k]}


def things(store: FeatureStore) -> list[int]:
    """Return whose rows history has, in the order written."""
    found: list[int] = store.history(VIEW)["k"].to_pylist()
    return found


def table_of(directory: Path) -> Path:
    """Return where the view's table lies."""
    return directory / "history" / VIEW.storage_name


@pytest.fixture
def written(store: FeatureStore) -> FeatureStore:
    """A store with eight rows, each in a file of its own."""
    store.apply(VIEW)
    for k in range(8):
        store.write(VIEW, row(k))
    return store


def at_once(*deeds: Callable[[], Any]) -> None:
    """Let threads begin at one moment, and wait for them."""
    barrier = threading.Barrier(len(deeds))

    def begin(deed: Callable[[], Any]) -> None:
        barrier.wait()
        deed()

    with ThreadPoolExecutor(len(deeds)) as pool:
        for done in [pool.submit(begin, deed) for deed in deeds]:
            done.result()


def test_two_threads_compact_at_once(written: FeatureStore) -> None:
    """Two threads that compact through one store double no row."""
    for start in range(8, 24, 4):
        at_once(written.compact, written.compact)
        assert things(written) == list(range(start))
        for k in range(start, start + 4):
            written.write(VIEW, row(k))
    assert written.verify_history().clean


COMPACT = """
import sys, time
from pathlib import Path
from fs_core import FeatureStore
store = FeatureStore(sys.argv[1])
store.history("v")
print("ready", flush=True)
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
store.compact()
"""


def test_two_processes_compact_at_once(written: FeatureStore) -> None:
    """Nor do two processes."""
    command = [sys.executable, "-c", COMPACT, str(written.directory)]
    with ExitStack() as running:
        processes = [running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE)) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        (Path(written.directory) / "go").touch()
        assert [process.wait(60) for process in processes] == [0, 0]
    assert things(written) == list(range(8))
    assert written.verify_history().clean


def test_compact_forget_and_write_at_once(written: FeatureStore) -> None:
    """Stores that compact, forget and write without pause fail at nothing, lose nothing and double nothing."""
    ends = time.monotonic() + 3

    def often(deed: Callable[[FeatureStore, int], Any]) -> Callable[[], None]:
        def again() -> None:
            with FeatureStore(written.directory) as store:
                number = 0
                while time.monotonic() < ends:
                    deed(store, number)
                    number += 1

        return again

    acknowledged: list[int] = []

    def write(store: FeatureStore, number: int) -> None:
        store.write(VIEW, row(100 + number))
        acknowledged.append(100 + number)

    at_once(
        often(write),
        often(lambda store, _: store.compact()),
        often(lambda store, _: store.compact()),
        often(lambda store, number: store.forget("thing", {"k": [number % 8]})),
        often(lambda store, _: store.history(VIEW)),
    )
    assert [k for k in things(written) if k >= 100] == acknowledged
    assert written.verify_history().clean


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store with a row, whose registry was then restored from a backup that is older than the row."""
    directory = tmp_path / "restored"
    with FeatureStore(directory) as store:
        store.apply(VIEW)
    shutil.copy(directory / "registry.db", directory / "backup.db")
    with FeatureStore(directory) as store:
        store.write(VIEW, row(1))
    for path in directory.glob("registry.db*"):
        path.unlink()
    (directory / "backup.db").rename(directory / "registry.db")
    with FeatureStore(directory) as store:
        yield store


def test_a_seq_is_given_once_whatever_the_registry_says(restored: FeatureStore) -> None:
    """Rows written after a registry was restored get seqs of their own, and forgetting one thing leaves the other."""
    restored.write(VIEW, row(2))
    assert restored.history(VIEW)["__seq"].to_pylist() == [0, 1]
    restored.compact()
    restored.forget("thing", {"k": [1]})
    assert things(restored) == [2]


def test_a_seq_is_given_once_without_the_file_that_counts(restored: FeatureStore) -> None:
    """Where the file that holds the next seq is lost, empty or damaged, the rows of the table decide."""
    numbers = table_of(Path(restored.directory)) / ".fs_core" / "next-seq"
    for k, content in enumerate([None, b"", b"{", b'{"next": 1, "boot": "another"}', b'"no"']):
        numbers.unlink()
        if content is not None:
            numbers.write_bytes(content)
        restored.write(VIEW, row(k))
    assert restored.history(VIEW)["__seq"].to_pylist() == list(range(6))


def test_threads_and_stores_share_the_count(restored: FeatureStore) -> None:
    """Any number of stores that reserve at once get each seq once, without gaps."""
    stores = [FeatureStore(restored.directory) for _ in range(4)]
    firsts: list[int] = []
    reserve = [lambda store=store: firsts.extend(store.offline.reserve(VIEW, 3) for _ in range(20)) for store in stores]
    at_once(*reserve)
    assert sorted(firsts) == list(range(1, 1 + 3 * 80, 3))


def test_rows_are_erased_by_key(written: FeatureStore) -> None:
    """Where an earlier release gave a seq to two things, only the one that is to be forgotten goes."""
    rows = written.history(VIEW)
    twice = rows.set_column(rows.column_names.index("k"), "k", pa.array([k + 10 for k in range(8)], pa.int64()))
    written.offline.append(VIEW, twice)
    written.forget("thing", {"k": [3, 15]})
    assert sorted(things(written)) == [0, 1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17]


def lose_a_compaction(store: FeatureStore) -> None:
    """Leave what a compaction had written when it died before its commit: whole files, and one that was begun."""
    table = table_of(Path(store.directory))
    before = data_files(table)
    DeltaTable(str(table)).optimize.compact()
    newest = max((table / "_delta_log").glob("*.json"))
    newest.unlink()
    (left,) = data_files(table) - before
    Path(f"{left}#1").write_bytes(Path(left).read_bytes()[:-8])


def test_forget_ends_after_compactions_were_lost(written: FeatureStore) -> None:
    """What dead compactions left doesn't stand in the way of forgetting, however young it is, and is gone with it."""
    for _ in range(3):
        lose_a_compaction(written)
    table = table_of(Path(written.directory))
    assert len(data_files(table) - named_files(table)) == 6
    with FeatureStore(written.directory) as store:
        assert [part.rows for part in store.forget("thing", {"k": [3]})] == [1]
    assert things(written) == [0, 1, 2, 4, 5, 6, 7]
    assert data_files(table) <= named_files(table)


WRITE_AND_DIE = """
import os, sys
from datetime import datetime
import pyarrow.parquet as pq
from fs_core import FeatureStore
from fs_core.offline.delta import appending

def half(table, rows, *rest):
    pq.write_table(rows, next(table.rglob("*.parquet")).with_name("part-died.parquet"))
    os.kill(os.getpid(), 9)

appending.write = half
FeatureStore(sys.argv[1]).write("v", {"k": [3], "event_timestamp": [datetime(2025, 1, 1)], "x": [3]})
"""


def test_forget_ends_after_a_writer_died(written: FeatureStore) -> None:
    """What a writer left that was killed before its commit goes at once; its locks have gone with it."""
    table = table_of(Path(written.directory))
    assert ended(WRITE_AND_DIE, str(written.directory)) == -9
    assert data_files(table) - named_files(table)
    assert [part.rows for part in written.forget("thing", {"k": [3]})] == [1]
    assert things(written) == [0, 1, 2, 4, 5, 6, 7]
    assert data_files(table) <= named_files(table)


def test_an_append_that_is_under_way_keeps_its_files(written: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forget that meets the files of an append waits until it is committed, and then erases from it, too."""
    from fs_core.offline.delta import appending

    write, wrote = appending.write, threading.Event()

    def slowly(table: Path, *rest: Any) -> Any:
        unfinished = next(table.rglob("*.parquet")).with_name("part-9.parquet")
        unfinished.write_bytes(b"PAR1 and no more")
        wrote.set()
        time.sleep(0.5)
        assert unfinished.exists()
        unfinished.unlink()
        return write(table, *rest)

    monkeypatch.setattr(appending, "write", slowly)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(written.write, VIEW, {"k": [3, 50], "event_timestamp": [DAY] * 2, "x": [3, 50]})
        assert wrote.wait(30)
        monkeypatch.setattr(appending, "write", write)
        with FeatureStore(written.directory) as store:
            erased = store.offline.erase(store.view("v"), pa.table({"k": pa.array([3], pa.int64())}))
        writing.result()
    assert erased.rows in (1, 2)  # the second may have come after the last look at the newest state
    assert set(things(written)) - {3} == {0, 1, 2, 4, 5, 6, 7, 50}
