"""Databases that ADBC has a driver for: PostgreSQL and Redshift, Snowflake, BigQuery."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import SourceError
from fs_core.sources.warehouse.columns import check, converted

_DAY = 86_400_000_000  # microseconds
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999, microseconds
_NO_PRECISION = 0xFFFF


@contextmanager
def running(url: str, query: str) -> Iterator[Iterator[pa.Table]]:
    """Run a query; yield its parts. The session is in UTC, and PostgreSQL's changes nothing.

    Args:
        url: of the database.
        query: one SELECT.

    Raises:
        SourceError: a column has a type that has no like here.
    """
    scheme = url.partition(":")[0]
    with _connected(scheme, url) as connection, connection.cursor() as cursor:
        if scheme == "postgresql":
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.execute("SET default_transaction_read_only = on")
        cursor.execute(query)
        read = cursor.fetch_record_batch()
        check(read.schema)
        yield map(_plain, chain([read.schema.empty_table()], map(pa.table, read)))


def ingest(url: str, table: str, rows: pa.Table, *, replace: bool) -> None:
    """Make a table of PostgreSQL with these rows, whole or not at all.

    Args:
        url: of the database.
        table: its name, perhaps behind a schema's and a dot, as it is, without quotes.
        rows: in types that PostgreSQL has.
        replace: whether a table of that name goes.
    """
    schema, _, name = table.rpartition(".")
    driver = import_module("adbc_driver_postgresql.dbapi")
    with driver.connect(url, autocommit=False) as connection, connection.cursor() as cursor:
        mode = "replace" if replace else "create"
        cursor.adbc_ingest(name, rows, mode=mode, db_schema_name=schema or None)
        connection.commit()


def _connected(scheme: str, url: str) -> Any:
    if scheme == "snowflake":
        return import_module("adbc_driver_snowflake.dbapi").connect(url.removeprefix("snowflake://"), autocommit=True)
    if scheme == "bigquery":
        names = ("adbc.bigquery.sql.project_id", "adbc.bigquery.sql.dataset_id")
        parts = urlsplit(url)
        if parts.query:
            others = ", ".join(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
            raise SourceError(f"its URL has the options {others}. BigQuery's takes none: leave them out.")
        given = dict(zip(names, (parts.netloc, parts.path.strip("/")), strict=True))
        return import_module("adbc_driver_bigquery.dbapi").connect({n: v for n, v in given.items() if v})
    # Redshift speaks PostgreSQL's protocol.
    return import_module("adbc_driver_postgresql.dbapi").connect(f"postgresql{url[len(scheme) :]}", autocommit=True)


def _plain(table: pa.Table) -> pa.Table:
    """Return columns in Arrow's own types."""
    columns = [_column(field, table[field.name]) for field in table.schema]
    return pa.table(columns, names=table.column_names)


def _column(field: pa.Field, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(field.type, pa.OpaqueType):
        stored = pa.chunked_array([chunk.storage for chunk in values.chunks], field.type.storage_type)
        dtype = _decimal(field)
        return converted(field.name, dtype, lambda: stored.cast(dtype))
    if isinstance(field.type, pa.UuidType):
        texts = [None if each is None else str(uuid.UUID(bytes=each.bytes)) for each in values.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if isinstance(field.type, pa.BaseExtensionType):  # JSON
        return pa.chunked_array([chunk.storage for chunk in values.chunks], field.type.storage_type)
    if pa.types.is_date32(field.type) or (pa.types.is_timestamp(field.type) and field.type.unit == "us"):
        _refuse_infinity(field.name, values)
    return values


def _decimal(field: pa.Field) -> pa.DataType:
    """Return the type of a PostgreSQL `numeric`, from its modifier: precision and scale in 16 and 11 bits, plus 4."""
    metadata = {name.decode(): text.decode() for name, text in (field.metadata or {}).items()}
    modifier = int(metadata.get("POSTGRESQL:typmod", "-1")) - 4
    precision, scale = modifier >> 16 & _NO_PRECISION, ((modifier & 0x7FF) ^ 0x400) - 0x400
    if field.type.type_name != "numeric" or modifier < 0 or precision > 76:
        cast = f"{field.name}::numeric(20, 4)" if field.type.type_name == "numeric" else f"{field.name}::text"
        raise SourceError(
            f"column {field.name!r} is {field.type.type_name!r} without a size, and could lose digits. Say which type "
            f"it is in the query, such as {cast}."
        )
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _refuse_infinity(name: str, values: pa.ChunkedArray) -> None:
    """Refuse moments and days that no calendar has: the driver makes the past of PostgreSQL's `infinity`."""
    is_day = pa.types.is_date32(values.type)
    step = _DAY if is_day else 1
    ends = pc.min_max(values.cast(pa.int32() if is_day else pa.int64())).as_py()
    if ends["min"] is not None and (ends["min"] * step < _FIRST or ends["max"] * step > _LAST):
        raise SourceError(f"column {name!r} holds 'infinity', or a year beyond 9999. Leave such rows out in the query.")
