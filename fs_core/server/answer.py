"""Answers in strict JSON, as `body` reads it, or as an Arrow stream."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa
from starlette.responses import Response

from fs_core.online.row.cells import python_values
from fs_core.serving import FeatureVectors

ARROW = "application/vnd.apache.arrow.stream"
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
_FLOATS = {dtype.id for dtype in (pa.float16(), pa.float32(), pa.float64())}
_WHOLE = [getattr(pa, f"{kind}{bits}")() for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
_PLAIN = {dtype.id for dtype in (*_WHOLE, pa.bool_(), pa.string())}
"""The types of JSON's own values, by Arrow's numbers of them."""
_TEXTS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON; the values must be JSON's, or times and dates."""
    return Response(orjson.dumps(content, option=_OPTIONS), status, media_type="application/json")


def wants_arrow(accept: str) -> bool:
    """Tell whether a client asks for an Arrow stream, by its `Accept` header."""
    return ARROW in accept


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


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return a table as rows of values that `json_response` writes."""
    columns = zip(table.column_names, table.columns, strict=True)
    return as_rows({name: json_values(python_values(column), column.type) for name, column in columns})


def as_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return columns as rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def json_values(values: list[Any], dtype: pa.DataType) -> list[Any]:
    """Return a column's values as JSON has them.

    Args:
        values: as Arrow gives them, null as None.
        dtype: their type.
    """
    if dtype.id in _FLOATS:
        if None not in values and isfinite(sum(values)):  # so is each of them
            return values
        return [value if value is None or isfinite(value) else _TEXTS[str(value)] for value in values]
    if dtype.id in _PLAIN:
        return values
    return [_plain(value) for value in values]


def read_values(found: FeatureVectors) -> dict[str, list[Any]]:
    """Return what a read found, column by column, as JSON has it."""
    types = found.types
    return {name: json_values(values, types[name]) for name, values in found.to_lists().items()}


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
