"""Logs in Delta tables, by day: a directory for each log, a table for each meaning of what was asked.

logs/delay_model/3f2a9c1b22d04e55.json    what the columns of the table beside it mean
logs/delay_model/3f2a9c1b22d04e55/        rows, in partitions by day
logs/delay_model/outcomes/                predictions and labels, by request
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import ConfigurationError, OfflineStoreError
from fs_core.monitoring.log.outcomes import SCHEMA, Outcome, outcome_table
from fs_core.monitoring.log.rows import READ_AT, Descriptor, coded, table_of
from fs_core.monitoring.log.served import Kinds, ServedReads
from fs_core.offline.days.table import DayTable
from fs_core.offline.delta.failures import refuse_fork, refuse_unusable
from fs_core.runtime.files import make_directory, make_file
from fs_core.serving.plan import ReadPlan
from fs_core.values.times import EARLIEST, from_micros

log = logging.getLogger("fs_core")

_OUTCOMES = "outcomes"
_swept: dict[Path, str] = {}  # the last day on which old rows of logs were deleted, by directory


class LogTable(DayTable):
    """One table of a log.

    Args:
        name: the log's name.
        descriptor: what its columns mean; None for outcomes.
        directory: where it lies; made with the first row.

    Attributes:
        log: the log's name.
        descriptor: what its columns mean.
    """

    def __init__(self, name: str, descriptor: Descriptor | None, directory: Path) -> None:
        schema = dict(zip(SCHEMA.names, SCHEMA.types, strict=True)) if descriptor is None else descriptor.schema
        super().__init__(f"log {name!r}", schema, directory)
        self.log, self.descriptor = name, descriptor

    def days_since(self, since: int | None) -> list[str]:
        """Return the days that have rows, from that of a moment (microseconds) on; None for all."""
        return self.days("" if since is None else _day(since))

    def read_since(
        self, since: int | None, columns: Sequence[str] | None = None, *, day: str | None = None
    ) -> pa.Table:
        """Return what was read from a moment on.

        Args:
            since: the moment, microseconds; None for all.
            columns: those wanted; None for all.
            day: only this day's rows; None for all.
        """
        found = self.read(columns, since="" if since is None else _day(since), day=day)
        if since is not None and READ_AT in found.column_names:
            found = found.filter(pc.greater_equal(found[READ_AT].cast(pa.int64()), since))
        return found


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
        refuse_unusable("request logs", directory.absolute())
        refuse_fork("request logs")
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

    def append(
        self,
        reads: Iterable[tuple[tuple[str, ReadPlan, Kinds], ServedReads]],
        outcomes: Iterable[tuple[str, list[Outcome]]],
    ) -> tuple[int, str]:
        """Write what was logged; return how many rows are written, and why the others aren't.

        Args:
            reads: each with the name of its log, its plan and the kinds of its answers.
            outcomes: each with the name of its log.
        """
        parts: list[tuple[Callable[[], int], int]] = []
        parts += [(partial(self._append_reads, name, found), found.facts[-1][2]) for (name, *_), found in reads]
        parts += [(partial(self._append_outcomes, name, found), found[-1].at) for name, found in outcomes]
        written, reason = 0, ""
        for append, now in parts:
            try:
                written += append()
            except (OfflineStoreError, OSError, pa.ArrowException) as error:
                reason = str(error)
            self._sweep(now)
        return written, reason

    def _append_reads(self, name: str, reads: ServedReads) -> int:
        descriptor = Descriptor.of(reads.plan)
        file = self._directory / name / f"{descriptor.digest}.json"
        if not file.exists():
            make_directory(file.parent)
            unfinished = file.with_suffix(f".{uuid.uuid4().hex}.unfinished")
            make_file(unfinished)
            unfinished.write_text(descriptor.to_json())
            unfinished.replace(file)
        rows = table_of(reads)
        LogTable(name, descriptor, file.with_suffix("")).append(rows, coded(reads.plan))
        return int(rows.num_rows)

    def _append_outcomes(self, name: str, outcomes: Sequence[Outcome]) -> int:
        rows = outcome_table(outcomes)
        if rows.num_rows:
            self.outcomes(name).append(rows)
        return sum(one.count for one in outcomes)

    def _sweep(self, now: int) -> None:
        """Delete old days, once a day and process; whatever fails is tried again by the next."""
        today = _day(now)
        if _swept.get(self._directory) == today:
            return
        _swept[self._directory] = today
        with suppress(OfflineStoreError, OSError, ConfigurationError):
            before = _day(max(now - self._keep, EARLIEST))
            for name in self.names():
                for table in (*self.tables(name), self.outcomes(name)):
                    table.expire(before)
