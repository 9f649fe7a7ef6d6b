"""Text files as Parquet, for SQL: read by our own reader, then scanned as often as a query likes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.errors import SchemaError
from fs_core.offline.duckdb import connect
from fs_core.sources.text.csv import agreed, text_batches
from fs_core.sources.text.inference import Shape, column_in, shape_of
from fs_core.sources.text.json_shapes import JsonShape, json_column_in, json_shape_of, value_batches, values_of

Shapes = dict[str, Shape | JsonShape]


class RowBatch(NamedTuple):
    """Some rows of a file: how many there are, and the values of their columns."""

    rows: int
    columns: dict[str, Any]


class TextFiles(NamedTuple):
    """Files of a format, and how they are read.

    Attributes:
        batches: begins to read them.
        shape: returns what some values of a column have in common.
        column: makes a column of values, its name, and the shape of all of its values.
    """

    batches: Callable[[], Iterator[RowBatch]]
    shape: Callable[[Any], Any]
    column: Callable[[Any, str, Any], pa.Array]


def text_files(paths: Collection[str], file_format: str, wanted: Collection[str]) -> TextFiles:
    """Return how CSV or JSON files are read for SQL.

    Args:
        paths: the files, in order.
        file_format: `csv` or `json`.
        wanted: names that the query may mean; they show the delimiter of a CSV, and are the columns of a JSON file
            without rows.
    """
    if file_format == "csv":
        return TextFiles(lambda: _csv(paths, wanted), shape_of, column_in)
    return TextFiles(lambda: _json(paths, wanted), json_shape_of, json_column_in)


def shapes_of(files: TextFiles, batches: int | None = None) -> Shapes:
    """Return what the columns' values have in common, in all rows or in the first batches."""
    shapes: Shapes = {}
    for batch in islice(files.batches(), batches):
        _join(shapes, batch, files)
    return shapes


def schema_of(shapes: Shapes) -> pa.Schema:
    """Return the columns' types in SQL."""
    return pa.schema([(name, shape.dtype) for name, shape in shapes.items()])


def spool(files: TextFiles, target: Path) -> None:
    """Write text files as one Parquet file, columns in the types that all of their values have in common.

    Most files are read once; where the types of the first rows don't hold for all, twice. Memory holds one batch.

    Raises:
        SourceError: a file is no such file; names the line.
        SchemaError: a row of a JSON file is no object, or has a name twice.
    """
    shapes = shapes_of(files, 1)
    while schema_of(found := _write(files, shapes, target)) != schema_of(shapes):
        shapes = found


def _write(files: TextFiles, shapes: Shapes, target: Path) -> Shapes:
    """Write batches as long as the types of `shapes` hold for them; return the shapes of all batches."""
    schema, found = schema_of(shapes), dict(shapes)
    with pq.ParquetWriter(target, schema, compression="lz4", use_dictionary=False) as writer:
        for batch in files.batches():
            _join(found, batch, files)
            if schema_of(found) == schema:
                writer.write_table(_table(batch, shapes, schema, files))
    return found


def _join(shapes: Shapes, batch: RowBatch, files: TextFiles) -> None:
    for name, values in batch.columns.items():
        shape = files.shape(values)
        shapes[name] = shapes[name].joined(shape) if name in shapes else shape


def _table(batch: RowBatch, shapes: Shapes, schema: pa.Schema, files: TextFiles) -> pa.Table:
    columns = [
        files.column(batch.columns[field.name], field.name, shapes[field.name])
        if field.name in batch.columns
        else pa.nulls(batch.rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _csv(paths: Iterable[str], wanted: Collection[str]) -> Iterator[RowBatch]:
    known: set[str] | None = None
    for path in paths:
        with connect() as connection:
            for batch in text_batches(connection, path, wanted):
                known = agreed(path, set(batch.column_names), known)
                columns = {name: batch[name].combine_chunks() for name in batch.column_names}
                yield RowBatch(batch.num_rows, columns)


def _json(paths: Iterable[str], wanted: Collection[str]) -> Iterator[RowBatch]:
    is_empty = True
    for path in paths:
        try:
            with connect() as connection:
                for rows, columns in value_batches(connection, path):
                    is_empty = False
                    yield RowBatch(rows, columns)
        except SchemaError as error:
            raise SchemaError(f"{path!r}: {error}") from error
    if is_empty:
        yield RowBatch(0, {name: values_of([], name) for name in wanted})
