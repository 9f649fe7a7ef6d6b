"""A spine larger than memory: a stream that can be opened again, and gone on with at any position."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from fs_core.errors import DataError
from fs_core.retrieval.streaming import tables_of

_STREAMS = 8  # kept open for iterators that may go on


class SpineStream:
    """A stream's parts by number, each read once as long as they are asked for in turn. Thread-safe.

    Several iterators may be at different positions: each goes on with a stream of its own. An unknown position is
    reached by opening a stream and reading up to it.

    Args:
        opened: opens the stream.
    """

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._open = opened
        self._waiting: dict[tuple[int, int], Iterator[pa.Table]] = {}
        self._lock = threading.Lock()
        self.schema: pa.Schema = self._opened().schema

    def part(self, number: int, size: int) -> pa.Table:
        """Return the rows from the `number * size`th, as many as `size`; fewer at the end."""
        with self._lock:
            parts = self._waiting.pop((number, size), None)
        if parts is None:
            parts = tables_of(self._opened(), size)
            for _ in range(number):
                next(parts, None)
        found = next(parts, None)
        if found is None:
            return self.schema.empty_table()
        with self._lock:
            while len(self._waiting) >= _STREAMS:
                self._waiting.pop(next(iter(self._waiting)))
            self._waiting[number + 1, size] = parts
        return found

    def _opened(self) -> pa.RecordBatchReader:
        stream = self._open()
        if not hasattr(stream, "__arrow_c_stream__"):
            raise DataError(
                f"the spine's function returned {type(stream).__name__}, no Arrow stream. Return a "
                "pyarrow.RecordBatchReader or a table."
            )
        return pa.RecordBatchReader.from_stream(stream)
