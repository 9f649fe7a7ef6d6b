"""History in Delta tables: atomic appends from any number of processes, snapshots, open Parquet files.

One table for each meaning of a view. Rows lie in partitions by month of event time, sorted by key and
availability, which is the order in which they are searched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from fs_core.asof import AVAILABLE_AT, EVENT_TIME, SEQ, TIME, history_schema
from fs_core.asof.engine import AsOfEngine, apply_rule
from fs_core.asof.plain import PlainEngine
from fs_core.definitions import FeatureView
from fs_core.dtypes import storage_type
from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.offline.connection import connect, literal, moment, quoted
from fs_core.offline.contract import EMPTY, Snapshot, Watermark
from fs_core.times import EARLIEST, LATEST, MICROSECONDS, from_micros

MONTH = "__event_month"
_MONTH_OF = re.compile(rf"{MONTH}=(\d{{4}}-\d\d)/")
_COMMIT_SECONDS = 60.0  # how long an append tries again after other writers won the race
_TABLE = {
    # Delta forgets states older than 30 days unless told otherwise; a training set is recreated from any.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    # Opening replays the log from the last checkpoint: with one every 100 states, an append takes 2.5 times as long.
    "delta.checkpointInterval": "10",
}
_UNUSABLE = set("[]^|%\\")  # the Delta library fails on these, or writes to another directory
_delta_processes: set[int] = set()  # the process in which the Delta library runs, once it does


class DeltaOfflineStore:
    """History under a directory. See `OfflineStore` for what is promised.

    The Delta library doesn't survive a fork: a process forked after the first use of history is told
    so by an `OfflineStoreError`; start such processes with spawn or forkserver.

    Args:
        directory: where the tables lie; made with the first write.
        engine: what searches them.

    Raises:
        ConfigurationError: the directory's name holds a character that Delta tables can't lie under.
    """

    def __init__(self, directory: str | Path, engine: AsOfEngine | None = None) -> None:
        self._directory = Path(directory).absolute()
        self._engine = engine or PlainEngine()
        unusable = "".join(sorted(_UNUSABLE & set(str(self._directory))))
        if unusable:
            raise ConfigurationError(
                f"history can't lie under {str(self._directory)!r}: Delta tables don't work below a directory with "
                f"{unusable!r} in its name. Choose another directory."
            )

    def __repr__(self) -> str:
        return f"DeltaOfflineStore({str(self._directory)!r})"

    def append(self, view: FeatureView, rows: pa.Table) -> Snapshot:
        """See `OfflineStore.append`."""
        place = self._place(view)
        with _as_store_error(view, f"can't append to its history at {place}"):
            laid_out = _lay_out(view, rows)
            for attempt in Retrying(
                retry=retry_if_exception(_lost_a_race),
                wait=wait_random_exponential(multiplier=0.02, max=1.0),
                stop=stop_after_delay(_COMMIT_SECONDS),
                reraise=True,
            ):
                with attempt:
                    _write(place, laid_out)
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
        with _as_store_error(view, "can't search its history"):
            found = apply_rule(self._engine, view, files, spine, columns)
        wanted = {**{name: view.features[name] for name in columns}, EVENT_TIME: MICROSECONDS}
        return _as_declared(found, wanted)

    def winners(self, view: FeatureView, *, until: int, since: Watermark | None = None) -> tuple[pa.Table, Watermark]:
        """See `OfflineStore.winners`."""
        snapshot = self.snapshot(view)
        files = self._files(view, snapshot)
        old = set(self._files_if_kept(view, since.snapshot)) if since else set()
        new = [f for f in files if f not in old]
        candidates = [_history_sql(view, new, f"{AVAILABLE_AT} <= {moment(until)}")] if new else []
        if since and (seen := [f for f in files if f in old]):
            became = f"{AVAILABLE_AT} > {moment(since.until)} AND {AVAILABLE_AT} <= {moment(until)}"
            candidates.append(_history_sql(view, seen, became))
        keys = ", ".join(quoted(k) for k in view.keys)
        best = f"ORDER BY {EVENT_TIME} DESC, {AVAILABLE_AT} DESC, {SEQ} DESC"
        union = " UNION ALL ".join(candidates)
        sql = f"SELECT * FROM ({union}) QUALIFY row_number() OVER (PARTITION BY {keys} {best}) = 1 ORDER BY {SEQ}"
        return self._run(view, sql if candidates else None), Watermark(snapshot, until)

    def _place(self, view: FeatureView) -> Path:
        return self._directory / view.storage_name

    def _open(self, view: FeatureView, snapshot: Snapshot | None) -> DeltaTable | None:
        """Open a table at a state; None if that state is empty."""
        place = self._place(view)
        if snapshot == EMPTY or (snapshot is None and not place.exists()):
            return None
        at = "" if snapshot is None else f" at state {snapshot}"
        with _as_store_error(view, f"can't open its history at {place}{at}"):
            try:
                return DeltaTable(str(place), version=snapshot)
            except TableNotFoundError:
                if snapshot is None:
                    return None
                raise

    def _files(self, view: FeatureView, snapshot: Snapshot | None) -> list[str]:
        table = self._open(view, snapshot)
        if table is None:
            return []
        # The library gives URLs, in which a space of the directory's name is %20.
        marker = f"/{view.storage_name}/"
        inside = (unquote(uri.rpartition(marker)[2]) for uri in table.file_uris())
        return sorted(f"{self._place(view)}/{path}" for path in inside)

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
        with _as_store_error(view, "can't read its history"), connect() as connection:
            found = connection.execute(sql).to_arrow_table()
        return _as_declared(found, {f.name: f.type for f in schema}).cast(schema)


@contextmanager
def _as_store_error(view: FeatureView, what: str) -> Iterator[None]:
    """Turn what the libraries raise into an `OfflineStoreError` that names the view."""
    _refuse_fork(view)
    try:
        yield
    except (DeltaError, duckdb.Error, OSError, OverflowError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]  # Delta adds a stack trace
        raise OfflineStoreError(f"view {view.ref!r}: {what}: {reason}") from error


def _refuse_fork(view: FeatureView) -> None:
    """Say in plain words what the Delta library would panic about."""
    _delta_processes.add(os.getpid())
    if len(_delta_processes) > 1:
        raise OfflineStoreError(
            f"view {view.ref!r}: this process was forked from one that had used history, and the Delta library "
            "doesn't survive a fork. Start the process with spawn or forkserver."
        )


def _write(place: Path, rows: pa.Table) -> None:
    place.mkdir(parents=True, exist_ok=True)
    write_deltalake(
        str(place),
        rows,
        mode="append",
        partition_by=[MONTH],
        configuration=_TABLE,
        post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
    )


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


def _prune(files: Sequence[str], times: pa.ChunkedArray) -> list[str]:
    """Leave out files too late to hold a candidate: `event_time <= a <= t` for every one.

    The ttl would bound from below as well, but a row that has expired still tells expired from missing.
    """
    latest = pc.max(times.cast(pa.int64())).as_py()
    if latest is None:
        return []
    month = from_micros(min(max(latest, EARLIEST), LATEST)).strftime("%Y-%m").rjust(7, "0")
    return [f for f in files if _month(f) <= month]


def _month(file: str) -> str:
    match = _MONTH_OF.search(file)
    return match[1] if match else ""


def _lost_a_race(error: BaseException) -> bool:
    """Whether another writer committed first, or made the table at the same moment."""
    return isinstance(error, CommitFailedError) or (isinstance(error, DeltaError) and "already exists" in str(error))
