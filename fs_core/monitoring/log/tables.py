"""Logs in Delta tables, by day: a directory for each log, a table for each meaning of what was asked.

logs/delay_model/3f2a9c1b22d04e55.json    what the columns of the table beside it mean
logs/delay_model/3f2a9c1b22d04e55/        rows, in partitions by day
logs/delay_model/outcomes/                predictions and labels, by request
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.monitoring.log.outcomes import SCHEMA, Outcome, outcome_table
from fs_core.monitoring.log.rows import DAY, READ_AT, Descriptor, table_of
from fs_core.monitoring.log.sample import Served
from fs_core.offline.delta.appending import attempts, reason_of
from fs_core.offline.delta.layout import as_declared
from fs_core.offline.delta.leftovers import data_files
from fs_core.offline.delta.locks import TableLocks
from fs_core.offline.open import open_offline_store
from fs_core.runtime.files import make_directory, make_file
from fs_core.runtime.per_process import delta_library
from fs_core.serving.plan import ReadPlan
from fs_core.values.dtypes import storage_type
from fs_core.values.times import EARLIEST, from_micros

log = logging.getLogger("fs_core")

_OUTCOMES = "outcomes"
_PROPERTIES = {
    # Least and greatest values are somebody's data, which the table's own log would keep after they are forgotten.
    "delta.dataSkippingNumIndexedCols": "0",
    "delta.checkpoint.writeStatsAsJson": "false",
}
_APPEND_SECONDS = 60.0  # how long appends that are under way are waited for, to forget somebody
_BRIEFLY = 1.0  # how long, to delete old days
_swept: dict[Path, str] = {}  # the last day on which old rows of logs were deleted, by directory


class LogTable:
    """One table of a log.

    Args:
        name: the log's name.
        descriptor: what its columns mean; None for outcomes.
        directory: where it lies; made with the first row.

    Attributes:
        log: the log's name.
        descriptor: what its columns mean.
        directory: where it lies.
    """

    def __init__(self, name: str, descriptor: Descriptor | None, directory: Path) -> None:
        self.log, self.descriptor, self.directory = name, descriptor, directory

    @cached_property
    def schema(self) -> dict[str, pa.DataType]:
        """The columns with their types."""
        if self.descriptor is None:
            return dict(zip(SCHEMA.names, SCHEMA.types, strict=True))
        return self.descriptor.schema

    def append(self, rows: pa.Table) -> None:
        """Add rows in one commit.

        Raises:
            DeltaError, OSError: none is there.
        """
        stored = pa.table({name: rows[name].cast(storage_type(dtype)) for name, dtype in self.schema.items()})
        make_directory(self.directory)
        with TableLocks(self.directory).appending():
            for attempt in attempts():
                with attempt:
                    write_deltalake(
                        str(self.directory), stored, mode="append", partition_by=[DAY], configuration=_PROPERTIES
                    )

    def days(self, since: int | None = None) -> list[str]:
        """Return the days that have rows, from that of a moment (microseconds) on; None for all."""
        opened, first = self._opened(), "" if since is None else _day(since)
        found = {part[DAY] or "" for part in opened.partitions()} if opened is not None else set()
        return sorted(day for day in found if day >= first)

    def read(self, since: int | None = None, columns: Sequence[str] | None = None, day: str | None = None) -> pa.Table:
        """Return rows in their declared types.

        Args:
            since: only what was read from this moment on, microseconds; None for all.
            columns: those wanted; None for all.
            day: only this day's; None for all.
        """
        types = {name: dtype for name, dtype in self.schema.items() if columns is None or name in columns}
        opened = self._opened()
        if opened is None:
            return pa.schema(list(types.items())).empty_table()
        filters = [] if since is None else [(DAY, ">=", _day(since))]
        filters += [] if day is None else [(DAY, "=", day)]
        found = opened.to_pyarrow_table(columns=list(types), filters=filters or None)
        if since is not None and READ_AT in types:
            found = found.filter(pc.greater_equal(found[READ_AT].cast(pa.int64()), since))
        return as_declared(found, types)

    def delete(self, rows: pa.Table) -> None:
        """Delete rows for good, and every file that the newest state doesn't need: it may hold them, too.

        Args:
            rows: columns of strings and whole numbers; what is equal in all of them goes. It may have no row.

        Raises:
            OfflineStoreError: somebody appends for so long that it isn't known which files are needed.
        """
        if not self.directory.is_dir():
            return
        same = " AND ".join(f"held.{name} = gone.{name}" for name in rows.column_names)
        with TableLocks(self.directory).rewriting():
            for attempt in attempts():
                with attempt:
                    opened = self._opened()
                    if opened is not None and rows.num_rows:
                        merging = opened.merge(rows, same, source_alias="gone", target_alias="held")
                        merging.when_matched_delete().execute()
            if not self._remove_leftovers(_APPEND_SECONDS):
                raise OfflineStoreError(f"log {self.log!r}: an append to {self.directory} doesn't end. Repeat it.")

    def expire(self, before: str) -> None:
        """Delete days before one, and files that the newest state doesn't need."""
        if not self.directory.is_dir():
            return
        with TableLocks(self.directory).rewriting():
            opened = self._opened()
            if opened is not None and any((part[DAY] or "") < before for part in opened.partitions()):
                opened.delete(f"{DAY} < '{before}'")
            self._remove_leftovers(_BRIEFLY)

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

    def _opened(self) -> DeltaTable | None:
        try:
            return DeltaTable(str(self.directory))
        except TableNotFoundError:
            return None


def _day(moment: int) -> str:
    return from_micros(moment).date().isoformat()


class LogTables:
    """The logs in a directory.

    Args:
        directory: where they lie.
        keep: how long rows are kept, microseconds.

    Raises:
        ConfigurationError: Delta tables can't lie there.
        OfflineStoreError: the process was forked from one that had used Delta tables.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        open_offline_store("delta", directory=directory)  # refuses what the Delta library can't use
        if not delta_library.may_use():
            raise OfflineStoreError(
                "this process can't log: it was forked from one that had used Delta tables, and their library doesn't "
                "survive a fork. Start such processes with spawn or forkserver, or fork before history is used."
            )
        self._directory, self._keep = directory, keep

    def names(self) -> list[str]:
        """Return the logs that have rows or had some."""
        return sorted(path.name for path in self._directory.iterdir() if path.is_dir()) if self._exists() else []

    def _exists(self) -> bool:
        return self._directory.is_dir()

    def tables(self, name: str) -> Iterator[LogTable]:
        """Yield the tables of a log, but for its outcomes.

        Raises:
            ConfigurationError: a descriptor is damaged.
        """
        for file in sorted((self._directory / name).glob("*.json")):
            try:
                descriptor = Descriptor.from_json(file.read_text())
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigurationError(
                    f"{file} is damaged: {error!r}. Delete it with the directory beside it."
                ) from error
            yield LogTable(name, descriptor, file.with_suffix(""))

    def outcomes(self, name: str) -> LogTable:
        """Return the table of predictions and labels of a log."""
        return LogTable(name, None, self._directory / name / _OUTCOMES)

    def append(self, items: Sequence[Served | Outcome]) -> tuple[int, str]:
        """Write what was logged; return how many rows are written, and why the others aren't."""
        reads, outcomes = defaultdict[tuple[str, ReadPlan], list[Served]](list), defaultdict[str, list[Outcome]](list)
        for item in items:
            if isinstance(item, Outcome):
                outcomes[item.log].append(item)
            else:
                reads[item.log, item.plan].append(item)
        work: list[Callable[[], int]] = [partial(self._append_reads, *key, found) for key, found in reads.items()]
        work += [partial(self._append_outcomes, *pair) for pair in outcomes.items()]
        written, reason = 0, ""
        for write in work:
            try:
                written += write()
            except (DeltaError, OSError, pa.ArrowException) as error:
                reason = f"they can't be written: {reason_of(error)}"
        self._sweep(items[-1])
        return written, reason

    def _append_reads(self, name: str, plan: ReadPlan, reads: Sequence[Served]) -> int:
        descriptor = Descriptor.of(plan)
        file = self._directory / name / f"{descriptor.digest}.json"
        if not file.exists():
            make_directory(file.parent)
            unfinished = file.with_suffix(f".{uuid.uuid4().hex}.unfinished")
            make_file(unfinished)
            unfinished.write_text(descriptor.to_json())
            unfinished.replace(file)
        rows = table_of(plan, reads)
        LogTable(name, descriptor, file.with_suffix("")).append(rows)
        return int(rows.num_rows)

    def _append_outcomes(self, name: str, outcomes: Sequence[Outcome]) -> int:
        rows = outcome_table(outcomes)
        if rows.num_rows:
            self.outcomes(name).append(rows)
        return sum(one.count for one in outcomes)

    def _sweep(self, item: Served | Outcome) -> None:
        """Delete old days, once a day and process; whatever fails is tried again by the next."""
        now = item.read_at if isinstance(item, Served) else item.at
        today = _day(now)
        if _swept.get(self._directory) == today:
            return
        _swept[self._directory] = today
        with suppress(DeltaError, OSError, ConfigurationError):
            before = _day(max(now - self._keep, EARLIEST))
            for name in self.names():
                for table in (*self.tables(name), self.outcomes(name)):
                    table.expire(before)
