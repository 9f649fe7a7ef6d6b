"""JSON files: an array of objects, or objects one after another. DuckDB splits, Python reads every number exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from fs_core.errors import SchemaError, SourceError
from fs_core.offline.connection import literal
from fs_core.offline.parsing import Kinds, column_of_objects, type_of

_BATCH = 50_000  # objects that are in memory as such at once


def json_batches(
    connection: duckdb.DuckDBPyConnection, path: str, kinds: Kinds, *, every: bool = True
) -> Iterator[pa.Table]:
    """Yield the rows of a JSON file, columns of a kind as `column_of_objects` makes them, others in Arrow's types.

    An object without a name has a null there. Numbers are read as decimals if any decimal is declared, for DuckDB's
    own reading would take them through a float. A file without objects has all columns of a kind, and no rows.

    Args:
        connection: DuckDB's.
        path: one file, as it is or compressed by gzip or Zstandard.
        kinds: of the columns that are known, by name.
        every: whether to yield other columns, too.

    Raises:
        SourceError: the file is no JSON, or not of objects.
        SchemaError: as in `column_of_objects`, or a column without a kind mixes types.
    """
    decimals = any(not isinstance(kind, str) and "decimal" in str(kind) for kind in kinds.values())
    decode = json.JSONDecoder(parse_float=Decimal if decimals else None).decode
    try:
        reader = connection.sql(f"FROM read_json_objects({literal(path)})").to_arrow_reader(_BATCH)
        first = 0
        for batch in reader:
            rows = decode(f"[{','.join(batch.column(0).to_pylist())}]")
            yield _table(rows, kinds, first, every)
            first += len(rows)
        if not first:
            yield pa.table({name: pa.nulls(0, type_of(kind)) for name, kind in kinds.items()})
    except duckdb.Error as error:
        raise SourceError(f"{path!r} can't be read as JSON: {error}") from error


def _table(rows: list[Any], kinds: Kinds, first: int, every: bool) -> pa.Table:
    for row, value in enumerate(rows):
        if not isinstance(value, dict):
            raise SourceError(f"row {first + row} is {value!r}, no object. Write each row as an object of its columns.")
    names = dict.fromkeys(name for row in rows for name in row if every or name in kinds)
    return pa.table({name: _column([row.get(name) for row in rows], name, kinds, first) for name in names})


def _column(values: list[Any], name: str, kinds: Kinds, first: int) -> pa.Array:
    if name in kinds:
        return column_of_objects(values, name, kinds[name], first)
    plain = [float(value) if isinstance(value, Decimal) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise SchemaError(f"column {name!r} can't be read as Arrow: {error}") from error
