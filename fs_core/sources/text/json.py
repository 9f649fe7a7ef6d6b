"""JSON files: an array of objects, or objects one after another. DuckDB splits, Arrow reads, Python where Arrow can't.

Neither takes a number through a float unless a float was declared, as DuckDB's own reading does.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from fs_core.errors import SchemaError, SourceError
from fs_core.offline.duckdb import one_file
from fs_core.sources.files import decompressed
from fs_core.sources.text.parsing import EXACT_IN_FLOAT, Kind, Kinds, column_of_objects, column_of_texts, type_of
from fs_core.values.interchange import array_of

_BATCH = 50_000  # objects that are in memory as such at once
_BLOCK = 2**22  # bytes that a thread of Arrow takes; a longer object is left to Python


def json_batches(
    connection: duckdb.DuckDBPyConnection, path: str, kinds: Kinds, *, every: bool = True
) -> Iterator[pa.Table]:
    """Yield the rows of a JSON file, columns of a kind as `column_of_objects` makes them, others in Arrow's types.

    An object without a name has a null there. A file without objects has all columns of a kind, and no rows.

    Args:
        connection: DuckDB's.
        path: one file, as it is or compressed by gzip, Zstandard or bzip2.
        kinds: of the columns that are known, by name.
        every: whether to yield other columns, too.

    Raises:
        SourceError: the file is no JSON.
        SchemaError: as in `column_of_objects`, a row is no object, or a column without a kind mixes types.
    """
    first = 0
    for texts in texts_of_objects(connection, path):
        found = _by_arrow(texts, kinds, every)
        yield _by_python(texts, kinds, first, every) if found is None else found
        first += len(texts)
    if not first:
        yield pa.table({name: pa.nulls(0, type_of(kind)) for name, kind in kinds.items()})


def texts_of_objects(connection: duckdb.DuckDBPyConnection, path: str) -> Iterator[list[str]]:
    """Yield the objects of a JSON file as text.

    Raises:
        SourceError: the file is no JSON.
    """
    try:
        with decompressed(path) as file:
            for batch in connection.sql(f"FROM read_json_objects({one_file(file)})").to_arrow_reader(_BATCH):
                yield batch.column(0).to_pylist()
    except (duckdb.Error, OSError) as error:  # what fails after the first rows comes through Arrow, as an OSError
        raise SourceError(f"{path!r} can't be read as JSON: {error}") from error


def objects(texts: list[str], first: int, number: Callable[[str], Any] | None = None) -> list[dict[str, Any]]:
    """Return objects as Python reads them.

    Args:
        texts: of the objects.
        first: the row in the file that the first is in.
        number: makes of a number's text what stands for it; by default whole numbers, decimals, NaN and infinity.

    Raises:
        SchemaError: one is no object, or has a name twice.
    """
    rows: list[dict[str, Any]] = json.loads(
        f"[{','.join(texts)}]",
        parse_float=number or Decimal,
        parse_int=number,
        parse_constant=number,
        object_pairs_hook=_object,
    )
    for row, value in enumerate(rows):
        if not isinstance(value, dict):
            raise SchemaError(f"row {first + row} is {value!r}, no object. Write each row as an object of its columns.")
    return rows


def _by_arrow(texts: list[str], kinds: Kinds, every: bool) -> pa.Table | None:
    """Return objects as a table; None if something about them takes another look. Four times as fast as Python."""
    schema = pa.schema([(name, _json_type(kind)) for name, kind in kinds.items()])
    unexpected = "infer" if every else "ignore"
    content = "\n".join(texts).encode()
    parsing = pj.ParseOptions(
        explicit_schema=schema,
        newlines_in_values=content.count(b"\n") >= len(texts),
        unexpected_field_behavior=unexpected,
    )
    try:
        found = pj.read_json(io.BytesIO(content), pj.ReadOptions(block_size=_BLOCK), parsing)
        if found.num_rows != len(texts) or found.column_names != schema.names:
            return None
        columns = {name: _by_text(found[name].combine_chunks(), name, kind) for name, kind in kinds.items()}
    except (pa.ArrowException, SchemaError):
        return None
    # A column of nulls may be none at all, and a large number may be whole and not what was written.
    doubtful = any(column.null_count == len(column) or _is_large(column) for column in columns.values())
    return None if doubtful else pa.table(columns)


def _json_type(kind: Kind) -> pa.DataType:
    """Return the type in which Arrow should read a kind: what JSON has no type for, as text."""
    made = type_of(kind)
    inner = made.value_type if pa.types.is_list(made) else made
    return pa.string() if pa.types.is_temporal(inner) or pa.types.is_binary(inner) else made


def _by_text(column: pa.Array, name: str, kind: Kind) -> pa.Array:
    return column if column.type == type_of(kind) else column_of_texts(column, name, kind)


def _is_large(column: pa.Array) -> bool:
    numbers = column.flatten() if pa.types.is_list(column.type) else column
    return pa.types.is_floating(numbers.type) and bool(
        pc.any(pc.greater_equal(pc.abs(numbers), EXACT_IN_FLOAT)).as_py()
    )


def _by_python(texts: list[str], kinds: Kinds, first: int, every: bool) -> pa.Table:
    rows = objects(texts, first)
    names = dict.fromkeys(name for row in rows for name in row if every or name in kinds)
    return pa.table({name: _column([row.get(name) for row in rows], name, kinds, first) for name in names})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SchemaError(f"an object has {twice!r} twice: {dict(pairs[:8])!r}. Keep one of them.")
    return made


def _column(values: list[Any], name: str, kinds: Kinds, first: int) -> pa.Array:
    if name in kinds:
        return column_of_objects(values, name, kinds[name], first)
    plain = [float(value) if isinstance(value, Decimal) else value for value in values]
    try:
        return array_of(plain)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise SchemaError(f"column {name!r} can't be read as Arrow: {error}") from error
