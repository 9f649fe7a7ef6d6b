"""Backfilling again: what is there already isn't written again; and carrying history over to a new version."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import SQL, Aggregation, Entity, FeatureStore, FeatureView, Field, Source
from fs_core.errors import (
    ConfigurationError,
    DataError,
    DefinitionError,
    OfflineStoreError,
    SchemaError,
    SourceError,
    ValidationError,
)

USER = Entity("user", keys={"user_id": "int64"}, description="A customer.")
START = datetime(2024, 1, 1, tzinfo=UTC)
Row = tuple[int, int, float | None]  # user, hours since the start, value


def view(**changes: Any) -> FeatureView:
    """A view of orders that come from a file."""
    about: dict[str, Any] = {
        "fields": [Field("amount", "float64", "Paid.")],
        "source": SQL("SELECT user_id, paid_at AS event_timestamp, amount FROM orders"),
        "description": "Orders.",
        "version": "1.0.0",
    }
    return FeatureView("orders_of", entity=USER, **{**about, **changes})


def table(rows: list[Row]) -> pa.Table:
    """Rows of the file."""
    users, hours, amounts = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {
        "user_id": pa.array(users, pa.int64()),
        "paid_at": pa.array([START + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC")),
        "amount": pa.array(amounts, pa.float64()),
    }
    return pa.table(columns)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with a view over a file that `filled` writes."""
    store = FeatureStore(tmp_path / "store")
    pq.write_table(table([]), tmp_path / "orders.parquet")
    store.apply(USER, Source("orders", path=str(tmp_path / "orders.parquet"), description="Orders."), view())
    return store


def filled(store: FeatureStore, rows: list[Row]) -> Path:
    """Give the source other rows."""
    path = Path(store.directory).parent / "orders.parquet"
    pq.write_table(table(rows), path)
    return path


def written(store: FeatureStore, ref: str = "orders_of") -> list[tuple[Any, ...]]:
    """Return history in the order written."""
    found = store.history(ref)
    hours = [(t - START) // timedelta(hours=1) for t in found["__event_time"].to_pylist()]
    return list(zip(found["user_id"].to_pylist(), hours, found["amount"].to_pylist(), strict=True))


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


def rows_of(rows: list[Row]) -> pa.Table:
    """Rows in the columns of the view."""
    return table(rows).rename_columns(["user_id", "event_timestamp", "amount"])


def in_parts(given: pa.Table, rows: int = 1) -> pa.RecordBatchReader:
    """Rows as a stream of small batches."""
    return pa.RecordBatchReader.from_batches(given.schema, given.to_batches(rows))


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


@pytest.mark.parametrize("rows", [10**9, 7], ids=["whole", "parts"])
@pytest.mark.parametrize("filled_before", [False, True])
def test_rows_are_counted_as_in_the_data_whatever_bounds_leave_out(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, rows: int, filled_before: bool
) -> None:
    """Row 40 of 50 is row 40 also where `start` leaves out 20, in errors as among quarantined rows."""
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", 24 * rows)
    fields = [Field("amount", "float64", "Paid.", minimum=0)]
    store.apply(view(version="2.0.0", source=None, fields=fields))
    store.apply(replace(view(source=None, fields=fields, on_violation="quarantine"), name="lenient"))
    if filled_before:
        for name in ("orders_of", "lenient"):
            store.write(name, rows_of([(9, 0, 1.0)]))
    given = rows_of([(1, hour, -1.0 if hour in (10, 40) else 1.0) for hour in range(50)])
    bounds = {"start": START + timedelta(hours=20), "end": START + timedelta(hours=48)}
    found = store.backfill("lenient", in_parts(given, rows), **bounds)  # type: ignore[arg-type]
    assert (found, found.quarantined["row"].to_pylist()) == (27, [40])
    bad = rows_of([(1, hour, -1.0 if hour == 40 else 1.0) for hour in range(50)])
    with pytest.raises(ValidationError) as raised:
        store.backfill("orders_of", in_parts(bad, rows), **bounds)  # type: ignore[arg-type]
    numbers = re.findall(r"in row (\d+)|from row ([\d,]+) of the data", str(raised.value))
    assert sum(int(number) for pair in numbers for number in pair if number) == 40


def compared(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what will hold how many rows are compared with history, each time."""
    counts, unwritten = list[int](), store.offline.unwritten

    def counted(of: FeatureView, rows: pa.Table) -> pa.Table:
        counts.append(rows.num_rows)
        return unwritten(of, rows)

    monkeypatch.setattr(store.offline, "unwritten", counted)
    return counts


def test_parts_are_compared_with_history_together(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison reads all of history, so what lies in many buckets is compared once."""
    store.write("orders_of", rows_of([(1, 0, 1.0)]))
    rows = rows_of([(user, 0, 1.0) for user in range(500)])
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", rows.nbytes // 4)
    counts = compared(store, monkeypatch)
    assert store.backfill("orders_of", in_parts(rows, 50), incremental=True) == 499
    assert counts == [500]


@pytest.mark.parametrize("entity", [None, USER])
def test_events_are_compared_in_parts_and_keep_their_order(
    fresh_directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, entity: Entity | None
) -> None:
    """By their ids, also where all are of one entity; of events of one moment the later one in the data is the last."""
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", 1)
    last = Aggregation("last", "amount", windows=[None])
    fields = [Field("id", "int64", "I."), Field("amount", "float64", "Paid.")]
    events = FeatureView("orders_of", entity, fields, event_id=["id"], aggregations=[last], description="Orders.")
    with FeatureStore(fresh_directory()) as store:
        store.apply(USER, events)
        columns = {"event_timestamp": [START] * 20, "id": range(20), "amount": [n / 4 for n in range(20)]}
        rows = pa.table({**({"user_id": [1] * 20} if entity else {}), **columns})
        store.backfill("orders_of", rows.slice(7, 1))
        counts = compared(store, monkeypatch)
        assert store.backfill("orders_of", in_parts(rows), incremental=True) == 19
        assert len(counts) > 1
        assert store.history("orders_of")["id"].to_pylist() == [7, *range(7), *range(8, 20)]
        spine = {"event_timestamp": [START], **({"user_id": [1]} if entity else {})}
        found = store.get_historical_features(spine, "orders_of").table
        assert found["amount_last"].to_pylist() == [19 / 4]


def test_a_plain_backfill_takes_no_disk_and_keeps_the_order(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond one part, too: the first part alone is compared, for the warning."""
    store.write("orders_of", rows_of([(0, 0, 1.0)]))
    monkeypatch.setattr("fs_core.store.history.parts._PART_BYTES", 24)
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    counts = compared(store, monkeypatch)
    rows: list[Row] = [(user, 0, 1.0) for user in range(30)]
    with caplog.at_level(logging.WARNING, "fs_core"):
        assert store.backfill("orders_of", in_parts(rows_of(rows))) == 30
    assert written(store)[1:] == rows
    assert counts == [1]
    assert "history had 1 of the first 1 rows already" in caplog.text
    with pytest.raises(OfflineStoreError, match=r"(?s)don't fit into .*/nowhere.*TMPDIR.*lookback"):
        store.backfill("orders_of", in_parts(rows_of(rows)), incremental=True)


repeated = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.sampled_from([1.0, 2.0, None])), max_size=12)


@settings(max_examples=8)
@given(editions=st.lists(repeated, min_size=2, max_size=3), incremental=st.booleans())
def test_rows_that_come_in_parts_are_compared_as_if_they_came_at_once(
    fresh_directory: Callable[[], Path], editions: list[list[Row]], incremental: bool
) -> None:
    """Rows of one user and hour that lie in different parts are rivals all the same: history is the same."""
    found = []
    for size in (1, 10**9):
        with FeatureStore(fresh_directory()) as store, pytest.MonkeyPatch.context() as patch:
            patch.setattr("fs_core.store.history.parts._PART_BYTES", size)
            store.apply(USER, view(source=None))
            counts = [store.backfill("orders_of", in_parts(rows_of(e)), incremental=incremental) for e in editions]
            found.append((counts, written(store)))
    assert found[0] == found[1]


def test_a_plain_second_backfill_says_that_it_repeats_rows(
    store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning counts the rows that history has twice now and names what doesn't repeat them."""
    filled(store, [(1, 0, 1.0), (1, 1, 2.0)])
    with caplog.at_level(logging.WARNING, "fs_core"):
        store.backfill("orders_of")
        assert not caplog.records
        filled(store, [(1, 0, 1.0), (1, 1, 2.0), (1, 2, 3.0)])
        store.backfill("orders_of")
    assert "history had 2 of these 3 rows already" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fs_core"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("fs_core.store.history.parts._PART_BYTES", 1)
        store.backfill("orders_of", in_parts(rows_of([(1, 0, 1.0), (1, 1, 2.0), (2, 2, 3.0)])))
    assert "history had 1 of the first 1 rows already" in caplog.text
    assert "incremental=True" in caplog.text


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


def test_a_new_field_keeps_when_past_pushes_became_known(store: FeatureStore) -> None:
    """Carried over, a pushed row is still unknown before its push; refilled by write it would be known too early."""
    store.push("orders_of", {"user_id": [1, 1], "event_timestamp": [START, START], "amount": [1.0, 2.0]})
    store.apply(
        view(
            version="2.0.0",
            fields=[Field("amount", "float64", "Paid."), Field("shop", "string", "Where.")],
            source=None,
        )
    )
    assert store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0") == 2
    old, new = store.history("orders_of:v1.0.0"), store.history("orders_of:v2.0.0")
    for column in ("user_id", "__event_time", "__available_at", "amount"):
        assert new[column].equals(old[column])
    assert new["shop"].null_count == 2
    spine = {"user_id": [1, 1], "event_timestamp": [START + timedelta(hours=1), datetime.now(UTC)]}
    found = store.get_historical_features(spine, ["orders_of.amount"]).table["amount"].to_pylist()
    assert found == [None, 2.0]


def test_carry_over_renames_by_a_mapping_and_widens_types(store: FeatureStore) -> None:
    """A field of another name comes from the old one; a longer lag makes rows known later, never earlier."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    store.apply(view(version="2.0.0", fields=[Field("paid", "float32", "Paid.")], source=None, lag="1h"))
    assert store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0", mapping={"paid": "amount"}) == 1
    new = store.history("orders_of:v2.0.0")
    assert new["paid"].to_pylist() == [1.5]
    assert new["__available_at"].to_pylist() == [START + timedelta(hours=1)]


def refused(**changes: Any) -> FeatureView:
    """A version that can't take the rows."""
    return view(version="2.0.0", source=None, **changes)


@pytest.mark.parametrize(
    ("target", "mapping", "error", "message"),
    [
        (refused(fields=[Field("amount", "string", "A.")]), None, SchemaError, "amount"),
        (refused(fields=[Field("shop", "string", "A.", nullable=False)]), None, ValidationError, "'shop' is null"),
        (refused(fields=[Field("paid", "float64", "A.")]), {"paid": "amout"}, DefinitionError, "Did you mean 'amount'"),
    ],
)
def test_carry_over_that_does_not_fit_writes_nothing(
    store: FeatureStore,
    target: FeatureView,
    mapping: dict[str, str] | None,
    error: type[Exception],
    message: str,
) -> None:
    """Another type, a null where none is allowed, and a misspelt field are named before anything is written."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    store.apply(target)
    with pytest.raises(error, match=message):
        store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0", mapping=mapping)
    assert store.history("orders_of:v2.0.0").num_rows == 0


def test_carry_over_into_a_version_with_rows_is_refused(store: FeatureStore) -> None:
    """Rows that are there would count as written before: the error says what to do."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    store.apply(
        view(version="2.0.0", fields=[Field("amount", "float64", "A."), Field("shop", "string", "S.")], source=None)
    )
    row = {"user_id": [1], "event_timestamp": [START], "amount": [1.0], "shop": ["a"]}
    store.write("orders_of", row)
    with pytest.raises(DefinitionError, match="has rows already"):
        store.carry_over("orders_of:v2.0.0", from_="orders_of:v1.0.0")


def test_an_added_field_points_to_carry_over(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    """The warning of an empty new version names the call that fills it without leaking."""
    filled(store, [(1, 0, 1.5)])
    store.backfill("orders_of")
    with caplog.at_level(logging.WARNING, "fs_core"):
        store.apply(
            view(version="2.0.0", fields=[Field("amount", "float64", "A."), Field("shop", "string", "S.")], source=None)
        )
    assert "store.carry_over('orders_of:v2.0.0', from_='orders_of:v1.0.0')" in caplog.text


def _asked(days: int) -> dict[str, Any]:
    return {"user_id": list(range(100)), "event_timestamp": [START + timedelta(days=days)] * 100}


Fill = Callable[[FeatureStore], Any]
LATE = FeatureView(
    "late",
    entity=USER,
    fields=[Field("x", "int64", "X.")],
    available_at="created",
    ttl="2d",
    description="Rows whose `created` was filled today.",
)


@pytest.mark.parametrize(
    ("users", "created", "asked", "message"),
    [
        (range(100), START + timedelta(days=300), 1, r"100 have rows that became available after.*'created'"),
        (range(200, 300), START, 1, "100 belong to entities without any row"),
        (range(100), START, 9, r"100 had expired \(ttl 2d\)"),
    ],
)
def test_a_training_set_without_values_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, users: range, created: datetime, asked: int, message: str
) -> None:
    """Where more than 95 % of a view's rows are missing or expired, a warning counts the reasons."""
    store = FeatureStore(tmp_path)
    store.apply(LATE)
    rows = {"user_id": list(users), "event_timestamp": [START] * 100, "created": [created] * 100, "x": [1] * 100}
    store.write("late", rows)
    with caplog.at_level(logging.WARNING, "fs_core"):
        found = store.get_historical_features(_asked(asked), ["late.x"])
    assert found.table["x"].null_count == 100
    (record,) = caplog.records
    assert "view late:v1.0.0 has values for 0 of 100 rows" in record.getMessage()
    assert pa.compute.match_substring_regex(pa.scalar(record.getMessage()), message).as_py()


def test_coverage_counts_each_status(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`coverage` says of each view how many rows have a value, none yet, or one that expired; no warning at 10 %."""
    store = FeatureStore(tmp_path)
    store.apply(LATE)
    users = list(range(30))
    at = [START + timedelta(days=3 if user < 10 else 0) for user in users]
    store.write("late", {"user_id": users, "event_timestamp": at, "created": at, "x": users})
    with caplog.at_level(logging.WARNING, "fs_core"):
        found = store.get_historical_features(_asked(4), ["late.x"])
    assert found.coverage == {"late": {"present": 10, "missing": 70, "expired": 20}}
    assert not caplog.records
    past, future = found.split_by_time(START)
    assert (past.coverage, future.coverage) == ({"late": {"present": 0, "missing": 0, "expired": 0}}, found.coverage)
