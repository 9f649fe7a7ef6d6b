"""Answers in strict JSON, as `body` reads it, or as an Arrow stream."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from fs_core.serving.vectors import python_values

Column = Any
"""An Arrow array, in chunks or not."""

ARROW = "application/vnd.apache.arrow.stream"
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
_TEXTS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON; the values must be JSON's, or times and dates."""
    return Response(orjson.dumps(content, option=_OPTIONS), status, media_type="application/json")


def wants_arrow(request: Request) -> bool:
    """Tell whether a client asks for an Arrow stream."""
    return ARROW in request.headers.get("accept", "")


def arrow_response(table: pa.Table, about: Mapping[str, Any]) -> Response:
    """Return a table as an Arrow stream.

    Args:
        table: the rows.
        about: what JSON has beside the rows; it is in the schema's metadata, as JSON by name.
    """
    metadata = {name: json.dumps(value) for name, value in about.items()}
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema.with_metadata(metadata)) as stream:
        stream.write_table(table.replace_schema_metadata(metadata))
    return Response(sink.getvalue(), media_type=ARROW)


def rows_of(given: pa.Table | Mapping[str, Column]) -> list[dict[str, Any]]:
    """Return a table, or columns by name, as rows of values that `json_response` writes."""
    columns = given if isinstance(given, Mapping) else dict(zip(given.column_names, given.columns, strict=True))
    values = [values_of(column) for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def values_of(column: Column) -> list[Any]:
    """Return a column's values as JSON has them."""
    dtype, values = column.type, python_values(column)
    if pa.types.is_floating(dtype):
        return [value if value is None or isfinite(value) else _TEXTS[str(value)] for value in values]
    if pa.types.is_integer(dtype) or pa.types.is_boolean(dtype) or pa.types.is_string(dtype):
        return values
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return _TEXTS.get(str(value), value)
    return value
