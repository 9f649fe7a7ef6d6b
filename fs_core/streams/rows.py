"""Messages as rows of a view: decoded, matched by name or by SQL, and checked; what becomes no row is rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fs_core.definitions import FeatureView, StreamSource
from fs_core.errors import DataError, SchemaError, SourceError
from fs_core.offline.sifted import Sifted
from fs_core.streams.contract import Messages, Rejected
from fs_core.streams.formats.contract import MessagesError
from fs_core.streams.formats.open import open_format
from fs_core.transforms.written import checked_rows, sifted_rows
from fs_core.values.casting import parse_text
from fs_core.values.times import MICROSECONDS

BROKER_TIME = "broker_time"
"""The column that says when the broker took a message."""

_NO_BODY = "it has no body: an entry of a Redis Stream has one field, whose value is the message"
_NOTHING_WRITTEN = " Nothing was written."
_ODD = (DataError, SourceError)


class Taken(NamedTuple):
    """What messages became.

    Attributes:
        rows: checked rows, in the order of the messages.
        rejected: the messages that became none.
        quarantined: those whose rows are to be quarantined.
    """

    rows: pa.Table
    rejected: list[Rejected]
    quarantined: list[Sifted]


def check_messages(source: StreamSource, directory: Path) -> None:
    """Refuse a stream whose messages no view can read.

    Args:
        source: the stream.
        directory: where the relative path of a schema is looked up after the working directory.

    Raises:
        ConfigurationError: what reads messages of this format isn't installed.
        SourceError: its SQL reads something else than messages, or its schema can't be read.
    """
    if source.sql is not None:
        from fs_core.sources.messages import check_message_sql

        check_message_sql(source.sql)
    open_format(source, directory)


class Reader:
    """Makes rows of a view out of messages.

    Args:
        view: the view.
        source: whose messages.
        directory: where the relative path of a schema is looked up after the working directory.

    Attributes:
        stream: the source's name.

    Raises:
        ConfigurationError: what reads messages of this format isn't installed.
        SchemaError: the view can't be filled from the messages that the source's schema describes.
        SourceError: the source's SQL reads something else than messages, or its schema can't be read.
    """

    def __init__(self, view: FeatureView, source: StreamSource, directory: Path) -> None:
        self.stream = source.name
        self._view, self._sql = view, source.sql
        check_messages(source, directory)
        self._format = open_format(source, directory)
        if source.sql is not None:
            from fs_core.sources.messages import members_in

            self._members = members_in(source.sql)
        self._types: Mapping[str, pa.DataType] = {
            **view.request_keys,
            **view.written,
            view.event_timestamp: MICROSECONDS,
        }
        self._check_schema(source)

    def _check_schema(self, source: StreamSource) -> None:
        """Refuse a schema whose messages could never become rows."""
        if self._format.types is None:
            return
        try:
            if self._sql is None:
                data = self._format.by_name([], self._types, self._view.event_timestamp)
            else:
                data = self._queried({name: pa.nulls(0, dtype) for name, dtype in self._format.types.items()}, [])
            self._valid(data, now=0)
        except (DataError, SourceError) as error:
            reason = str(error).removesuffix(_NOTHING_WRITTEN)
            raise SchemaError(f"{source.schema!r} doesn't fit view {self._view.ref!r}: {reason}") from error

    def take(self, messages: Messages, now: int) -> Taken:
        """Return the rows of messages, available from a moment on, microseconds, and the messages that became none."""
        rejected: list[Rejected] = []

        def reject(number: int, reason: str) -> None:
            body = messages.bodies[number] or b""
            rejected.append(Rejected(messages.partition, messages.positions[number], body, reason))

        def rows(chosen: Sequence[int]) -> list[Sifted]:
            """Leave out what is known to fail; halve what fails for another reason until it is one message."""
            if not chosen:
                return []
            try:
                return [self._checked([messages.bodies[n] for n in chosen], [messages.times[n] for n in chosen], now)]
            except MessagesError as error:
                for position, reason in error.reasons.items():
                    reject(chosen[position], reason)
                return rows([number for position, number in enumerate(chosen) if position not in error.reasons])
            except _ODD as error:
                if len(chosen) > 1:
                    middle = len(chosen) // 2
                    return rows(chosen[:middle]) + rows(chosen[middle:])
                reject(chosen[0], str(error).removesuffix(_NOTHING_WRITTEN))  # other messages were
                return []

        found = rows(range(len(messages.bodies)))
        rejected.sort(key=lambda message: message.position)
        good = pa.concat_tables([*(part.good for part in found), self._nothing()])
        return Taken(good, rejected, [part for part in found if part.positions])

    def _nothing(self) -> pa.Table:
        empty = {name: pa.nulls(0, dtype) for name, dtype in self._types.items()}
        return checked_rows(self._view, pa.table(empty), pushed_at=0)

    def _checked(self, bodies: Sequence[bytes | None], times: Sequence[int], now: int) -> Sifted:
        if None in bodies:
            raise SchemaError(_NO_BODY)
        texts = [body for body in bodies if body is not None]
        if self._sql is None:
            data = self._format.by_name(texts, self._types, self._view.event_timestamp)
            if self._view.event_timestamp in _absent(data):
                index = data.schema.get_field_index(self._view.event_timestamp)
                data = data.set_column(index, self._view.event_timestamp, _clock(times))
        else:
            data = self._with_types(self._queried(self._format.for_sql(texts, self._members), times))
        return self._valid(data, now)

    def _queried(self, columns: Mapping[str, pa.Array], times: Sequence[int]) -> pa.Table:
        """Return what SQL makes of the columns of messages."""
        from fs_core.sources.messages import rows_of_messages

        mine = {BROKER_TIME: _clock(times)}  # first and last, so that no member of the name takes its place
        has_all = self._format.types is not None  # what a schema doesn't have is a mistake, not a null
        return rows_of_messages(pa.table({**mine, **columns} | mine), str(self._sql), has_all=has_all)

    def _valid(self, data: pa.Table, now: int) -> Sifted:
        """Return rows in the view's types, available from a moment on, microseconds."""
        for index, name in enumerate(data.column_names):
            if name in self._types:
                data = data.set_column(index, name, _parsed(data[name], self._types[name], name))
        return sifted_rows(self._view, data, pushed_at=now)

    def _with_types(self, data: pa.Table) -> pa.Table:
        """Return rows whose columns of nothing but nulls have the declared types."""
        for name in _absent(data) & set(self._types):
            index = data.schema.get_field_index(name)
            data = data.set_column(index, name, pa.nulls(data.num_rows, self._types[name]))
        return data


def _absent(data: pa.Table) -> set[str]:
    return {name for name in data.column_names if data[name].null_count == data.num_rows}


def _clock(times: Sequence[int]) -> pa.Array:
    return pa.array(times, pa.int64()).cast(MICROSECONDS)


def _parsed(column: pa.ChunkedArray, dtype: pa.DataType, name: str) -> pa.ChunkedArray:
    return parse_text(column, dtype, f"column {name!r}", rounding="up")
