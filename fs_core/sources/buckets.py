"""More rows than memory holds, on disk in buckets: what has the same values in some columns lies in one, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
import pyarrow as pa

from fs_core.errors import OfflineStoreError
from fs_core.offline.duckdb import connect, quoted

_BUCKETS = 64


class Buckets:
    """Rows on disk, for as long as the context lasts; each bucket has about a 64th of them.

    Args:
        columns: rows with the same values in these lie in one bucket.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._directory: TemporaryDirectory[str] | None = None
        self._writers: dict[Path, pa.ipc.RecordBatchFileWriter] = {}
        self._open = ExitStack()  # the writers, and their files

    def __enter__(self) -> Buckets:
        """Make a directory.

        Raises:
            OfflineStoreError: there is none for temporary files.
        """
        with self._room():
            self._directory = TemporaryDirectory(prefix="fs-rows-")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._directory is not None
        with self._directory, suppress(OSError):  # what can't be written needn't be
            self._open.close()

    def add(self, rows: pa.Table) -> None:
        """Take rows; they come after those that are here already.

        Args:
            rows: all of one schema.

        Raises:
            OfflineStoreError: the disk is full.
        """
        numbers = self._numbers(rows)
        together = rows.take(pa.array(np.argsort(numbers, kind="stable")))
        ends = np.cumsum(np.bincount(numbers, minlength=_BUCKETS)).tolist()
        with self._room():
            for number, (start, end) in enumerate(pairwise([0, *ends])):
                if end > start:
                    self._file_of(number, rows.schema).write_table(together.slice(start, end - start))

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows, bucket after bucket; `add` takes no more.

        Raises:
            OfflineStoreError: the disk is full.
        """
        with self._room():
            self._open.close()
        for path in self._writers:
            yield pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = "a temporary directory" if self._directory is None else Path(self._directory.name).parent
            raise OfflineStoreError(
                f"rows to be compared with history don't fit into {where}: {error}. Nothing was written. Make "
                "room, have TMPDIR name another directory, or leave rows out by start or lookback."
            ) from error

    def _file_of(self, number: int, schema: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
        assert self._directory is not None
        path = Path(self._directory.name, str(number))
        if path not in self._writers:
            file = self._open.enter_context(pa.OSFile(str(path), "wb"))
            self._writers[path] = self._open.enter_context(pa.ipc.new_file(file, schema))
        return self._writers[path]

    def _numbers(self, rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """Return in which bucket each row lies."""
        columns = ", ".join(map(quoted, self._columns))
        with connect() as connection:
            connection.register("fs_rows", rows.select(self._columns))
            found = connection.sql(f"SELECT (hash({columns}) % {_BUCKETS})::UTINYINT AS bucket FROM fs_rows")
            numbers: np.ndarray[tuple[int], np.dtype[np.uint8]] = found.to_arrow_table()["bucket"].to_numpy()
        return numbers
