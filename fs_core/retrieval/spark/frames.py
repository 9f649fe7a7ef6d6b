"""A Spark frame's rows as a stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fs_core.errors import SourceError
from fs_core.retrieval.spark.failures import reason_of
from fs_core.retrieval.spark.types import arrow_schema

if TYPE_CHECKING:
    from fs_core.sources.sources import Times

_PACKED_BYTES = 1 << 20  # of rows that travel as one: Spark Connect sends no row that is larger than some megabytes


def reader_of(frame: Any, what: str, times: Times | None = None) -> pa.RecordBatchReader:
    """Return a frame's rows as a stream of Arrow batches; memory holds a partition's batches at most.

    Args:
        frame: the data frame.
        what: how errors call it.
        times: rows at other times may be left out; not those without a time.

    Raises:
        SchemaError: a column is of a type that we don't know; two share a name.
        SourceError: Spark can't compute it; raised as the stream is read, unless Spark knows before.
    """
    schema = arrow_schema(frame, what)
    frame = frame if times is None else _within(frame, times)
    return pa.RecordBatchReader.from_batches(schema, _batches(frame, schema, what))


def _within(frame: Any, times: Times) -> Any:
    """Return a frame without rows at other times, where Spark compares them as we do; a time without a zone would be
    taken for the session's.
    """
    from pyspark.sql.types import TimestampType

    column = times.column
    alike = [field for field in frame.schema if field.name.lower() == column.lower()]  # one name to Spark
    if [field.name for field in alike] == [column] and isinstance(alike[0].dataType, TimestampType):
        for moment, sign in ((times.start, ">="), (times.end, "<")):
            if moment is not None:
                frame = frame.where(f"`{column}` {sign} timestamp_micros({moment}) OR `{column}` IS NULL")
    return frame


def _batches(frame: Any, schema: pa.Schema, what: str) -> Iterator[pa.RecordBatch]:
    from pyspark.errors import PySparkException

    # Spark hands out rows of Python one by one, or the whole frame: so a batch of rows travels as one row of bytes.
    try:
        for row in frame.mapInArrow(packed_batches, "batch binary").toLocalIterator():
            for batch in pa.ipc.open_stream(row["batch"]):
                yield from pa.Table.from_batches([batch]).cast(schema).to_batches()
    except PySparkException as error:
        raise SourceError(f"{what}: Spark can't compute the frame: {reason_of(error)}") from error


def packed_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield each batch as one row of one column, `batch`, an Arrow stream; as several rows where it is large."""
    for batch in batches:
        rows = max(1, batch.num_rows * _PACKED_BYTES // max(batch.nbytes, 1))
        for start in range(0, batch.num_rows, rows):
            yield pa.RecordBatch.from_pydict({"batch": pa.array([_packed(batch.slice(start, rows))], pa.binary())})


def _packed(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())
