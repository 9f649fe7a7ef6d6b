"""What is particular to history in Delta tables: paths, files, faults, forks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.offline.contract import Watermark
from fs_core.offline.delta import appending, log
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, STATUS, TIME, history_schema
from fs_core.testing.histories import moments
from fs_core.testing.offline_suite import counted, counter
from fs_core.testing.processes import FRESH
from fs_core.values.times import micros

SPINE = pa.table({"thing": [1], TIME: moments([5])})
MONTHS = ["0001-01-01", "0999-12-31", "1970-01-01", "2024-02-29", "9999-12-31"]


def by_month(*days: str) -> pa.Table:
    """Rows of one entity, one a day, numbered from 0."""
    times, numbers = moments([micros(day) for day in days]), list(range(len(days)))
    columns = {"thing": [1] * len(days), EVENT_TIME: times, AVAILABLE_AT: times, SEQ: numbers, "value": numbers}
    return pa.table(columns, schema=history_schema(counter))


@pytest.mark.parametrize(
    "name", ["a b", "é", "it's", "st*r", "wh?t", "a#b", 'a"b', "a&b;c", "{x}", "__event_month=1-1"]
)
def test_any_directory_that_delta_can_use(tmp_path: Path, name: str) -> None:
    """A store works in a directory whose name a URL, a glob or SQL would read otherwise."""
    store = DeltaOfflineStore(tmp_path / name)
    store.append(counter, counted([1]))
    assert store.read(counter)["value"].to_pylist() == [1]
    assert store.as_of(counter, SPINE, ["value"])["value"].to_pylist() == [1]
    assert (tmp_path / name / counter.storage_name / "_delta_log").is_dir()


@pytest.mark.parametrize("name", ["a[1]", "a%20b", "a|b", "a^b", "a\\b"])
def test_directories_that_delta_cannot_use_are_refused(tmp_path: Path, name: str) -> None:
    """A name on which the Delta library fails, or that it takes for another, is refused at once."""
    with pytest.raises(ConfigurationError, match="Choose another directory"):
        DeltaOfflineStore(tmp_path / name)


def test_a_relative_directory_is_found_after_moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative directory means the working directory of the moment the store was opened."""
    monkeypatch.chdir(tmp_path)
    store = DeltaOfflineStore("history")
    store.append(counter, counted([1]))
    monkeypatch.chdir("/")
    assert store.read(counter).num_rows == 1


def test_months_are_partitions(tmp_path: Path) -> None:
    """Each month of event time, of any year, is a partition named so that text order is time order."""
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, by_month(*MONTHS))
    partitions = sorted(path.name for path in (tmp_path / counter.storage_name).glob("__event_month=*"))
    assert partitions == [f"__event_month={day[:7]}" for day in MONTHS]
    spine = pa.table({"thing": [1] * 5, TIME: moments([micros(day) for day in MONTHS])})
    assert store.as_of(counter, spine, ["value"])["value"].to_pylist() == [0, 1, 2, 3, 4]


def test_later_months_are_not_read(tmp_path: Path) -> None:
    """Files too late to hold a candidate aren't opened: they may even be gone."""
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, by_month("2024-01-31", "2024-02-01"))
    for file in (tmp_path / counter.storage_name / "__event_month=2024-02").iterdir():
        file.unlink()
    spine = pa.table({"thing": [1], TIME: moments([micros("2024-01-31")])})
    assert store.as_of(counter, spine, ["value"])["value"].to_pylist() == [0]


def test_rows_lie_sorted_by_key_and_availability(tmp_path: Path) -> None:
    """Within a file, rows lie in the order in which they are searched, whatever order they came in."""
    import pyarrow.parquet as pq

    store = DeltaOfflineStore(tmp_path)
    rows = pa.concat_tables([counted([9, 3, 5]), counted([4]).set_column(0, "thing", pa.array([3]))])
    store.append(counter, rows)
    (file,) = (tmp_path / counter.storage_name).glob("*/*.parquet")
    stored = pq.read_table(file, partitioning=None)
    assert list(zip(stored["thing"].to_pylist(), stored[SEQ].to_pylist(), strict=True)) == [
        (3, 3),
        (3, 4),
        (5, 5),
        (9, 9),
    ]


def test_old_states_are_never_cleaned_up(tmp_path: Path) -> None:
    """A table is made to keep its log for ever, since a training set may be recreated from any state."""
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, counted([1]))
    configuration = DeltaTable(str(tmp_path / counter.storage_name)).metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"


def test_states_outlive_checkpoints(tmp_path: Path) -> None:
    """After several checkpoints, every state can still be read."""
    store = DeltaOfflineStore(tmp_path)
    for number in range(24):
        store.append(counter, counted([number]))
    assert len(list((tmp_path / counter.storage_name / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    for state in range(24):
        assert store.read(counter, snapshot=state)[SEQ].to_pylist() == list(range(state + 1))
    assert store.read(counter)[SEQ].to_pylist() == list(range(24))


def test_a_later_moment_than_any_calendar(tmp_path: Path) -> None:
    """Moments at the ends of int64 neither overflow the pruning nor the ttl."""
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, counted([1]))
    spine = pa.table({"thing": [1, 1], TIME: moments([2**63 - 2, -(2**63) + 2])})
    found = store.as_of(counter, spine, ["value"])
    assert found[STATUS].to_pylist() == ["expired", "missing"]


@pytest.fixture
def damaged(tmp_path: Path) -> tuple[DeltaOfflineStore, Path]:
    """A store with one row, and where its table lies."""
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, counted([1]))
    return store, tmp_path / counter.storage_name


@pytest.mark.parametrize("content", [b'{"add": garbage\n', b"\xff\xfe\x00"])
def test_a_corrupt_log(damaged: tuple[DeltaOfflineStore, Path], content: bytes) -> None:
    """A damaged log is an error that names the view and the directory, when reading and when writing."""
    store, directory = damaged
    (directory / "_delta_log" / f"{0:020}.json").write_bytes(content)
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't open its history at .*counter-"):
        store.read(counter)
    with pytest.raises(OfflineStoreError, match="can't append"):
        store.append(counter, counted([2]))


def test_an_old_entry_of_the_log_that_is_damaged(tmp_path: Path) -> None:
    """What only those need who compact or erase is an error that names the view, too; appending goes on."""
    store = DeltaOfflineStore(tmp_path)
    for number in range(12):  # an entry before a checkpoint
        store.append(counter, counted([number]))
    (tmp_path / counter.storage_name / "_delta_log" / f"{3:020}.json").write_bytes(b'{"add": garbage\n')
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't compact its history at"):
        store.compact(counter)
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't erase from its history at"):
        store.erase(counter, pa.table({"thing": [3]}))
    store.append(counter, counted([12]))


def test_a_lost_file(damaged: tuple[DeltaOfflineStore, Path]) -> None:
    """A file that is gone is an error, never fewer rows."""
    store, directory = damaged
    next(directory.glob("*/*.parquet")).unlink()
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't read"):
        store.read(counter)
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't search"):
        store.as_of(counter, SPINE, ["value"])
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't read"):
        store.winners(counter, until=5).rows.read_all()


def test_a_truncated_file(damaged: tuple[DeltaOfflineStore, Path]) -> None:
    """A file cut short is an error, never fewer rows."""
    store, directory = damaged
    file = next(directory.glob("*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(OfflineStoreError, match="can't read"):
        store.read(counter)


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    """A file where the directory should be is an error that names the view and the path."""
    (tmp_path / "history").write_text("a file")
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't append to its history at"):
        DeltaOfflineStore(tmp_path / "history").append(counter, counted([1]))


def test_a_read_only_directory() -> None:
    """History in a directory without write permission can be read; writing says what can't be written."""
    directory = Path(tempfile.mkdtemp())
    try:
        DeltaOfflineStore(directory).append(counter, counted([1]))
        with FRESH.Pool(1) as pool:
            rows, message = pool.apply(_use_without_permission, (directory,))
        assert rows == 1
        assert "view 'counter:v1.0.0': can't append to its history at" in message
        assert "denied" in message.lower()
    finally:
        shutil.rmtree(directory)


def _use_without_permission(directory: Path) -> tuple[int, str]:
    """Read and write as a user who may only read; root may do anything, so it steps down first."""
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    store = DeltaOfflineStore(directory)
    try:
        store.append(counter, counted([2]))
    except OfflineStoreError as error:
        return store.read(counter).num_rows, str(error)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        for path in [directory, *directory.rglob("*")]:
            path.chmod(0o755)
    return store.read(counter).num_rows, "no error"


def test_an_append_that_loses_races_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that others beat to the commit more often than Delta itself retries still succeeds."""
    write, losses = appending.write, [CommitFailedError("too many attempts")] * 5

    def beaten(*arguments: Any) -> Any:
        if losses:
            raise losses.pop()
        return write(*arguments)

    monkeypatch.setattr(appending, "write", beaten)
    store = DeltaOfflineStore(tmp_path)
    assert store.append(counter, counted([1])) == 0
    assert store.read(counter).num_rows == 1


def test_an_append_that_always_loses_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no try succeeds in time, the error names the view, and nothing was written."""

    def beaten(*_: Any) -> Any:
        raise CommitFailedError("too many attempts")

    monkeypatch.setattr(appending, "write", beaten)
    monkeypatch.setattr(appending, "COMMIT_SECONDS", 0.2)
    store = DeltaOfflineStore(tmp_path)
    with pytest.raises(OfflineStoreError, match=r"view 'counter:v1.0.0': can't append .*: too many attempts"):
        store.append(counter, counted([1]))
    assert store.snapshot(counter) == -1


def test_winners_when_the_old_state_is_gone(tmp_path: Path) -> None:
    """A watermark on a state that isn't kept covers nothing: rather too many rows than too few."""
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, counted([1, 2]))
    run = store.winners(counter, until=9, since=Watermark(77, 9))
    assert run.rows.read_all()["value"].to_pylist() == [1, 2]
    assert run.watermark == Watermark(0, 9)


FORKED = """
import os, sys
from fs_core.errors import OfflineStoreError
from fs_core.offline.delta.store import DeltaOfflineStore
from fs_core.testing.offline_suite import counted, counter

store = DeltaOfflineStore(sys.argv[1])
if sys.argv[2] == "used":
    store.append(counter, counted([1]))
child = os.fork()
if child == 0:
    try:
        store.append(counter, counted([2]))
        print("rows", store.read(counter).num_rows, flush=True)
    except OfflineStoreError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("use", "says"), [("unused", "rows 1"), ("used", "Start the process with spawn")])
def test_a_forked_process(tmp_path: Path, use: str, says: str) -> None:
    """A process forked before history was used works; one forked after gets an error that says what to do instead."""
    run = subprocess.run(
        [sys.executable, "-c", FORKED, str(tmp_path), use], capture_output=True, text=True, timeout=60, check=True
    )
    assert says in run.stdout


def test_the_clock_of_the_machine_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any time zone of the process, moments are UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    store = DeltaOfflineStore(tmp_path)
    store.append(counter, by_month("2024-03-01"))
    assert store.read(counter)[EVENT_TIME].to_pylist() == [datetime(2024, 3, 1, tzinfo=UTC)]
    just_before = pa.table({"thing": [1], TIME: moments([micros("2024-03-01") - 1])})
    assert store.as_of(counter, just_before, ["value"])[STATUS].to_pylist() == ["missing"]


def test_a_table_that_is_open_is_asked_for_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has just appended reads without opening the table again; what others append is seen, and earlier states."""
    one, other = DeltaOfflineStore(tmp_path), DeltaOfflineStore(tmp_path)
    first, second = one.append(counter, counted([1])), one.append(counter, counted([2]))
    opened, table = list[object](), log.DeltaTable

    def counting(*arguments: Any, **options: Any) -> DeltaTable:
        opened.append(options)
        return table(*arguments, **options)

    monkeypatch.setattr(log, "DeltaTable", counting)
    assert one.read(counter)["value"].to_pylist() == [1, 2]
    assert opened == []
    third = other.append(counter, counted([3]))
    assert one.read(counter)["value"].to_pylist() == [1, 2, 3]
    for state, values in ((first, [1]), (second, [1, 2]), (third, [1, 2, 3])):
        assert one.read(counter, snapshot=state)["value"].to_pylist() == values
