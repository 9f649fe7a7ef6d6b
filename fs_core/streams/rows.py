"""Messages as rows of a view: decoded, matched by name or by SQL, and checked; what becomes no row is told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView, StreamSource
from fs_core.errors import DataError, SchemaError, SourceError, did_you_mean
from fs_core.streams.contract import Messages, Rejected
from fs_core.streams.members import check_object, columns_of
from fs_core.transforms.written import checked_rows
from fs_core.values.casting import parse_text
from fs_core.values.times import MICROSECONDS

BROKER_TIME = "broker_time"
"""The column that says when the broker took a message."""

_NO_BODY = "it has no body: an entry of a Redis Stream has one field, whose value is the message"
_ODD = (DataError, SourceError)


class _LackingError(Exception):
    """Messages lack members.

    Args:
        reasons: what each lacks, by its number.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


class Taken(NamedTuple):
    """What messages became.

    Attributes:
        rows: checked rows, in the order of the messages.
        rejected: the messages that became none.
    """

    rows: pa.Table
    rejected: list[Rejected]


class Reader:
    """Makes rows of a view out of messages.

    Args:
        view: the view.
        source: whose messages.

    Attributes:
        stream: the source's name.

    Raises:
        SourceError: the source's SQL reads something else than messages.
    """

    def __init__(self, view: FeatureView, source: StreamSource) -> None:
        self.stream = source.name
        self._view, self._sql = view, source.sql
        if source.sql is not None:
            from fs_core.sources.messages import check_message_sql, members_in

            check_message_sql(source.sql)
            self._members = members_in(source.sql)
        self._types: Mapping[str, pa.DataType] = {
            **view.request_keys,
            **view.written,
            view.event_timestamp: MICROSECONDS,
        }

    def take(self, messages: Messages, now: int) -> Taken:
        """Return the rows of messages, available from a moment on, microseconds, and the messages that became none."""
        rejected: list[Rejected] = []

        def reject(number: int, reason: str) -> None:
            body = messages.bodies[number] or b""
            rejected.append(Rejected(messages.partition, messages.positions[number], body, reason))

        def rows(chosen: Sequence[int]) -> list[pa.Table]:
            """Leave out what is known to fail; halve what fails for another reason until it is one message."""
            if not chosen:
                return []
            try:
                return [self._checked([messages.bodies[n] for n in chosen], [messages.times[n] for n in chosen], now)]
            except _LackingError as error:
                for place, reason in error.reasons.items():
                    reject(chosen[place], reason)
                return rows([number for place, number in enumerate(chosen) if place not in error.reasons])
            except _ODD as error:
                if len(chosen) > 1:
                    middle = len(chosen) // 2
                    return rows(chosen[:middle]) + rows(chosen[middle:])
                reject(chosen[0], str(error).removesuffix(" Nothing was written."))  # other messages were
                return []

        found = rows(range(len(messages.bodies)))
        rejected.sort(key=lambda message: message.position)
        return Taken(pa.concat_tables([*found, self._nothing()]), rejected)

    def _nothing(self) -> pa.Table:
        empty = {name: pa.nulls(0, dtype) for name, dtype in self._types.items()}
        return checked_rows(self._view, pa.table(empty), pushed_at=0)

    def _checked(self, bodies: Sequence[bytes | None], times: Sequence[int], now: int) -> pa.Table:
        if None in bodies:
            raise SchemaError(_NO_BODY)
        texts = [body for body in bodies if body is not None]
        for text in texts:
            check_object(text)
        clock = pa.array(times, pa.int64()).cast(MICROSECONDS)
        if self._sql is None:
            data = decode_json(texts, {n: _in_json(t) for n, t in self._types.items()})
            _refuse_missing(texts, data, [name for name in self._types if name != self._view.event_timestamp])
            if self._view.event_timestamp in _absent(data):
                data = data.set_column(
                    data.schema.get_field_index(self._view.event_timestamp), self._view.event_timestamp, clock
                )
        else:
            from fs_core.sources.messages import rows_of_messages

            columns = columns_of(texts, self._members)
            mine = {BROKER_TIME: clock}  # first and last, so that no member of the name takes its place
            data = rows_of_messages(pa.table({**mine, **columns} | mine), self._sql)
            data = self._with_types(data)
        for place, name in enumerate(data.column_names):
            if name in self._types:
                data = data.set_column(place, name, _parsed(data[name], self._types[name], name))
        return checked_rows(self._view, data, pushed_at=now)

    def _with_types(self, data: pa.Table) -> pa.Table:
        """Return rows whose columns of nothing but nulls have the declared types."""
        for name in _absent(data) & set(self._types):
            place = data.schema.get_field_index(name)
            data = data.set_column(place, name, pa.nulls(data.num_rows, self._types[name]))
        return data


def _absent(data: pa.Table) -> set[str]:
    return {name for name in data.column_names if data[name].null_count == data.num_rows}


def _refuse_missing(bodies: Sequence[bytes], data: pa.Table, required: Sequence[str]) -> None:
    """Refuse messages that lack a member: as nulls, which nobody wrote, they would win over what is known.

    Args:
        bodies: JSON objects.
        data: what they say, with all the columns that they may have.
        required: those that they must have.

    Raises:
        _LackingError: names the members that each such message lacks.
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
        raise _LackingError(reasons)


def _members(body: bytes) -> set[str]:
    try:
        return set(json.loads(body.decode(), strict=False, parse_int=str, parse_float=str))
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"it can't be read as JSON: {error}") from error


def _parsed(column: pa.ChunkedArray, dtype: pa.DataType, name: str) -> pa.ChunkedArray:
    return parse_text(column, dtype, f"column {name!r}", rounding="up")


def _in_json(dtype: pa.DataType) -> pa.DataType:
    """Return as what JSON has a type: times and decimals are texts there."""
    if pa.types.is_temporal(dtype) or pa.types.is_decimal(dtype):
        return pa.string()
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(dtype.value_type)
    return pa.float32() if pa.types.is_float16(dtype) else dtype


def decode_json(bodies: Sequence[bytes], types: Mapping[str, pa.DataType]) -> pa.Table:
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
