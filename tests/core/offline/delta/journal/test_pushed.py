"""What was pushed and isn't in the table yet: readers find it at once, whoever dies when, and it is there once."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from fs_core import Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta import appending, log, merging
from fs_core.offline.delta.journal import journal, segment
from tests.programs import ended

THING = Entity("thing", keys={"k": "int64"}, description="A thing.")
VIEW = FeatureView("v", entity=THING, fields=[Field("x", "string", "X.")], description="V.", online=False)
DAY = datetime(2025, 1, 1, tzinfo=UTC)


def push(store: FeatureStore, *numbers: int) -> None:
    """Push a row of each thing."""
    texts = [f"secret {k}" for k in numbers]
    store.push(VIEW, {"k": list(numbers), "event_timestamp": [DAY] * len(numbers), "x": texts})


def things(store: FeatureStore) -> list[int]:
    """Return whose rows history has, in the order written."""
    found: list[int] = store.history(VIEW)["k"].to_pylist()
    return found


def table_of(store: FeatureStore) -> Path:
    """Return where the view's table lies."""
    return Path(store.directory) / "history" / VIEW.storage_name


def segments(store: FeatureStore) -> list[Path]:
    """Return the files of what waits beside the table."""
    return segment.pending(table_of(store) / ".fs_core" / "pushed")


@pytest.fixture
def opened(store: FeatureStore) -> FeatureStore:
    """A store in which the view is known."""
    store.apply(VIEW)
    return store


@pytest.fixture
def other(opened: FeatureStore) -> Iterator[FeatureStore]:
    """The same store, as if another process had opened it."""
    with FeatureStore(opened.directory) as other:
        yield other


def test_pushes_are_in_history_at_once(opened: FeatureStore, other: FeatureStore) -> None:
    """Whoever asks for history has every push that was answered, and one commit brought them all."""
    for k in range(5):
        push(opened, k)
    assert len(segments(opened)) == 1
    assert things(other) == [0, 1, 2, 3, 4]
    assert segments(opened) == []
    assert DeltaTable(str(table_of(opened))).version() == 0
    push(opened, 5)
    push(other, 6)
    assert things(opened) == [0, 1, 2, 3, 4, 5, 6]


def test_every_question_sees_what_was_pushed(opened: FeatureStore, other: FeatureStore) -> None:
    """States, training sets, verifying and compacting count what was pushed just before."""
    push(opened, 1)
    assert other.offline.snapshot(VIEW) == 0
    push(opened, 2)
    spine = {"k": [1, 2, 3], "event_timestamp": [datetime.now(UTC)] * 3}
    assert other.get_historical_features(spine, [VIEW.name]).table["x"].to_pylist() == ["secret 1", "secret 2", None]
    push(opened, 3)
    assert other.verify_history().rows == 3
    push(opened, 4)
    other.compact()
    assert segments(opened) == []


def test_what_is_forgotten_leaves_no_trace(opened: FeatureStore, other: FeatureStore) -> None:
    """A person whose rows wait beside the table is forgotten as any other; no file has a value of theirs."""
    push(opened, 1)
    push(opened, 2)
    assert [part.rows for part in other.forget("thing", {"k": [1]})] == [1]
    assert things(opened) == [2]
    files = [path for path in Path(opened.directory).rglob("*") if path.is_file()]
    assert not [path for path in files if b"secret 1" in path.read_bytes()]


def test_closing_brings_pushes_to_other_programs(store: FeatureStore) -> None:
    """What a store has pushed is in the Delta table once the store is closed."""
    store.apply(VIEW)
    push(store, 1)
    store.close()
    assert DeltaTable(str(table_of(store))).to_pyarrow_table()["k"].to_pylist() == [1]
    store.close()


def test_a_push_cut_off_at_any_byte(opened: FeatureStore, tmp_path: Path) -> None:
    """Whatever part of the last push was written, those before it are there, and the last one whole or not at all."""
    ends = []
    for k in range(3):
        push(opened, k)
        (file,) = segments(opened)
        ends.append(file.stat().st_size)
    for end in [*range(0, ends[0], 301), *range(ends[0], ends[2], 97), ends[2]]:
        directory = tmp_path / f"copy{end}"
        shutil.copytree(opened.directory, directory)
        with FeatureStore(directory) as copy:
            with segments(copy)[0].open("r+b") as cut:
                cut.truncate(end)
            assert things(copy) == [k for k in range(3) if ends[k] <= end]
            push(copy, 7)
            assert things(copy)[-1] == 7
        shutil.rmtree(directory)


def test_a_damaged_byte_loses_no_other_push(
    opened: FeatureStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read is there, once; the log says what can't, a copy is kept, and `forget` deletes it."""
    ends = [0]
    for k in range(3):
        push(opened, k)
        (file,) = segments(opened)
        ends.append(file.stat().st_size)
    whole = bytearray(file.read_bytes())
    whole[ends[2] - 1] ^= 1  # in the second push
    file.write_bytes(whole)
    with monkeypatch.context() as broken:
        fail_after(broken)
        with pytest.raises(OfflineStoreError, match="died"):
            things(opened)
    assert things(opened) == [0, 2]
    assert segments(opened) == []
    assert [r.levelname for r in caplog.records if str(file) in r.getMessage()] == ["ERROR"]
    copy = file.with_suffix(".damaged")
    assert copy.read_bytes().startswith(whole)
    push(opened, 3)
    assert things(opened) == [0, 2, 3]
    opened.forget("thing", {"k": [1]})
    assert not copy.exists()
    assert things(opened) == [0, 2, 3]


def test_a_segment_whose_beginning_is_damaged(opened: FeatureStore) -> None:
    """No row of it can be read, so it is put aside; its writer goes on with another."""
    push(opened, 1)
    (file,) = segments(opened)
    whole = bytearray(file.read_bytes())
    whole[20] ^= 1
    file.write_bytes(whole)
    assert things(opened) == []
    copy = file.with_suffix(".damaged")
    assert copy.exists()
    push(opened, 2)
    assert things(opened) == [2]
    push(opened, 3)
    opened.forget("thing", {"k": [1]})
    assert not copy.exists()
    assert things(opened) == [2, 3]


def fail_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no commit be made."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(appending, "write", full)


def fail_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody delete a segment once its rows are in the table."""

    def died(_: object) -> None:
        raise OSError(errno.EIO, "died")

    monkeypatch.setattr(segment.Claimed, "remove", died)


@pytest.mark.parametrize("fail", [fail_before, fail_after])
def test_a_fold_that_failed_is_made_good(
    opened: FeatureStore, other: FeatureStore, monkeypatch: pytest.MonkeyPatch, fail: Callable[..., None]
) -> None:
    """Who reads learns why what was pushed can't be had; pushes go on, and later all are there, once."""
    push(opened, 1)
    with monkeypatch.context() as broken:
        fail(broken)
        with pytest.raises(OfflineStoreError, match=r"view 'v:v1.0.0': .*(No space|died)"):
            things(other)
        push(opened, 2)
        push(opened, 3)
    assert things(other) == [1, 2, 3]
    assert segments(opened) == []
    assert opened.verify_history().clean


FOLD_AND_DIE = """
import os, sys
from fs_core import FeatureStore
from fs_core.offline.delta.journal import segment

def die(*_):
    os.kill(os.getpid(), 9)

setattr(segment.Claimed, sys.argv[2], die)
FeatureStore(sys.argv[1]).history("v")
"""


@pytest.mark.parametrize("moment", ["mark", "remove"])
def test_a_fold_whose_process_died(opened: FeatureStore, moment: str) -> None:
    """A process that is killed before its commit, or before it deletes what it has committed, harms nothing."""
    push(opened, 1)
    assert ended(FOLD_AND_DIE, str(opened.directory), moment) == -9
    assert len(segments(opened)) == 1
    push(opened, 2)
    assert things(opened) == [1, 2]


def test_a_push_that_finds_no_room(opened: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that raised has written nothing; the next one is there."""
    push(opened, 1)

    def half(file: int, data: Any) -> int:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(write(file, data[:20]))
        return 20

    write, written = segment.os.write, list[int]()
    with monkeypatch.context() as full:
        full.setattr(segment.os, "write", half)
        with pytest.raises(OfflineStoreError, match="No space left"):
            push(opened, 2)
    push(opened, 3)
    assert things(opened) == [1, 3]


def test_who_may_not_write_reads_the_table(
    opened: FeatureStore, other: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader on a read-only disk reads what is in the table, and the log says that pushes may be missing."""
    push(opened, 1)
    assert things(opened) == [1]
    push(opened, 2)

    def read_only(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as reader, caplog.at_level(logging.WARNING, "fs_core"):
        reader.setattr(journal, "claimed", read_only)
        assert things(other) == [1]
    assert "what was pushed just now may be missing, since this process can't write" in caplog.text
    assert things(other) == [1, 2]


def test_many_processes_that_pushed_and_died(opened: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What any number of processes left is one commit; who pushes next sees to it when there are many."""
    monkeypatch.setattr(journal, "_MOST_SEGMENTS", 5)
    for k in range(5):
        with FeatureStore(opened.directory) as ended:
            push(ended, k)
            ended.__dict__.pop("offline")  # as if killed: it settles nothing
    assert len(segments(opened)) == 5
    push(opened, 5)
    assert segments(opened) == []
    assert DeltaTable(str(table_of(opened))).version() == 0
    assert things(opened) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("name", "value"), [("_MOST_BYTES", 2_000), ("_MOST_SECONDS", 0.0)])
def test_pushes_reach_the_table_in_time(
    opened: FeatureStore, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    """A segment that is large or old is folded by the next push, so that programs which read the table aren't far."""
    monkeypatch.setattr(journal, name, value)
    for k in range(12):
        push(opened, k)
    assert DeltaTable(str(table_of(opened))).to_pyarrow_table().num_rows >= 6


def test_many_small_files_are_merged(opened: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often history is read between pushes, few files remain; every state still reads the same."""
    monkeypatch.setattr(merging, "_MANY", 12)
    states = {}
    for k in range(60):
        push(opened, k)
        states[opened.offline.snapshot(VIEW)] = k
    assert len(DeltaTable(str(table_of(opened))).file_uris()) < 12 + 16 + 2
    assert things(opened) == list(range(60))
    for state, k in list(states.items())[::7]:
        assert opened.offline.read(VIEW, snapshot=state)["k"].to_pylist() == list(range(k + 1))
    assert opened.verify_history().clean


def test_threads_that_push_and_read(opened: FeatureStore, other: FeatureStore) -> None:
    """Threads of two stores that push while others read lose nothing, double nothing, and see their own pushes."""
    ends = time.monotonic() + 2

    def work(me: int) -> list[int]:
        store, mine = (opened, other)[me % 2], list[int]()
        while time.monotonic() < ends:
            mine.append(1000 * me + len(mine))
            push(store, mine[-1])
            if me < 2 and len(mine) % 5 == 0:
                assert set(mine) <= set(things((other, opened)[me % 2]))
        return mine

    with ThreadPoolExecutor(6) as threads:
        pushed = [k for mine in threads.map(work, range(6)) for k in mine]
    assert sorted(things(opened)) == sorted(pushed)
    assert opened.verify_history().clean


def test_a_new_month_is_on_disk_before_its_segment_is_deleted(
    opened: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data file, its directory, the log, and the directories in which a table and a month appear."""
    push(opened, 1)
    (file,) = segments(opened)
    brought = list[Path]()

    def bring(*paths: Path) -> None:
        assert file.exists()
        brought.extend(paths)

    monkeypatch.setattr(log, "bring_to_disk", bring)
    assert things(opened) == [1]
    table = table_of(opened)
    (data,) = table.glob("*/*.parquet")
    assert {data, data.parent, table, table.parent, table / "_delta_log"} <= set(brought)


def test_what_was_written_before_is_on_disk_with_a_fold(opened: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the commits before its own a fold can't be read; those that are there already aren't waited for again."""
    brought = list[Path]()
    monkeypatch.setattr(log, "bring_to_disk", lambda *paths: brought.extend(paths))
    for first in (0, 4):
        for k in range(first, first + 3):
            opened.write(VIEW, {"k": [k], "event_timestamp": [DAY], "x": ["written"]})
        push(opened, first + 3)
        assert things(opened) == list(range(first + 4))
        entries = {path.name for path in brought if path.suffix == ".json"}
        assert entries == {f"{state:020}.json" for state in range(first, first + 4)}
        assert len([path for path in brought if path.suffix == ".parquet"]) == 4
        brought.clear()


def test_names_are_in_the_log(opened: FeatureStore) -> None:
    """A commit of pushes names every segment that it brought: so it is known that they are in the table."""
    push(opened, 1)
    (file,) = segments(opened)
    assert things(opened) == [1]
    entry = (table_of(opened) / "_delta_log" / f"{0:020}.json").read_text()
    names = [json.loads(line)["commitInfo"]["fs_core.append"] for line in entry.splitlines() if "commitInfo" in line]
    assert names == [file.stem]
