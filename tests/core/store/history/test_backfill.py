"""Backfilling again: what is there already isn't written again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import SQL, FeatureStore, Source
from fs_core.errors import ConfigurationError, DataError, OfflineStoreError, SchemaError, SourceError, ValidationError
from fs_core.offline.delta import locks
from fs_core.offline.delta.locks import TableLocks
from tests.core.store.history.orders import START, USER, Row, filled, in_parts, opened, rows_of, table, view, written


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with a view over a file that `filled` writes."""
    return opened(tmp_path)


def test_an_incremental_backfill_writes_new_late_and_corrected_rows_alone(store: FeatureStore) -> None:
    """A source that grew is written as far as it grew: a new row, one of long ago, a corrected value, a null."""
    first: list[Row] = [(1, 0, 1.0), (1, 5, 2.0), (2, 3, None)]
    filled(store, first)
    assert store.backfill("orders_of", incremental=True) == 3
    assert store.backfill("orders_of", incremental=True) == 0
    filled(store, [(1, 0, 1.0), (1, 5, 2.5), (2, 3, None), (2, 1, 7.0), (3, 9, float("nan"))])
    assert store.backfill("orders_of", incremental=True) == 3
    assert [row[:2] for row in written(store)[3:]] == [(1, 5), (2, 1), (3, 9)]
    assert store.backfill("orders_of", incremental=True) == 0


def test_incremental_backfills_at_once_add_nothing_twice(store: FeatureStore, tmp_path: Path) -> None:
    """Of several that begin together, of stores of their own, one writes the rows and the others find them there."""
    filled(store, [(user, 0, 1.0) for user in range(50)])
    begin = threading.Barrier(4)

    def backfilled() -> int:
        with FeatureStore(tmp_path / "store") as other:
            begin.wait(60)
            return int(other.backfill("orders_of", incremental=True))

    with ThreadPoolExecutor(4) as threads:
        counts = [threads.submit(backfilled) for _ in range(4)]
        assert sorted(count.result() for count in counts) == [0, 0, 0, 50]
    assert len(written(store)) == 50


def test_a_backfill_that_waits_for_itself_ends(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come from such a backfill of the same view can't be waited for: the error says what holds it up."""
    monkeypatch.setattr(locks, "_TURN_SECONDS", 0.1)
    filled(store, [(1, 0, 1.0)])

    def nested() -> Iterator[pa.RecordBatch]:
        store.backfill("orders_of", incremental=True)
        yield from ()

    schema = table([]).schema
    with pytest.raises(OfflineStoreError, match=r"view 'orders_of:v1\.0\.0': another incremental backfill, release or"):
        store.backfill("orders_of", pa.RecordBatchReader.from_batches(schema, nested()), incremental=True)
    assert store.backfill("orders_of", incremental=True) == 1


def test_release_and_carry_over_take_turns_with_backfills(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They look what is there and add what isn't, too."""
    monkeypatch.setattr(locks, "_TURN_SECONDS", 0.1)
    store.apply(view(version="2.0.0"))
    target = store.view("orders_of:v2.0.0")
    with store.offline.comparing(target):  # type: ignore[attr-defined]  # Delta's has it
        with pytest.raises(OfflineStoreError, match="another incremental backfill"):
            store.carry_over(target, from_="orders_of:v1.0.0")
        with pytest.raises(OfflineStoreError, match="another incremental backfill"):
            store.release(target)


def test_who_may_only_read_waits_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is missing nothing need be written, so the lock that can't be had isn't missed."""
    with opened(tmp_path) as made:
        filled(made, [(1, 0, 1.0)])
        assert made.backfill("orders_of", incremental=True) == 1
        monkeypatch.setattr(TableLocks, "_open", _refuse)
        assert made.backfill("orders_of", incremental=True) == 0


def _refuse(*_: object) -> int:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_value_that_went_and_came_back_is_written_again(store: FeatureStore) -> None:
    """History has the old value already, but another one wins: the row is written once more, and only once."""
    for amount in (1.0, 2.0, 1.0):
        filled(store, [(1, 0, amount)])
        assert store.backfill("orders_of", incremental=True) == 1
        assert store.backfill("orders_of", incremental=True) == 0
    spine = {"user_id": [1], "event_timestamp": [START + timedelta(days=1)]}
    assert store.get_historical_features(spine, ["orders_of.amount"]).table["amount"].to_pylist() == [1.0]


def test_a_pushed_row_is_not_written_again_by_a_backfill(store: FeatureStore) -> None:
    """What was pushed is the same fact in the source: it keeps the moment at which it became known."""
    store.push("orders_of", {"user_id": [1], "event_timestamp": [START], "amount": [1.0]})
    filled(store, [(1, 0, 1.0), (1, 1, 2.0)])
    assert store.backfill("orders_of", incremental=True) == 1
    spine = {"user_id": [1], "event_timestamp": [START + timedelta(minutes=1)]}
    assert store.get_historical_features(spine, ["orders_of.amount"]).table["amount"].to_pylist() == [None]


def test_rows_that_differ_in_availability_are_others_where_it_is_declared(tmp_path: Path) -> None:
    """With a column for availability, the same value that became known at another moment is another row."""
    path = tmp_path / "orders.parquet"
    query = "SELECT user_id, paid_at AS event_timestamp, known AS known_at, amount FROM orders"
    store = FeatureStore(tmp_path / "store")
    rows = table([(1, 0, 1.0)])
    pq.write_table(rows.append_column("known", rows["paid_at"]), path)
    store.apply(Source("orders", path=str(path), description="O."), view(source=SQL(query), available_at="known_at"))
    assert store.backfill("orders_of", incremental=True) == 1
    later = pa.array([START + timedelta(hours=1)], pa.timestamp("us", "UTC"))
    pq.write_table(rows.append_column("known", later), path)
    assert store.backfill("orders_of", incremental=True) == 1
    assert store.backfill("orders_of", incremental=True) == 0


def test_lookback_bounds_what_is_looked_through(store: FeatureStore) -> None:
    """Rows older than the lookback before the newest event are left alone, those within it are compared."""
    filled(store, [(1, 0, 1.0), (1, 100, 2.0)])
    store.backfill("orders_of", incremental=True, lookback="2d")
    filled(store, [(1, 0, 9.0), (1, 60, 3.0), (1, 100, 2.0), (1, 110, 4.0)])
    assert store.backfill("orders_of", incremental=True, lookback="2d") == 2
    assert [row[1] for row in written(store)[2:]] == [60, 110]
    with pytest.raises(ConfigurationError, match="incremental=True"):
        store.backfill("orders_of", lookback="2d")


@pytest.mark.parametrize("given", [rows_of, lambda rows: in_parts(rows_of(rows))], ids=["table", "stream"])
def test_data_stands_in_place_of_what_the_source_yields(store: FeatureStore, given: Callable[[list[Row]], Any]) -> None:
    """Bounds, and what is there already, are left out of it as well; a view needs no source for that."""
    assert store.backfill("orders_of", given([(1, 0, 1.0), (1, 100, 2.0)]), incremental=True) == 2
    more: list[Row] = [(1, 0, 9.0), (1, 60, 3.0), (1, 100, 2.0), (2, 110, None)]
    assert store.backfill("orders_of", given(more), incremental=True, lookback="2d") == 2
    assert store.backfill("orders_of", given(more), incremental=True, lookback="2d") == 0
    assert [row[1] for row in written(store)[2:]] == [60, 110]
    bounds = {"start": START + timedelta(hours=1), "end": START + timedelta(hours=100)}
    assert store.backfill("orders_of", given(more), **bounds) == 1
    store.apply(replace(view(source=None), name="bare"))
    assert store.backfill("bare", given(more)) == 4
    with pytest.raises(SourceError, match="Use write or push, pass rows as data"):
        store.backfill("bare")


@pytest.mark.parametrize("filled_before", [False, True])
@pytest.mark.parametrize("given", [lambda rows: rows, in_parts], ids=["table", "stream"])
def test_data_that_is_refused_writes_nothing(
    store: FeatureStore, given: Callable[[pa.Table], Any], filled_before: bool
) -> None:
    """The errors are those of `write`, with bounds or without."""
    if filled_before:
        store.write("orders_of", rows_of([(1, 0, 1.0)]))
    before, good = written(store), rows_of([(1, 1, 1.0), (1, 2, 1.0)])
    no_times = good.set_column(1, "event_timestamp", pa.array([1, 2]))
    a_time = good.set_column(1, "event_timestamp", pa.array([1, None], pa.time64("us")))
    a_span = good.set_column(1, "event_timestamp", pa.array([1, 2], pa.duration("us")))
    null_time = good.set_column(1, "event_timestamp", pa.array([START, None], pa.timestamp("us", "UTC")))
    no_user = good.set_column(0, "user_id", pa.array([1, None], pa.int64()))
    for options in ({}, {"start": START, "end": START + timedelta(days=1), "incremental": True}):
        for bad, error, text in (
            (good.drop_columns("amount"), SchemaError, "missing column 'amount'"),
            (good.drop_columns("event_timestamp"), SchemaError, "missing column 'event_timestamp'"),
            (good.append_column("more", good["amount"]), SchemaError, "unexpected column 'more'"),
            (no_times, SchemaError, "'event_timestamp' is int64, not a timestamp"),
            (a_time, SchemaError, r"view 'orders_of': .*'event_timestamp' is time64\[us\].*Nothing was written"),
            (a_span, SchemaError, r"view 'orders_of': .*'event_timestamp' is duration\[us\].*Nothing was written"),
            (null_time, ValidationError, "'event_timestamp' is null in row"),
            (no_user, ValidationError, "'user_id' is null in row"),
        ):
            with pytest.raises(error, match=text):
                store.backfill("orders_of", given(bad), **options)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="Read a file first"):
        store.backfill("orders_of", "orders.parquet")
    assert written(store) == before


@pytest.mark.parametrize("time", ["NULL", "TIMESTAMP '20000-01-01'"])
def test_a_source_without_times_is_refused_within_bounds_too(store: FeatureStore, time: str) -> None:
    """The error names the view; a time that is null is refused, not left out without a word."""
    filled(store, [(1, 0, 1.0)])
    query = f"SELECT user_id, {time} AS event_timestamp, amount FROM orders"
    store.apply(view(version="2.0.0", source=SQL(query)))
    refused = r"view 'orders_of': .*(is null in row 0|outside the years 1 to 9999)\. Nothing was written"
    for start in (None, START):
        with pytest.raises(DataError, match=refused):
            store.backfill("orders_of", start=start)


def test_a_lookback_beyond_all_time_looks_through_everything(store: FeatureStore) -> None:
    """It is no error, of a source or of data."""
    filled(store, [(1, 0, 1.0)])
    store.backfill("orders_of")
    filled(store, [(1, 0, 1.0), (1, -9999, 2.0)])
    assert store.backfill("orders_of", incremental=True, lookback=timedelta.max) == 1
    late = rows_of([(1, -99999, 2.0)])
    assert store.backfill("orders_of", late, incremental=True, lookback="500000000d") == 1


PROGRAM = """
import os, signal, sys
from fs_core import FeatureStore
store = FeatureStore(sys.argv[1])
append = store.offline.append
def dying(view, rows):
    if sys.argv[2] == "after":
        append(view, rows)
    os.kill(os.getpid(), signal.SIGKILL)
store.offline.append = dying
store.backfill("orders_of", incremental=True)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_backfill_killed_in_the_middle_and_run_again_writes_each_row_once(store: FeatureStore, moment: str) -> None:
    """Whether it died before or after its rows were in history, the next run writes exactly what is missing."""
    filled(store, [(1, 0, 1.0)])
    store.backfill("orders_of", incremental=True)
    filled(store, [(1, hour, float(hour)) for hour in range(10)] + [(1, 0, 1.0)])
    died = subprocess.run([sys.executable, "-c", PROGRAM, str(store.directory), moment], check=False, env=os.environ)
    assert died.returncode == -signal.SIGKILL
    store.backfill("orders_of", incremental=True)
    assert sorted(written(store)) == sorted([(1, hour, float(hour)) for hour in range(10)] + [(1, 0, 1.0)])
    assert store.backfill("orders_of", incremental=True) == 0


sources = st.lists(
    st.lists(st.tuples(st.integers(1, 2), st.integers(0, 3), st.sampled_from([1.0, 2.0, None])), max_size=6),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(versions=sources)
def test_incremental_backfills_answer_as_the_last_source_does(
    tmp_path_factory: pytest.TempPathFactory, versions: list[list[Row]]
) -> None:
    """However a source of one row for each user and hour changes, history answers what its last edition says."""
    directory = tmp_path_factory.mktemp("versions")
    store = FeatureStore(directory / "store")
    pq.write_table(table([]), directory / "orders.parquet")
    store.apply(USER, Source("orders", path=str(directory / "orders.parquet"), description="Orders."), view())
    latest: dict[tuple[int, int], float | None] = {}
    for edition in versions:
        now = {(user, hour): amount for user, hour, amount in edition}
        filled(store, [(*key, amount) for key, amount in now.items()])
        changed = sum(key not in latest or latest[key] != amount for key, amount in now.items())
        assert store.backfill("orders_of", incremental=True) == changed
        latest |= now
    if latest:
        moments = sorted(latest)
        spine = {
            "user_id": [user for user, _ in moments],
            "event_timestamp": [START + timedelta(hours=hour) for _, hour in moments],
        }
        found = store.get_historical_features(spine, ["orders_of.amount"]).table["amount"].to_pylist()
        assert found == [latest[moment] for moment in moments]
