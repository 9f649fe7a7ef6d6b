"""Backfills of more rows than are sorted at once: counted, compared and ordered as if they came at once."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_core import Aggregation, Entity, FeatureStore, FeatureView, Field
from fs_core.errors import OfflineStoreError, ValidationError
from tests.core.store.history.orders import START, USER, Row, filled, in_parts, opened, rows_of, view, written


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with a view over a file that `filled` writes."""
    return opened(tmp_path)


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
