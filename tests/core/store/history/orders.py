"""A view over a file of orders, and what the file has and history got."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core import SQL, Entity, FeatureStore, FeatureView, Field, Source

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


def opened(directory: Path) -> FeatureStore:
    """Return a store with a view over a file that `filled` writes."""
    store = FeatureStore(directory / "store")
    pq.write_table(table([]), directory / "orders.parquet")
    store.apply(USER, Source("orders", path=str(directory / "orders.parquet"), description="Orders."), view())
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


def rows_of(rows: list[Row]) -> pa.Table:
    """Rows in the columns of the view."""
    return table(rows).rename_columns(["user_id", "event_timestamp", "amount"])


def in_parts(given: pa.Table, rows: int = 1) -> pa.RecordBatchReader:
    """Rows as a stream of small batches."""
    return pa.RecordBatchReader.from_batches(given.schema, given.to_batches(rows))
