"""MySQL and MariaDB by PyMySQL: rows as they stream in, in Arrow types that keep every digit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
import pymysql
from pymysql.constants import FIELD_TYPE, FLAG
from pymysql.cursors import SSCursor

from fs_core.errors import SourceError
from fs_core.sources.warehouse.columns import check, converted

_TEXTS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password")
_SWITCHES = ("ssl_disabled", "ssl_verify_cert", "ssl_verify_identity")
_ON_OR_OFF = {"1": True, "true": True, "0": False, "false": False}
_PART_ROWS = 50_000
_BINARY = 63  # the number of the character set that is none
_WHOLE = {FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.YEAR}
_TYPES = {
    **dict.fromkeys((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE), pa.float64()),
    **dict.fromkeys((FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP), pa.timestamp("us")),
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.TIME: pa.duration("us"),
    FIELD_TYPE.JSON: pa.string(),
    FIELD_TYPE.NULL: pa.null(),
}


@contextmanager
def running(url: str, query: str) -> Iterator[Iterator[pa.Table]]:
    """Run a query; yield its parts. The session is in UTC, and changes nothing.

    Args:
        url: of the database; a password may come from `MYSQL_PWD` instead.
        query: one SELECT.

    Raises:
        SourceError: the URL has an option that isn't known, or a value of another type.
    """
    parts = urlsplit(url)
    with closing(
        pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=unquote(parts.username or "") or None,
            password=unquote(parts.password or "") or os.environ.get("MYSQL_PWD", ""),
            database=unquote(parts.path.strip("/")) or None,
            init_command="SET time_zone = '+00:00'",
            **_options(parts.query),
        )
    ) as connection:
        with connection.cursor() as described:
            described.execute("START TRANSACTION READ ONLY")
            described.execute(f"SELECT * FROM (\n{query}\n) AS fs_described LIMIT 0")
            names = ", ".join(_selected(name, kind) for name, kind, *_ in described.description)
        with connection.cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT {names} FROM (\n{query}\n) AS fs_typed")
            try:
                yield _parts(cursor)
            finally:  # or the cursor would read all that is left; the connection ends, and its socket with it
                cursor._result.unbuffered_active = False


def _options(query: str) -> dict[str, Any]:
    """Return the driver's arguments for a URL's options. Who names an authority wants the server to be checked."""
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in _TEXTS:
            options[name] = text
        elif name in _SWITCHES and text.lower() in _ON_OR_OFF:
            options[name] = _ON_OR_OFF[text.lower()]
        elif name in _SWITCHES:
            raise SourceError(f"its URL's option {name} is neither true nor false.")
        else:
            raise SourceError(f"its URL has the option {name!r}. Known are {', '.join((*_TEXTS, *_SWITCHES))}.")
    if "ssl_ca" in options:
        return {"ssl_verify_cert": True, **options}
    if options.get("ssl_verify_identity"):  # the driver would leave the name unchecked
        raise SourceError("its URL's option ssl_verify_identity needs ssl_ca, the file of the authority's certificate.")
    return options


def _selected(name: str, kind: int) -> str:
    """Return a column for a select list. A float is sent with six digits, which aren't enough; a double with all."""
    quoted = "`" + name.replace("`", "``") + "`"
    return f"{quoted} * 1E0 AS {quoted}" if kind == FIELD_TYPE.FLOAT else quoted


def _parts(cursor: SSCursor) -> Iterator[pa.Table]:
    # What the description leaves out: whether numbers have a sign, and texts letters.
    schema = pa.schema([(field.name, _type(field)) for field in cursor._result.fields])
    check(schema)
    yield schema.empty_table()
    while rows := cursor.fetchmany(_PART_ROWS):
        columns = zip(*rows, strict=True)
        yield pa.table([_column(f, c) for f, c in zip(schema, columns, strict=True)], schema=schema)


def _column(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    if pa.types.is_boolean(field.type):
        other = next((value for value in values if value not in (None, 0, 1)), None)
        if other is not None:
            raise SourceError(
                f"column {field.name!r} is a BOOLEAN, or TINYINT(1), and holds {other}. If it is a number, say so in "
                f"the query: CAST({field.name} AS SIGNED) AS {field.name}."
            )
        return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    if pa.types.is_temporal(field.type) and (odd := next((v for v in values if isinstance(v, str)), None)) is not None:
        raise SourceError(f"column {field.name!r} holds {odd!r}, which is no date. Leave such rows out in the query.")
    return converted(field.name, field.type, lambda: pa.array(values, field.type))


def _type(field: Any) -> pa.DataType:
    if field.type_code == FIELD_TYPE.TINY and field.length == 1 and not field.flags & FLAG.UNSIGNED:
        return pa.bool_()  # what it makes of BOOLEAN
    if field.type_code in _WHOLE:
        return pa.uint64() if field.flags & FLAG.UNSIGNED and field.type_code == FIELD_TYPE.LONGLONG else pa.int64()
    if field.type_code in (FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.DECIMAL):
        digits = field.length - bool(field.scale) - (not field.flags & FLAG.UNSIGNED)  # the point, and the sign
        return pa.decimal128(digits, field.scale) if digits <= 38 else pa.decimal256(digits, field.scale)
    known = _TYPES.get(field.type_code)
    return known or (pa.binary() if field.charsetnr == _BINARY else pa.string())
