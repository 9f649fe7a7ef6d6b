"""An entity's events as one value of an online store, to which a push appends and which a read folds.

    entries, in any order: a packed row's length, 4 bytes, big-endian, and the row
    or a floor: four bytes of ones, a checksum of 4 bytes as a row has, and a moment, 8 bytes, as `moment_word` has it

A row is packed as `fs_core.online.row.codec` packs the rows of any view: with its own checksum, which knows the view
and the entity. Its columns are those that aggregates and the id need, and a flag for each `where`, so that conditions
are evaluated once, when an event is written. The value is a set of events: entries may come in any order, several
times, from several writers; who rewrites a value leaves alone what was appended meanwhile.

From its floor on a value knows every event that a window may hold: who leaves events out that matter later no more
writes a floor. Of several the latest counts. A value without one, which is left where events were taken back, or where
the rest was lost before some came, may lack any event: it answers for no moment.
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
from fs_core.online.row.recent import moment_word
from fs_core.values.times import EARLIEST
from fs_core.windows.answer import Answers, Asked, answer
from fs_core.windows.evaluate import columns_of, prepared_for
from fs_core.windows.events import Events
from fs_core.windows.plan import Feature, features_of

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_LENGTH = struct.Struct(">I")
_SEAL = struct.Struct("<I")
_FLOOR = b"\xff" * 4
_FLOOR_BYTES = 16
_SIGN = 1 << 63


@dataclass(frozen=True)
class HeldEvents:
    """The events of some values.

    Attributes:
        codes: the value that each comes from.
        clocks: event time, availability, both in microseconds, and seq.
        columns: what they say, in the declared types.
        passing: for each `where`, which of them it is true for.
        corrupt: values that are damaged, of another meaning or of another entity; no event of theirs is among these.
        floors: from which moment on each value tells, microseconds; `EARLIEST` where there is no value or no floor.
        bare: which values have events, but no floor, and so tell of no moment.
    """

    codes: Ints
    clocks: tuple[Ints, Ints, Ints]
    columns: Mapping[str, pa.Array]
    passing: Mapping[str, Flags]
    corrupt: list[int]
    floors: Ints
    bare: Flags


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
        floors, bare = self._without_floors(keys, values)
        whole = None if self._layout.has_streams else self._at_once(keys, bare)
        if whole is not None:
            return self._held(*whole, [], floors)
        counts, rows, corrupt = self._split(keys, bare, floors)
        codes = np.repeat(np.arange(len(values)), counts)
        found = self._codec.decode([keys[code] for code in codes.tolist()], rows)
        if found.corrupt:
            damaged = {*corrupt, *codes[found.corrupt].tolist()}
            kept = [None if index in damaged else value for index, value in enumerate(values)]
            return replace(self.decode(keys, kept), corrupt=sorted(damaged))
        return self._held(codes, found, corrupt, floors)

    def _without_floors(
        self, keys: Sequence[bytes], values: Sequence[bytes | None]
    ) -> tuple[list[int | None], list[bytes | None]]:
        """Return the floors that values begin with, if they are sound, and what follows these."""
        floors: list[int | None] = [None] * len(values)
        bare = list(values)
        for index, value in enumerate(values):
            if value is not None and value[:4] == _FLOOR:
                floors[index] = self._floor(keys[index], value[:_FLOOR_BYTES])
                bare[index] = value if floors[index] is None else value[_FLOOR_BYTES:]
        return floors, bare

    def _floor(self, key: bytes, entry: bytes) -> int | None:
        """Return the moment of a floor, microseconds; None where it is damaged, or another entity's."""
        sound = len(entry) == _FLOOR_BYTES and entry[4:8] == _SEAL.pack(self._layout.seal(key, entry[8:]))
        return int.from_bytes(entry[8:], "big") - _SIGN if sound else None

    def _floor_entry(self, key: bytes, moment: int) -> bytes:
        word = moment_word(moment)
        return _FLOOR + _SEAL.pack(self._layout.seal(key, word)) + word

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

    def _held(self, codes: Ints, found: DecodedRows, corrupt: list[int], known: Sequence[int | None]) -> HeldEvents:
        names = tuple(self._rows.features)
        columns = dict(zip(names, found.features.arrays(names), strict=True))
        _, *flags = [columns.pop(name) for name in self._flags]
        passing = {
            w: np.asarray(flag.to_numpy(zero_copy_only=False)) for w, flag in zip(self._wheres, flags, strict=True)
        }
        clocks = found.event_time, found.available_at, found.seq
        floors = np.array([EARLIEST if floor is None else floor for floor in known], np.int64)
        bare = np.array([floor is None for floor in known], bool)
        bare &= np.bincount(codes, minlength=len(known)) > 0
        return HeldEvents(codes, clocks, columns, passing, corrupt, floors, bare)

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

    def trimmed(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], since: int, *, complete: bool = True
    ) -> list[bytes | None]:
        """Return values with a floor, without the events that matter at no moment from it on, each event once.

        What has left every window goes, and what is superseded; the latest known event stays, since it shows that the
        entity is known. Events are in the rule's order. Damaged values stay as they are.

        Args:
            keys: of the values.
            values: as the store holds them.
            since: the floor, microseconds, unless a value has a later one.
            complete: whether values without a floor hold all that windows from `since` on may hold; else they stay.
        """
        held = self.decode(keys, values)
        floors, bare = self._without_floors(keys, values)
        counts, entries, _ = self._split(keys, [None if i in held.corrupt else v for i, v in enumerate(bare)], floors)
        least = np.maximum(held.floors, since)
        events = self._events(held)
        kept = events.rows[self._matter(events, least[events.codes])]
        parts: dict[int, list[bytes]] = {}
        for row, code in zip(kept.tolist(), held.codes[kept].tolist(), strict=True):
            start = parts.setdefault(code, [self._floor_entry(keys[code], int(least[code]))])
            start += [_LENGTH.pack(len(entries[row])), entries[row]]
        trimmed = list(values)
        for code in np.flatnonzero(counts if complete else counts * ~held.bare).tolist():
            trimmed[code] = b"".join(parts.get(code, ()))
        return trimmed

    def without(self, value: bytes, gone: bytes) -> bytes:
        """Return a value without some events, and without its floor, which spoke of them too.

        Args:
            value: as the store holds it; a damaged one stays.
            gone: entries.
        """
        held, doomed = _entries(value), _entries(gone)
        if held is None or doomed is None:
            return value
        known = set(doomed[0])
        left = [row for row in held[0] if row not in known]
        return b"".join(part for row in left for part in (_LENGTH.pack(len(row)), row))

    def _matter(self, events: Events, since: Ints) -> Flags:
        """Tell which events a window at some moment from one on, given for each, may hold."""
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
        self, keys: Sequence[bytes], values: Sequence[bytes | None], floors: list[int | None]
    ) -> tuple[Ints, list[bytes], list[int]]:
        """Return how many rows each value has, the rows of all, and which values can't be cut; keep later floors."""
        counts, rows, corrupt = np.zeros(len(values), np.int64), list[bytes](), []
        for index, value in enumerate(values):
            if value is None:
                continue
            found = _entries(value)
            marks = [] if found is None else [self._floor(keys[index], entry) for entry in found[1]]
            if found is None or None in marks:
                corrupt.append(index)
                continue
            counts[index] = len(found[0])
            rows += found[0]
            floors[index] = max((mark for mark in (*marks, floors[index]) if mark is not None), default=None)
        return counts, rows, corrupt


def _entries(value: bytes) -> tuple[list[bytes], list[bytes]] | None:
    """Return the rows and the floors of a value, None if it isn't cut into such to its end."""
    rows, floors, index = list[bytes](), list[bytes](), 0
    while index + _LENGTH.size <= len(value):
        if value[index : index + _LENGTH.size] == _FLOOR:
            floors.append(value[index : index + _FLOOR_BYTES])
            index += _FLOOR_BYTES
            continue
        (length,) = _LENGTH.unpack_from(value, index)
        index += _LENGTH.size + length
        rows.append(value[index - length : index])
    return (rows, floors) if index == len(value) else None


def _as_rows(view: FeatureView, conditions: int) -> FeatureView:
    """Return a plain view whose rows are events: what aggregates need of each, and a flag for each condition."""
    read = set(columns_of(view))
    fields = [field for field in view.kept if field.name in read]
    taken = {*view.keys, *view.stored, view.event_timestamp, view.available_at}
    names = (name for name in (f"passes_{number}" for number in range(10**6)) if name not in taken)
    flags = [Field(next(names), "bool") for _ in range(conditions + 1)]
    return replace(
        view, fields=fields + flags, aggregations=(), event_id=(), transforms=(), source=None, online_history=None
    )
