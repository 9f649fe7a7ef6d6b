"""History in Delta tables: atomic appends from any number of processes, snapshots, open Parquet files.

One table for each meaning of a view. Rows lie in partitions by month of event time, sorted by key and
availability, which is the order in which they are searched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ, TIME, history_schema
from fs_core.asof.engine import AsOfEngine, DuckDBEngine, apply_rule
from fs_core.definitions import FeatureView
from fs_core.dtypes import storage_type
from fs_core.errors import OfflineStoreError
from fs_core.offline.contract import EMPTY, Snapshot, Watermark
from fs_core.offline.sources import connect, literal, quoted
from fs_core.times import EARLIEST, MICROSECONDS, from_micros

MONTH = "__event_month"
_MONTH_OF = re.compile(rf"{MONTH}=(\d{{4}}-\d\d)/")
_COMMIT_SECONDS = 60.0  # how long an append tries again after other writers won the race


class DeltaOfflineStore:
    """History under a directory. See `OfflineStore` for what is promised.

    Args:
        directory: where the tables lie; made with the first write.
        engine: what searches them.
    """

    def __init__(self, directory: str | Path, engine: AsOfEngine | None = None) -> None:
        self._directory = Path(directory)
        self._engine = engine or DuckDBEngine()

    def __repr__(self) -> str:
        return f"DeltaOfflineStore({str(self._directory)!r})"

    def append(self, view: FeatureView, rows: pa.Table) -> Snapshot:
        """See `OfflineStore.append`."""
        laid_out = _lay_out(view, rows)
        place = self._place(view)
        try:
            for attempt in Retrying(
                retry=retry_if_exception(_lost_a_race),
                wait=wait_random_exponential(multiplier=0.02, max=1.0),
                stop=stop_after_delay(_COMMIT_SECONDS),
                reraise=True,
            ):
                with attempt:
                    place.mkdir(parents=True, exist_ok=True)
                    write_deltalake(str(place), laid_out, mode="append", partition_by=[MONTH])
        except (DeltaError, OSError) as error:
            raise OfflineStoreError(f"view {view.ref!r}: can't append to its history at {place}: {error}") from error
        return self.snapshot(view)

    def snapshot(self, view: FeatureView) -> Snapshot:
        """See `OfflineStore.snapshot`."""
        table = self._open(view, None)
        return EMPTY if table is None else int(table.version())

    def read(self, view: FeatureView, *, snapshot: Snapshot | None = None) -> pa.Table:
        """See `OfflineStore.read`."""
        return self._select(view, self._files(view, snapshot), f"ORDER BY {SEQ}")

    def as_of(
        self, view: FeatureView, spine: pa.Table, columns: Sequence[str], *, snapshot: Snapshot | None = None
    ) -> pa.Table:
        """See `OfflineStore.as_of`."""
        files = _prune(self._files(view, snapshot), spine[TIME])
        found = apply_rule(self._engine, view, files, spine, columns)
        wanted = {**{name: view.features[name] for name in columns}, EVENT_TIME: MICROSECONDS}
        return _as_declared(found, wanted)

    def winners(self, view: FeatureView, *, until: int, since: Watermark | None = None) -> tuple[pa.Table, Watermark]:
        """See `OfflineStore.winners`."""
        snapshot = self.snapshot(view)
        files = self._files(view, snapshot)
        old = set(self._files_if_kept(view, since.snapshot)) if since else set()
        new = [f for f in files if f not in old]
        candidates = [_history_sql(view, new, f"{AVAILABLE_AT} <= {_moment(until)}")] if new else []
        if since and (seen := [f for f in files if f in old]):
            became = f"{AVAILABLE_AT} > {_moment(since.until)} AND {AVAILABLE_AT} <= {_moment(until)}"
            candidates.append(_history_sql(view, seen, became))
        keys = ", ".join(quoted(k) for k in view.keys)
        best = f"ORDER BY {EVENT_TIME} DESC, {AVAILABLE_AT} DESC, {SEQ} DESC"
        union = " UNION ALL ".join(candidates)
        sql = f"SELECT * FROM ({union}) QUALIFY row_number() OVER (PARTITION BY {keys} {best}) = 1 ORDER BY {SEQ}"
        return self._run(view, sql if candidates else None), Watermark(snapshot, until)

    def _place(self, view: FeatureView) -> Path:
        return self._directory / view.storage_name

    def _open(self, view: FeatureView, snapshot: Snapshot | None) -> DeltaTable | None:
        """Open a table at a state; None if there is nothing yet."""
        place = self._place(view)
        if snapshot == EMPTY or not place.exists():
            return None
        try:
            return DeltaTable(str(place), version=snapshot)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            at = "" if snapshot is None else f" at state {snapshot}"
            raise OfflineStoreError(f"view {view.ref!r}: can't open its history at {place}{at}: {error}") from error

    def _files(self, view: FeatureView, snapshot: Snapshot | None) -> list[str]:
        table = self._open(view, snapshot)
        return [] if table is None else sorted(table.file_uris())

    def _files_if_kept(self, view: FeatureView, snapshot: Snapshot) -> list[str]:
        """Return a state's files, none if it is no longer kept: then everything counts as new, which is safe."""
        try:
            return self._files(view, snapshot)
        except OfflineStoreError:
            return []

    def _select(self, view: FeatureView, files: Sequence[str], order: str) -> pa.Table:
        return self._run(view, f"{_history_sql(view, files, 'true')} {order}" if files else None)

    def _run(self, view: FeatureView, sql: str | None) -> pa.Table:
        schema = history_schema(view)
        if sql is None:
            return schema.empty_table()
        import duckdb

        try:
            with connect() as connection:
                found = connection.execute(sql).to_arrow_table()
        except duckdb.Error as error:
            raise OfflineStoreError(f"view {view.ref!r}: can't read its history: {error}") from error
        return _as_declared(found, {f.name: f.type for f in schema}).cast(schema)


def _lay_out(view: FeatureView, rows: pa.Table) -> pa.Table:
    """Return rows in storage types, with their month, in the order in which history is searched."""
    stored = pa.table({f.name: rows[f.name].cast(storage_type(f.type)) for f in history_schema(view)})
    month = pc.strftime(rows[EVENT_TIME].cast(pa.timestamp("us")), format="%Y-%m")
    # strftime doesn't pad years before 1000 everywhere, and months are compared as text.
    stored = stored.append_column(MONTH, pc.utf8_lpad(month, width=7, padding="0"))
    order = [MONTH, *view.keys, AVAILABLE_AT, EVENT_TIME, SEQ]
    return stored.take(pc.sort_indices(stored, sort_keys=[(name, "ascending") for name in order]))


def _as_declared(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """Return a table with `types` cast back from how they are stored, other columns as they are."""
    columns = {
        name: table[name].cast(types[name]) if name in types else table[name] for name in [*types, *table.column_names]
    }
    return pa.table(columns)


def _history_sql(view: FeatureView, files: Sequence[str], where: str) -> str:
    names = ", ".join(quoted(name) for name in history_schema(view).names)
    listed = ", ".join(literal(f) for f in files)
    return f"(SELECT {names} FROM read_parquet([{listed}], hive_partitioning = false) WHERE {where})"


def _moment(micros: int) -> str:
    return f"make_timestamptz({micros})"


def _prune(files: Sequence[str], times: pa.ChunkedArray) -> list[str]:
    """Leave out files too late to hold a candidate: `event_time <= a <= t` for every one.

    The ttl would bound from below as well, but a row that has expired still tells expired from missing.
    """
    latest = pc.max(times.cast(pa.int64())).as_py()
    if latest is None:
        return []
    month = from_micros(max(latest, EARLIEST)).strftime("%Y-%m").rjust(7, "0")
    return [f for f in files if _month(f) <= month]


def _month(file: str) -> str:
    match = _MONTH_OF.search(file)
    return match[1] if match else ""


def _lost_a_race(error: BaseException) -> bool:
    """Whether another writer committed first, or made the table at the same moment."""
    return isinstance(error, CommitFailedError) or (isinstance(error, DeltaError) and "already exists" in str(error))
