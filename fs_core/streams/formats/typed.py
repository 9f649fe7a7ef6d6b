"""Messages whose columns and types a schema file says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from fs_core.errors import SchemaError, SourceError, did_you_mean
from fs_core.streams.formats.contract import MessagesError


class Column(NamedTuple):
    """A field of all messages.

    Attributes:
        dtype: its type.
        value: returns what a parsed message has there; raises `SchemaError` where that can't be told.
    """

    dtype: pa.DataType
    value: Callable[[Any], Any]


@dataclass(frozen=True)
class Schema:
    """What a schema file says of messages.

    Attributes:
        file: where it lies.
        parse: returns what `Column.value` takes from the bytes of a message; raises `SchemaError`.
        columns: the fields by name.
        unreadable: fields that can be no columns, with the reason.
    """

    file: str
    parse: Callable[[bytes], Any]
    columns: Mapping[str, Column]
    unreadable: Mapping[str, str]


class TypedFormat:
    """Reads messages as a schema says. See `fs_core.streams.formats.contract.Format`.

    Args:
        schema: the schema.
        for_sql: whether names are those of a query, which ignores case.

    Raises:
        SourceError: a query can't tell the schema's fields apart.
    """

    def __init__(self, schema: Schema, *, for_sql: bool) -> None:
        self._schema = schema
        if for_sql and len({name.lower() for name in schema.columns}) < len(schema.columns):
            raise SourceError(f"fields of {schema.file!r} differ in nothing but case, which SQL ignores.")

    @property
    def types(self) -> Mapping[str, pa.DataType]:
        """See `Format.types`."""
        return {name: column.dtype for name, column in self._schema.columns.items()}

    def by_name(self, bodies: Sequence[bytes], types: Mapping[str, pa.DataType], optional: str) -> pa.Table:
        """See `Format.by_name`. There may be no messages."""
        known = self._schema.columns
        missing = [name for name in types if name not in known and name != optional]
        if missing:
            why = self._schema.unreadable.get(missing[0])
            reason = f"is {why}" if why else f"is not there.{did_you_mean(missing[0], set(known) - set(types))}"
            raise SchemaError(f"field {missing[0]!r} {reason}")
        found = self._decoded(bodies, {name: known[name] for name in types if name in known})
        return pa.table({name: found.get(name, pa.nulls(len(bodies))) for name in types})

    def for_sql(self, bodies: Sequence[bytes], wanted: Collection[str] | None) -> Mapping[str, pa.Array]:
        """See `Format.for_sql`."""
        known = self._schema.columns
        return self._decoded(bodies, {n: c for n, c in known.items() if wanted is None or n.lower() in wanted})

    def _decoded(self, bodies: Sequence[bytes], columns: Mapping[str, Column]) -> dict[str, pa.Array]:
        rows, reasons = list[list[Any]](), dict[int, str]()
        for place, body in enumerate(bodies):
            try:
                message = self._schema.parse(body)
                rows.append([column.value(message) for column in columns.values()])
            except SchemaError as error:
                reasons[place] = str(error)
        if reasons:
            raise MessagesError(reasons)
        values = zip(*rows, strict=True) if rows else [()] * len(columns)
        return {n: _array(part, column.dtype, n) for (n, column), part in zip(columns.items(), values, strict=True)}


def _array(values: Sequence[Any], dtype: pa.DataType, name: str) -> pa.Array:
    try:
        return pa.array(values, dtype)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise SchemaError(f"field {name!r} has a value that is no {dtype}: {error}") from error


def after_frame(body: bytes) -> bytes:
    """Return what follows the five bytes of Confluent's wire format: a zero, and the number of a schema.

    Raises:
        SchemaError: they aren't there.
    """
    if len(body) < 5 or body[0]:
        raise SchemaError("it doesn't begin with a zero and four bytes, as Confluent's wire format does")
    return body[5:]
