"""One such table: rows are added, read, and deleted for good."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.exceptions import SchemaMismatchError, TableNotFoundError
from deltalake.transaction import AddAction

from fs_core.errors import OfflineStoreError
from fs_core.offline.delta.appending import attempts
from fs_core.offline.delta.failures import as_store_error, refuse_fork, refuse_unusable
from fs_core.offline.delta.layout import as_declared, month_of
from fs_core.offline.delta.leftovers import APPEND_SECONDS, BRIEFLY, data_files
from fs_core.offline.delta.locks import TableLocks
from fs_core.offline.delta.log import DeltaLog, files_of
from fs_core.offline.delta.merging import merge_if_due
from fs_core.runtime.files import make_directory
from fs_core.runtime.recent import Recent
from fs_core.values.dtypes import storage_type

DAY = "__day"
"""The column by which rows lie in partitions: text, such as `2024-01-15`."""

_PROPERTIES = {
    # Least and greatest values are somebody's data, which the table's own log would keep after they are forgotten.
    "delta.dataSkippingNumIndexedCols": "0",
    "delta.checkpoint.writeStatsAsJson": "false",
}
_logs: Recent[Path, DeltaLog] = Recent(32)  # of tables that this process has written: opening one takes longest


class DayTable:
    """One table.

    Args:
        what: how errors call it.
        schema: its columns with their types, `DAY` among them.
        directory: where it lies; made with the first row.

    Attributes:
        what: how errors call it.
        schema: its columns with their types.
        directory: where it lies.
    """

    def __init__(self, what: str, schema: Mapping[str, pa.DataType], directory: Path) -> None:
        self.what, self.schema, self.directory = what, schema, directory

    def append(self, rows: pa.Table, coded: Collection[str] = ()) -> None:
        """Add rows in one commit.

        Args:
            rows: in the table's columns; each has its day.
            coded: columns whose dictionaries, where they have some, go into the file as they are. None may have values
                of persons: those of rows that aren't there would stay when the persons are forgotten.

        Raises:
            ConfigurationError: Delta tables can't lie there.
            OfflineStoreError: none is there.
        """
        refuse_fork(self.what)
        refuse_unusable(self.what, self.directory.absolute())
        schema = pa.schema([(name, storage_type(dtype)) for name, dtype in self.schema.items()])
        stored = pa.table(
            {one.name: rows[one.name] if one.name in coded else rows[one.name].cast(one.type) for one in schema}
        )
        with as_store_error(self.what, "rows can't be written"):
            make_directory(self.directory)
            self._append(stored, schema)
        merge_if_due(self.what, self._log, TableLocks(self.directory))

    @property
    def _log(self) -> DeltaLog:
        known = _logs.get(self.directory)
        if known is None:
            _logs.put(self.directory, known := DeltaLog(self.directory))
        return known

    def _append(self, stored: pa.Table, schema: pa.Schema) -> None:
        with TableLocks(self.directory).appending():
            days, parts = stored[DAY].unique().to_pylist(), [stored]
            if len(days) > 1:
                plain = stored.cast(schema)  # a dictionary has the words of all days
                parts = [plain.filter(pc.equal(plain[DAY], day)) for day in days]
            added = [self._file(day, part) for day, part in zip(days, parts, strict=True)]
            for attempt in attempts():
                with attempt:
                    try:
                        with self._log.opened() as table:
                            _commit(table, added, schema)
                    except TableNotFoundError:
                        _commit(self._made(schema), added, schema)

    def _made(self, schema: pa.Schema) -> DeltaTable:
        return DeltaTable.create(str(self.directory), schema, partition_by=[DAY], configuration=_PROPERTIES)

    def _file(self, day: str, rows: pa.Table) -> AddAction:
        """Write the rows of a day into a file of their own."""
        file = self.directory / f"{DAY}={day}" / f"part-{uuid.uuid4().hex}.parquet"
        file.parent.mkdir(exist_ok=True)
        within = rows.drop_columns([DAY])
        pq.write_table(within, file, **_quick(within.schema))
        told = file.stat()
        return AddAction(
            path=str(file.relative_to(self.directory)),
            size=told.st_size,
            partition_values={DAY: day},
            modification_time=int(told.st_mtime * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": rows.num_rows}),
        )

    def days(self, since: str = "") -> list[str]:
        """Return the days that have rows, from one on."""
        with as_store_error(self.what, "it can't be read"):
            opened = self._opened()
            found = {part[DAY] or "" for part in opened.partitions()} if opened is not None else set()
        return sorted(day for day in found if day >= since)

    def read(self, columns: Sequence[str] | None = None, *, since: str = "", day: str | None = None) -> pa.Table:
        """Return rows in their declared types.

        Args:
            columns: those wanted; None for all.
            since: only from this day on.
            day: only this day's; None for all.
        """
        types = {name: dtype for name, dtype in self.schema.items() if columns is None or name in columns}
        with as_store_error(self.what, "it can't be read"):
            opened = self._opened()
        if opened is None:
            return pa.schema(list(types.items())).empty_table()
        with as_store_error(self.what, "it can't be read"):
            files = files_of(self.directory, opened)
            wanted = [file for file in files if month_of(file) >= since and day in (None, month_of(file))]
            parts = [_read(file, types) for file in wanted]
        return pa.concat_tables([pa.schema(list(types.items())).empty_table(), *parts])

    def delete(self, rows: pa.Table) -> None:
        """Delete rows for good, and every file that the newest state doesn't need: it may hold them, too.

        Args:
            rows: columns of strings and whole numbers; what is equal in all of them goes. It may have no row.

        Raises:
            OfflineStoreError: rows can't be deleted; or somebody appends for so long that it isn't known which files
                are needed.
        """
        if not self.directory.is_dir():
            return
        same = " AND ".join(f"held.{name} = gone.{name}" for name in rows.column_names)
        with as_store_error(self.what, "rows can't be deleted"), TableLocks(self.directory).rewriting():
            for attempt in attempts():
                with attempt:
                    opened = self._opened()
                    if opened is not None and rows.num_rows:
                        merging = opened.merge(rows, same, source_alias="gone", target_alias="held")
                        merging.when_matched_delete().execute()
            if not self._remove_leftovers(APPEND_SECONDS):
                raise OfflineStoreError(f"{self.what}: an append to {self.directory} doesn't end. Repeat it.")

    def expire(self, before: str) -> None:
        """Delete days before one, and files that the newest state doesn't need.

        Raises:
            OfflineStoreError: they can't be deleted.
        """
        if not self.directory.is_dir():
            return
        with as_store_error(self.what, "old days can't be deleted"), TableLocks(self.directory).rewriting():
            opened = self._opened()
            if opened is not None and any((part[DAY] or "") < before for part in opened.partitions()):
                opened.delete(f"{DAY} < '{before}'")
            self._remove_leftovers(BRIEFLY)

    def _remove_leftovers(self, seconds: float) -> bool:
        """Delete files of earlier states, and those that no state names: their writers lost a race, failed or died.

        Only while rewriting. A file of an append that is under way is no leftover, so such appends are waited for.

        Args:
            seconds: how long at most.

        Returns:
            Whether all have ended; if not, nothing was deleted.
        """
        present = data_files(self.directory)
        if not TableLocks(self.directory).outlast_appends(seconds):
            return False
        opened = self._opened()
        needed = set() if opened is None else {uri.rpartition("/")[2] for uri in opened.file_uris()}
        for file in map(Path, present):
            if file.name not in needed:
                file.unlink(missing_ok=True)
        return True

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep others meanwhile from taking rows out who take turns, too.

        Raises:
            ConfigurationError: Delta tables can't lie there.
        """
        refuse_unusable(self.what, self.directory.absolute())
        make_directory(self.directory)
        with TableLocks(self.directory).taking():
            yield

    def _opened(self) -> DeltaTable | None:
        refuse_fork(self.what)
        if not self.directory.is_dir():
            return None
        try:
            return DeltaTable(str(self.directory))
        except TableNotFoundError:
            return None


def _commit(table: DeltaTable, added: list[AddAction], schema: pa.Schema) -> None:
    """Commit files. The library doesn't look whether they have the table's columns."""
    own, theirs = ({one.name: one.type for one in of.fields} for of in (table.schema(), Schema.from_arrow(schema)))
    if own != theirs:
        raise SchemaMismatchError(f"its columns are {own}, not {theirs}")
    table.create_write_transaction(list(added), mode="append", schema=schema, partition_by=[DAY])


def _quick(schema: pa.Schema) -> dict[str, Any]:
    """Return how Arrow writes a file: most are written beside reads, and seldom read.

    It takes at most a third of the time of Delta's library, which commits them. What costs a writer most is left out:
    dictionaries that aren't there already, what floats and lists would shrink by, and statistics, which would name
    somebody's values, too. Files that are merged later have all that pays.
    """
    hard = {one.name: pa.types.is_floating(one.type) or pa.types.is_nested(one.type) for one in schema}
    return {
        "use_dictionary": [one.name for one in schema if pa.types.is_dictionary(one.type)],
        "compression": {name: "none" if is_hard else "lz4" for name, is_hard in hard.items()},
        "write_statistics": False,
        "store_schema": False,  # it would say which columns were dictionaries
    }


def _read(file: str, types: dict[str, pa.DataType]) -> pa.Table:
    """Return columns of one file in their declared types; its directory says the day.

    In this thread alone: Delta's library would give Arrow's threads a file system in Python, and a process that ends
    while they let go of it is aborted.
    """
    with pq.ParquetFile(file) as opened:
        found = opened.read([name for name in types if name != DAY], use_threads=False)
        rows = opened.metadata.num_rows
    days = {DAY: pa.repeat(month_of(file), rows)} if DAY in types else {}
    columns = {**days, **{name: found[name] for name in found.column_names}}
    return as_declared(pa.table(columns), types).select(list(types))
