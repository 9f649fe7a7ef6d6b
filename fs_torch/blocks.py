"""What an iterable dataset streams: one block of rows that fits, or many that are read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from fs_core import Encoding
from fs_core.errors import DataError
from fs_torch.source import RowSource, TableRows
from fs_torch.tensors import Form

Stream: TypeAlias = pa.RecordBatchReader | Callable[[], pa.RecordBatchReader]
"""A reader, which can be read once, or a function that opens one anew for each epoch and worker."""


class Blocks(Protocol):
    """Rows in blocks. Every pass gives the same rows in the same order."""

    encoding: Encoding

    @property
    def rows(self) -> int | None:
        """How many rows there are, if that is known before they are read."""
        ...

    def read(self, step_rows: int, ranks: int) -> Iterator[RowSource]:
        """Yield the blocks; all but the last hold whole steps of so many rows, the last at least one for each rank."""
        ...


class OneBlock:
    """Rows that are reached by position, whole.

    Args:
        rows: the rows.
    """

    def __init__(self, rows: RowSource) -> None:
        self._rows = rows
        self.encoding = rows.encoding

    @property
    def rows(self) -> int:
        """See `Blocks.rows`."""
        return len(self._rows)

    def read(self, step_rows: int, ranks: int) -> Iterator[RowSource]:  # noqa: ARG002
        """See `Blocks.read`."""
        yield self._rows


class StreamedBlocks:
    """Rows of a stream, in bounded memory: two blocks.

    Args:
        stream: a reader, or a function that opens one.
        block_rows: rows of a block, about.
        encoding: how features become tensors.
        form: what tensors look like.
        label: the label's column or columns, None for features alone.
    """

    rows = None

    def __init__(
        self, stream: Stream, block_rows: int, encoding: Encoding, form: Form, label: str | list[str] | None
    ) -> None:
        self._stream = stream
        self._spent = False
        self._block_rows = block_rows
        self.encoding = encoding
        self._form = form
        self._label = label

    def read(self, step_rows: int, ranks: int) -> Iterator[RowSource]:
        """See `Blocks.read`.

        Raises:
            DataError: the stream can be read once, and was.
        """
        from fs_core.retrieval.streaming import tables_of

        size = max(self._block_rows // step_rows, 1) * step_rows
        waiting: pa.Table | None = None
        for table in tables_of(self._opened(), size):
            if waiting is not None and table.num_rows < ranks:  # too few to share, but for those before
                table = pa.concat_tables([waiting, table])
            elif waiting is not None:
                yield self._block(waiting)
            waiting = table
        if waiting is not None:
            yield self._block(waiting)

    def _block(self, table: pa.Table) -> TableRows:
        return TableRows(table, self.encoding, self._form, self._label)

    def _opened(self) -> pa.RecordBatchReader:
        if callable(self._stream):
            return self._stream()
        if self._spent:
            raise DataError("this reader was read already. Pass a function that opens a new one for each epoch.")
        self._spent = True
        return self._stream

    def __getstate__(self) -> dict[str, Any]:
        if not callable(self._stream):
            raise DataError("a reader can't be shared with other processes. Pass a function that opens one.")
        return self.__dict__
