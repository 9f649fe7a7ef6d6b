"""Erasing beside other writers: it comes to an end, loses nobody else's row, and leaves what Delta's library reads."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta import log, rewriting
from fs_core.offline.delta import log as delta_log
from fs_core.offline.delta.log import log_actions
from fs_core.offline.validation.rows import validate_rows, with_sequence

USER = Entity("user", keys={"user": "int64"}, description="A person.")
FACTS = FeatureView("facts", entity=USER, fields=[Field("x", "int64", "X.")], description="Facts.", online=False)
START = 1_700_000_000_000_000


def facts(users: list[int] | np.ndarray[Any, Any], x: int = 0) -> pa.Table:
    """Return a row for each user, an hour apart."""
    times = START + np.arange(len(users)) * 3_600_000_000
    return pa.table(
        {"user": users, "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC")), "x": [x] * len(users)}
    )


@pytest.fixture
def history(store: FeatureStore) -> FeatureStore:
    """A store with three files of one month, each with a row of users 0 to 9."""
    store.apply(FACTS)
    for x in range(3):
        store.write(FACTS, facts(list(range(10)), x))
    return store


def table_of(store: FeatureStore) -> DeltaTable:
    """Return the view's history as Delta's library reads it."""
    return DeltaTable(str(folder_of(store)))


def folder_of(store: FeatureStore) -> Path:
    """Return where the view's history lies."""
    (folder,) = (Path(store.directory) / "history").iterdir()
    return folder


def erase(store: FeatureStore, *users: int) -> Any:
    """Erase users from history."""
    return store.offline.erase(store.view("facts"), pa.table({"user": pa.array(users, pa.int64())}))


def users_of(store: FeatureStore) -> list[int]:
    """Return whose rows history has, in its order."""
    found: list[int] = store.history(FACTS)["user"].to_pylist()
    return found


WRITER = """
import sys
from datetime import UTC, datetime
from fs_core import FeatureStore

with FeatureStore(sys.argv[1]) as store:
    written = 0
    while True:
        store.write("facts", {"user": [int(sys.argv[2])], "event_timestamp": [datetime.now(UTC)], "x": [written]})
        written += 1
        print(written, flush=True)
"""


@contextmanager
def writing(store: FeatureStore, users: list[int]) -> Iterator[dict[int, int]]:
    """Let a process for each user append a row of them, again and again; yield how many each has written at the end."""
    command = [sys.executable, "-c", WRITER, str(store.directory)]
    running = {user: subprocess.Popen([*command, str(user)], stdout=subprocess.PIPE, text=True) for user in users}
    written: dict[int, int] = {}
    try:
        for process in running.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "1\n"
        yield written
    finally:
        for process in running.values():
            process.kill()
        for user, process in running.items():
            output, _ = process.communicate()
            written[user] = len(output.split()) + 1


def test_writers_who_never_pause(store: FeatureStore) -> None:
    """Erasing ends beside processes that append all the time, and every other row is there once."""
    store.apply(FACTS)
    for x in range(3):
        store.write(FACTS, facts(np.arange(50_000) % 100, x))
    with writing(store, [1001, 1002, 1003]) as written:
        before = table_of(store).version()
        assert erase(store, 7).rows == 1500
        assert erase(store, 8).rows == 1500
        assert store.offline.traces(store.view("facts"), pa.table({"user": pa.array([7, 8], pa.int64())})) == 0
        assert table_of(store).version() > before + 6  # they did go on
    found = store.history(FACTS)
    counts = dict(zip(*np.unique(found["user"].to_numpy(), return_counts=True), strict=True))
    assert counts.pop(7, 0) == counts.pop(8, 0) == 0
    for user, rows in written.items():
        assert rows <= counts.pop(user) <= rows + 1  # one that was killed may not have printed it
    assert set(counts.values()) == {1500}
    assert len(np.unique(found["__seq"].to_numpy())) == len(found)


def meanwhile(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any]) -> list[str]:
    """Let something happen once, after rows were found and before they are replaced; return the commits' conditions."""
    write, deeds, conditions = rewriting.write_deltalake, [deed], list[str]()

    def late(*arguments: Any, predicate: str, **options: Any) -> None:
        conditions.append(predicate)
        while deeds:
            deeds.pop()()
        write(*arguments, predicate=predicate, **options)

    monkeypatch.setattr(rewriting, "write_deltalake", late)
    return conditions


def test_an_append_meanwhile(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended before the commit stays; rows of the person among it go, too; nothing is written twice."""
    conditions = meanwhile(monkeypatch, lambda: history.write(FACTS, facts([20, 3, 21], 9)))
    assert erase(history, 3).rows == 4
    assert [re.findall(r">= (\d+) AND __seq <= (\d+)", c) for c in conditions] == [
        [("3", "3"), ("13", "13"), ("23", "23")],
        [("31", "31")],
    ]
    assert users_of(history) == [*([0, 1, 2, 4, 5, 6, 7, 8, 9] * 3), 20, 21]


def test_an_append_with_an_earlier_seq_meanwhile(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were numbered long before they are appended, between two that go, aren't taken with these."""
    view = history.view("facts")
    rows = with_sequence(view, validate_rows(view, facts([40])), history.offline.reserve(view, 1))
    history.write(FACTS, facts([3] * 20))  # more than there are ranges in a condition
    meanwhile(monkeypatch, lambda: history.offline.append(view, rows))
    assert erase(history, 3).rows == 23
    assert users_of(history) == [*([0, 1, 2, 4, 5, 6, 7, 8, 9] * 3), 40]


def test_a_change_of_the_table_meanwhile(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another program changed the table before the commit, it begins anew from there and leaves no file."""
    meanwhile(monkeypatch, lambda: table_of(history).alter.set_table_properties({"delta.checkpointInterval": "7"}))
    erase(history, 3)
    assert users_of(history) == [0, 1, 2, 4, 5, 6, 7, 8, 9] * 3
    assert no_file_without_a_state(history)


DEEDS: dict[str, Callable[[FeatureStore], Any]] = {
    "compact": lambda store: store.offline.compact(store.view("facts")),
    "erase the same": lambda store: erase(store, 3),
    "erase another": lambda store: erase(store, 4),
}


@pytest.mark.parametrize("deed", list(DEEDS))
def test_who_rewrites_the_same_files_waits(history: FeatureStore, monkeypatch: pytest.MonkeyPatch, deed: str) -> None:
    """A compaction or another erasure that begins meanwhile goes on when this one is done; no row is lost or twice."""
    expected = [u for u in users_of(history) if u not in ({3, 4} if deed == "erase another" else {3})]
    with ThreadPoolExecutor(1) as pool, FeatureStore(history.directory) as other:
        begun = list[Future[Any]]()

        def begin() -> None:
            begun.append(pool.submit(DEEDS[deed], other))
            time.sleep(0.2)
            assert not begun[0].done()

        conditions = meanwhile(monkeypatch, begin)
        erase(history, 3)
        begun[0].result()
    assert len(conditions) == (2 if deed == "erase another" else 1)
    assert users_of(history) == expected
    assert history.offline.traces(history.view("facts"), pa.table({"user": pa.array([3], pa.int64())})) == 0
    assert no_file_without_a_state(history)


def no_file_without_a_state(store: FeatureStore) -> bool:
    """Return whether every data file on disk is named by some state, and none is unfinished."""
    named = {str(folder_of(store) / path) for path in _ever_named(store)}
    return {str(path) for path in folder_of(store).rglob("*.parquet*") if "_delta_log" not in str(path)} <= named


def _ever_named(store: FeatureStore) -> set[str]:
    """Return the files that any state of the view's history names."""
    log = folder_of(store) / "_delta_log"
    return {action["add"]["path"] for entry in log.glob("*.json") for action in log_actions(entry) if "add" in action}


def test_a_failure_leaves_no_file(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commit fails, as on a full disk, the state stays and what was rewritten is removed."""
    before = sorted(folder_of(history).rglob("*.parquet*"))
    entry = folder_of(history) / "_delta_log" / f"{3:020}.json"

    def full(opened: DeltaTable, *arguments: Any, **options: Any) -> None:
        entry.mkdir()  # so that no commit of that name can be made
        try:
            write(opened, *arguments, **options | {"commit_properties": CommitProperties(max_commit_retries=0)})
        except DeltaError as error:
            assert sorted(folder_of(history).rglob("*.parquet*")) != before
            raise OSError(28, "No space left on device") from error
        finally:
            entry.rmdir()

    write = rewriting.write_deltalake
    monkeypatch.setattr(rewriting, "write_deltalake", full)
    with pytest.raises(OfflineStoreError, match="No space left"):
        erase(history, 3)
    assert sorted(folder_of(history).rglob("*.parquet*")) == before
    assert users_of(history) == list(range(10)) * 3


def test_nothing_is_deleted_before_its_successor_is_on_disk(
    history: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rewritten files can't be brought to disk, the old ones stay; repeating it deletes them."""
    before = set(folder_of(history).rglob("*.parquet"))

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", fail)
        with pytest.raises(OfflineStoreError, match="Input/output error"):
            erase(history, 3)
    assert users_of(history) == [0, 1, 2, 4, 5, 6, 7, 8, 9] * 3
    assert before < set(folder_of(history).rglob("*.parquet"))
    assert erase(history, 3).files == 3
    assert before.isdisjoint(folder_of(history).rglob("*.parquet"))


def test_the_library_reads_what_is_committed(history: FeatureStore) -> None:
    """Delta's own reader, compaction, checkpoints and history agree; what stays of a month's files is one file."""
    history.write(FACTS, facts([3]))
    assert erase(history, 3, 3).rows == 4
    table = table_of(history)
    assert sorted(table.to_pyarrow_table()["user"].to_pylist()) == sorted(users_of(history))
    assert len(table.file_uris()) == 1
    assert table.history(1)[0]["operation"] == "WRITE"
    table.create_checkpoint()
    assert sorted(table_of(history).to_pyarrow_table()["user"].to_pylist()) == sorted(users_of(history))
    history.offline.compact(history.view("facts"))
    assert len(table_of(history).file_uris()) == 1
    assert users_of(history) == [0, 1, 2, 4, 5, 6, 7, 8, 9] * 3
    history.write(FACTS, facts([3]))
    assert users_of(history)[-1] == 3


def test_the_last_write_is_not_an_erasure(history: FeatureStore) -> None:
    """What stays after erasing wasn't written then."""
    history.write(FACTS, facts([1, 50]))
    history.write(FACTS, facts([1, 2, 4]))
    erase(history, 50)
    last = history.offline.last_write(history.view("facts"))  # type: ignore[attr-defined]
    assert last.rows == 3


def test_a_reader_whose_checkpoint_was_replaced(history: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is about to read a checkpoint when erasing replaces it looks again; one that never comes is an error."""
    folder = folder_of(history)
    table_of(history).create_checkpoint()
    checkpoints = list((folder / "_delta_log").glob("*.checkpoint.parquet"))
    held = [path.read_bytes() for path in checkpoints]
    for path in checkpoints:
        path.unlink()
    slept: list[float] = []

    def come_back(seconds: float) -> None:
        slept.append(seconds)
        for path, data in zip(checkpoints, held, strict=True):
            path.write_bytes(data)

    monkeypatch.setattr("tenacity.nap.time.sleep", come_back)
    assert log.open_table(folder).version() == 2
    assert slept
    monkeypatch.undo()
    monkeypatch.setattr(delta_log, "_CHANGING_SECONDS", 0.1)
    for path in checkpoints:
        path.unlink()
    with pytest.raises(OfflineStoreError, match="checkpoint"):
        FeatureStore(history.directory).history(FACTS)


GAPS = [
    "Kernel error: Expected contiguous commit files, but found gap: ...",
    "Kernel error: LogSegment end version 1 not the same as the specified end version 2",
]


@pytest.mark.parametrize("text", GAPS)
def test_a_listing_of_the_log_that_has_a_gap(history: FeatureStore, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Who lists the log while entries are made may see one and not the one before it, and looks again."""
    table, failures = log.DeltaTable, [DeltaError(text)] * 2

    def opened(*arguments: Any, **options: Any) -> DeltaTable:
        if failures:
            raise failures.pop()
        return table(*arguments, **options)

    monkeypatch.setattr(log, "DeltaTable", opened)
    assert log.open_table(folder_of(history), 2).version() == 2
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    with pytest.raises(DeltaError):
        log.open_table(folder_of(history), 999)
    assert not slept
