"""Rows of a spine in a Parquet file, read by the process that answers them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fs_core.errors import DataError, SourceError
from fs_core.values.interchange import to_table

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile


@dataclass(frozen=True, eq=False)
class FileRows:
    """Some rows of a Parquet file, one after the other; a pickle holds where they are, and no rows.

    Attributes:
        path: of the file, absolute.
        stamp: its size in bytes and the time of its last change, nanoseconds: what another file would differ in.
        schema: of the rows as `to_table` gives them.
        start: how many rows of the file come before.
        num_rows: how many.
    """

    path: str
    stamp: tuple[int, int]
    schema: pa.Schema
    start: int
    num_rows: int

    def slice(self, start: int, num_rows: int) -> FileRows:
        """Return some of the rows.

        Args:
            start: how many of these rows come before.
            num_rows: how many; they must be there.
        """
        return replace(self, start=self.start + start, num_rows=num_rows)

    def read(self) -> pa.Table:
        """Return the rows; memory holds them and a batch, whatever the size of row groups.

        Raises:
            SourceError: the file can't be read.
            DataError: it was changed since.
        """
        with _opened(self.path) as file:
            if _stamp(self.path) != self.stamp:
                raise DataError(f"{self.path!r} was changed after the spine in it was split. Split it anew.")
            return to_table(pa.Table.from_batches(self._batches(file), file.schema_arrow), "the spine")

    def _batches(self, file: ParquetFile) -> Iterator[pa.RecordBatch]:
        """Yield the rows; row groups without any aren't read."""
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        starts = [0, *accumulate(sizes)]
        end = self.start + self.num_rows
        groups = [n for n, size in enumerate(sizes) if starts[n] < end and starts[n] + size > self.start]
        at = starts[groups[0]] if groups else end
        for batch in file.iter_batches(row_groups=groups):
            if at >= end:
                return
            first = max(self.start - at, 0)
            yield batch.slice(first, max(min(end - at, batch.num_rows) - first, 0))
            at += batch.num_rows


def rows_of_file(path: str | os.PathLike[str]) -> FileRows:
    """Return the rows of a Parquet file.

    Raises:
        SourceError: it can't be read, or is none.
        SchemaError: two columns share a name.
    """
    where = str(Path(path).absolute())
    with _opened(where) as file:
        schema = to_table(file.schema_arrow.empty_table(), "the spine").schema
        return FileRows(where, _stamp(where), schema, 0, file.metadata.num_rows)


@contextmanager
def _opened(path: str) -> Iterator[ParquetFile]:
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"the spine in {path!r} can't be read: {error}. Pass rows, or the path of a Parquet file that lies where "
            "every process can read it."
        ) from error


def _stamp(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns
