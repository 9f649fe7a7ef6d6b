"""Messages that are JSON objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import SchemaError, did_you_mean
from fs_core.streams.formats.contract import MessagesError
from fs_core.streams.formats.members import check_object, columns_of


class JsonFormat:
    """Reads JSON objects. See `fs_core.streams.formats.contract.Format`."""

    types: None = None

    def by_name(self, bodies: Sequence[bytes], types: Mapping[str, pa.DataType], optional: str) -> pa.Table:
        """See `Format.by_name`."""
        for body in bodies:
            check_object(body)
        data = _decoded(bodies, {name: _in_json(dtype) for name, dtype in types.items()})
        _refuse_missing(bodies, data, [name for name in types if name != optional])
        return data

    def for_sql(self, bodies: Sequence[bytes], wanted: Collection[str] | None) -> Mapping[str, pa.Array]:
        """See `Format.for_sql`."""
        for body in bodies:
            check_object(body)
        return columns_of(bodies, wanted)


def _refuse_missing(bodies: Sequence[bytes], data: pa.Table, required: Sequence[str]) -> None:
    """Refuse messages that lack a member: as nulls, which nobody wrote, they would win over what is known.

    Args:
        bodies: JSON objects.
        data: what they say, with all the columns that they may have.
        required: those that they must have.

    Raises:
        MessagesError: names the members that each such message lacks.
        SchemaError: a message is no JSON.
    """
    has_null = np.zeros(data.num_rows, bool)
    for name in required:
        has_null |= pc.is_null(data[name]).to_numpy()
    reasons: dict[int, str] = {}
    for place in np.flatnonzero(has_null).tolist():
        members = _members(bodies[place])
        missing = [name for name in required if name not in members]
        if missing:
            others = {name[:80] for name in members - set(data.column_names)}
            named = ", ".join(map(repr, missing))
            hint = did_you_mean(missing[0], others).replace(" Known: ", " It has: ")
            reasons[place] = f"it lacks {named}: a null has to be written.{hint}"
    if reasons:
        raise MessagesError(reasons)


def _members(body: bytes) -> set[str]:
    try:
        return set(json.loads(body.decode(), strict=False, parse_int=str, parse_float=str))
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"it can't be read as JSON: {error}") from error


def _in_json(dtype: pa.DataType) -> pa.DataType:
    """Return as what JSON has a type: times and decimals are texts there."""
    if pa.types.is_temporal(dtype) or pa.types.is_decimal(dtype):
        return pa.string()
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(dtype.value_type)
    return pa.float32() if pa.types.is_float16(dtype) else dtype


def _decoded(bodies: Sequence[bytes], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return JSON objects as a table, a row for each.

    Args:
        bodies: at least one, each of which has passed `check_object`.
        types: the columns wanted; members of other names are left out.

    Raises:
        SchemaError: a body is no JSON, or a member isn't of its type.
    """
    import pyarrow.json as reading

    lines = [body.replace(b"\n", b" ").strip() for body in bodies]
    text = b"\n".join(lines)
    schema = pa.schema(list(types.items()))
    options = reading.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        text.decode()
        found = reading.read_json(
            pa.BufferReader(text), read_options=reading.ReadOptions(block_size=len(text) + 1), parse_options=options
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SchemaError(f"it can't be read as JSON of the declared types: {error}") from error
    if found.num_rows != len(bodies):
        raise SchemaError("it is not one JSON object")
    return found
