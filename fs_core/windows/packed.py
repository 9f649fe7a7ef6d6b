"""An entity's events as one value of an online store, to which a push appends and which a read folds.

    entries, in any order: a packed row's length, 4 bytes, big-endian, and the row

A row is packed as `fs_core.online.row.codec` packs the rows of any view: with its own checksum, which knows the view
and the entity. Its columns are those that aggregates and the id need, and a flag for each `where`, so that conditions
are evaluated once, when an event is written. The value is a set of events: entries may come in any order, several
times, from several writers; only who rewrites the value has to see to it that nothing is appended meanwhile.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView, Field
from fs_core.online.contract import OnlineRows
from fs_core.online.row.codec import DecodedRows, RowCodec
from fs_core.online.row.layout import checksums, layout_of
from fs_core.windows.answer import Answers, Asked, answer
from fs_core.windows.evaluate import columns_of, prepared_for
from fs_core.windows.events import Events
from fs_core.windows.plan import Feature, features_of

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class HeldEvents:
    """The events of some values.

    Attributes:
        codes: the value that each comes from.
        clocks: event time, availability, both in microseconds, and seq.
        columns: what they say, in the declared types.
        passing: for each `where`, which of them it is true for.
        corrupt: values that are damaged, of another meaning or of another entity; no event of theirs is among these.
    """

    codes: Ints
    clocks: tuple[Ints, Ints, Ints]
    columns: Mapping[str, pa.Array]
    passing: Mapping[str, Flags]
    corrupt: list[int]


class EventCodec:
    """Packs, reads and folds the events of one view with aggregations. Thread-safe, and pickles as its view."""

    def __init__(self, view: FeatureView) -> None:
        self._view = view
        self._wheres = list(dict.fromkeys(a.where for a in view.aggregations if a.where is not None))
        self._rows = _as_rows(view, len(self._wheres))
        self._codec = RowCodec(self._rows)
        self._layout = layout_of(self._rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return EventCodec, (self._view,)

    @cached_property
    def features(self) -> list[Feature]:
        """The view's aggregates."""
        return features_of(self._view)

    def encode(self, rows: pa.Table, passing: Mapping[str, pa.ChunkedArray]) -> OnlineRows:
        """Return what must be appended to the value of each row's entity.

        Args:
            rows: events in `history_schema(view)`.
            passing: for each `where`, which of them it is true for.

        Raises:
            OnlineStoreError: a seq is beyond `LAST_SEQ`.
        """
        everything = pa.chunked_array([pa.repeat(True, len(rows))])
        flags = [everything, *(passing[where] for where in self._wheres)]
        for name, flag in zip(self._flags, flags, strict=True):
            rows = rows.append_column(name, flag)
        packed = self._codec.encode(rows)
        return OnlineRows(packed.keys, [_LENGTH.pack(len(row)) + row for row in packed.rows])

    def decode(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> HeldEvents:
        """Read the values that a store holds under these keys; None stands for no events."""
        whole = None if self._layout.has_streams else self._at_once(keys, values)
        if whole is not None:
            return self._held(*whole, [])
        counts, rows, corrupt = self._split(values)
        codes = np.repeat(np.arange(len(values)), counts)
        found = self._codec.decode([keys[code] for code in codes.tolist()], rows)
        if found.corrupt:
            damaged = {*corrupt, *codes[found.corrupt].tolist()}
            kept = [None if place in damaged else value for place, value in enumerate(values)]
            return replace(self.decode(keys, kept), corrupt=sorted(damaged))
        return self._held(codes, found, corrupt)

    def _at_once(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> tuple[Ints, DecodedRows] | None:
        """Read values of rows that are all equally long as one array; None where one isn't sound."""
        layout = self._layout
        entry = np.dtype([("length", ">u4"), ("row", layout.head)])
        sizes = np.fromiter((len(value or b"") for value in values), np.int64, len(values))
        counts = sizes // entry.itemsize
        if (counts * entry.itemsize != sizes).any():
            return None
        entries = np.frombuffer(b"".join([value for value in values if value]), entry)
        heads = np.ascontiguousarray(entries["row"])
        belong = np.repeat(np.fromiter(map(zlib.crc32, keys), np.uint32, len(keys)), counts)
        sound = (checksums(heads) ^ belong ^ np.uint32(layout.tag)) == heads["__seal"]
        if not (sound & (entries["length"] == layout.size)).all():
            return None
        return np.repeat(np.arange(len(values)), counts), DecodedRows.of(layout, heads, {}, None, [])

    def _held(self, codes: Ints, found: DecodedRows, corrupt: list[int]) -> HeldEvents:
        names = tuple(self._rows.features)
        columns = dict(zip(names, found.features.arrays(names), strict=True))
        _, *flags = [columns.pop(name) for name in self._flags]
        passing = {
            w: np.asarray(flag.to_numpy(zero_copy_only=False)) for w, flag in zip(self._wheres, flags, strict=True)
        }
        return HeldEvents(codes, (found.event_time, found.available_at, found.seq), columns, passing, corrupt)

    def fold(self, held: HeldEvents, names: Sequence[str], moments: Ints) -> Answers:
        """Return features of each value at a moment.

        Args:
            held: the events of the values.
            names: the features wanted.
            moments: of each value, microseconds.

        Raises:
            TooLargeError: a whole number or a decimal doesn't fit its type.
        """
        features = features_of(self._view, names)
        prepared = prepared_for(features, self._events(held), len(moments))
        everybody = np.arange(len(moments))
        return answer(features, [Asked(prepared, everybody, everybody)], moments)

    def trimmed(self, keys: Sequence[bytes], values: Sequence[bytes | None], since: int) -> list[bytes | None]:
        """Return values without the events that matter at no moment from `since` on, each event once.

        What has left every window goes, and what is superseded; the latest known event stays, since it shows that the
        entity is known. Damaged values stay as they are.

        Args:
            keys: of the values.
            values: as the store holds them.
            since: microseconds.
        """
        held = self.decode(keys, values)
        events = self._events(held)
        kept = self._matter(events, since)
        entries, trimmed = self._split(values, without=held.corrupt)[1], list(values)
        parts: dict[int, list[bytes]] = {code: [] for code, value in enumerate(values) if value is not None}
        for row in events.rows[kept].tolist():
            parts[int(held.codes[row])] += [_LENGTH.pack(len(entries[row])), entries[row]]
        for code in parts.keys() - set(held.corrupt):
            trimmed[code] = b"".join(parts[code])
        return trimmed

    def _matter(self, events: Events, since: int) -> Flags:
        """Tell which events a window at some moment from `since` on may hold."""
        clocks = events.event_time, events.available_at, events.superseded_at
        ends = [feature.span.life(*clocks)[1] for feature in self.features]
        latest = np.ones(len(events.codes), bool)
        known = events.available_at <= since
        last = np.flatnonzero(known)
        last = last[np.append(np.diff(events.codes[last]) > 0, True)] if len(last) else last
        latest[known] = False
        latest[last] = True
        seen: Flags = latest | (np.max(ends, axis=0) > since)
        return seen

    def _events(self, held: HeldEvents) -> Events:
        return Events.of(held.codes, held.clocks, held.columns, held.passing, self._view.event_id)

    @property
    def _flags(self) -> list[str]:
        """The columns of flags: one that is always set, since a row has a column, and one for each condition."""
        return list(self._rows.features)[len(self._rows.features) - len(self._wheres) - 1 :]

    def _split(
        self, values: Sequence[bytes | None], *, without: Sequence[int] = ()
    ) -> tuple[Ints, list[bytes], list[int]]:
        """Return how many rows each value has, the rows of all, and which values can't be cut into rows."""
        counts, rows, corrupt = np.zeros(len(values), np.int64), [], []
        skipped = set(without)
        for place, value in enumerate(values):
            found = None if value is None or place in skipped else _entries(value)
            if found is not None:
                counts[place] = len(found)
                rows += found
            elif value is not None and place not in skipped:
                corrupt.append(place)
        return counts, rows, corrupt


def _entries(value: bytes) -> list[bytes] | None:
    """Return the rows of a value, None if it isn't cut into rows to its end."""
    entries, place = [], 0
    while place + _LENGTH.size <= len(value):
        (length,) = _LENGTH.unpack_from(value, place)
        place += _LENGTH.size + length
        entries.append(value[place - length : place])
    return entries if place == len(value) else None


def _as_rows(view: FeatureView, conditions: int) -> FeatureView:
    """Return a plain view whose rows are events: what aggregates need of each, and a flag for each condition."""
    read = set(columns_of(view))
    fields = [field for field in view.fields if field.name in read]
    taken = {*view.keys, *view.stored, view.event_timestamp, view.available_at}
    names = (name for name in (f"passes_{number}" for number in range(10**6)) if name not in taken)
    flags = [Field(next(names), "bool") for _ in range(conditions + 1)]
    return replace(view, fields=fields + flags, aggregations=(), event_id=(), source=None, online_history=None)
