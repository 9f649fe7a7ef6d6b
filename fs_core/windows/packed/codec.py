"""Packing, reading and folding the events of an entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.online.contract import OnlineRows
from fs_core.online.row.codec import DecodedRows, RowCodec
from fs_core.online.row.entries import (
    FLOOR,
    FLOOR_BYTES,
    FLOOR_CELLS,
    HEAD,
    LENGTH,
    SEAL,
    SIGN,
    body_of,
    entries_of,
    mark_at,
    moment_word,
)
from fs_core.online.row.layout import Hashes, checksums, hashes_of, layout_of
from fs_core.values.times import EARLIEST
from fs_core.windows.answer import Answers, Asked, TooLargeError, answer
from fs_core.windows.evaluate import all_needs_of
from fs_core.windows.events import Events
from fs_core.windows.packed.head import Head, Marks, heads_of, positions_of, settled
from fs_core.windows.packed.rows import EventRows
from fs_core.windows.plan import Features, Lane, features_of
from fs_core.windows.prepared import prepare
from fs_core.windows.span import Span

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


_NO_MARK = bytes(FLOOR_BYTES)  # a row of no length, which nobody writes
_FLOOR_WORD, _HEAD_WORD = (np.uint32(int.from_bytes(mark, "big")) for mark in (FLOOR, HEAD))


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
        bare: which values have events, but no floor and no head, and so tell of no moment.
        heads: those of values that have one; one that answers for no moment where it can't be used.
    """

    codes: Ints
    clocks: tuple[Ints, Ints, Ints]
    columns: Mapping[str, pa.Array]
    passing: Mapping[str, Flags]
    corrupt: list[int]
    floors: Ints
    bare: Flags
    heads: Mapping[int, Head]

    def unanswered(self, moment: int) -> list[int]:
        """Return the values whose head doesn't answer for a moment, microseconds."""
        return [index for index, head in self.heads.items() if not head.answers(moment)]


class EventCodec:
    """Packs, reads and folds the events of one view with aggregations. Thread-safe, and pickles as its view."""

    def __init__(self, view: FeatureView) -> None:
        self._view = view
        self._rows = EventRows.of(view)
        self._codec = RowCodec(self._rows.plain)
        self._layout = layout_of(self._rows.plain)
        self._plans: dict[tuple[str, ...], tuple[Features, dict[Lane, frozenset[str]]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return EventCodec, (self._view,)

    @cached_property
    def features(self) -> Features:
        """The view's aggregates."""
        return features_of(self._view)

    @cached_property
    def _positions(self) -> dict[tuple[Lane, Span], int]:
        return positions_of(self.features)

    def _asked(self, names: tuple[str, ...]) -> tuple[Features, dict[Lane, frozenset[str]]]:
        """Return features by name, and what must be prepared to answer them."""
        if names not in self._plans:
            features = features_of(self._view, names)
            self._plans[names] = features, all_needs_of(features)
        return self._plans[names]

    def encode(self, rows: pa.Table, passing: Mapping[str, pa.ChunkedArray]) -> OnlineRows:
        """Return what must be appended to the value of each row's entity.

        Args:
            rows: events in `history_schema(view)`.
            passing: for each `where`, which of them it is true for.

        Raises:
            OnlineStoreError: a seq is beyond `LAST_SEQ`.
        """
        packed = self._codec.encode(self._rows.made(rows, passing))
        return OnlineRows(packed.keys, [LENGTH.pack(len(row)) + row for row in packed.rows])

    def decode(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> HeldEvents:
        """Read the values that a store holds under these keys; None stands for no events."""
        hashes = hashes_of(keys)
        marks, bare = self._without_marks(keys, hashes, values)
        whole = None if self._layout.has_streams else self._at_once(hashes, bare)
        if whole is not None:
            return self._held(*whole, [], marks)
        counts, rows, corrupt = self._split(keys, bare, marks)
        codes = np.repeat(np.arange(len(values)), counts)
        found = self._codec.decode([keys[code] for code in codes.tolist()], rows)
        if found.corrupt:
            damaged = {*corrupt, *codes[found.corrupt].tolist()}
            kept = [None if index in damaged else value for index, value in enumerate(values)]
            return replace(self.decode(keys, kept), corrupt=sorted(damaged))
        return self._held(counts, found, corrupt, marks)

    def _without_marks(
        self, keys: Sequence[bytes], hashes: Hashes, values: Sequence[bytes | None]
    ) -> tuple[Marks, list[bytes | None]]:
        """Return the floors and heads that values begin with, if they are sound, and what follows these."""
        starts = [value[:FLOOR_BYTES] if value and len(value) >= FLOOR_BYTES else _NO_MARK for value in values]
        cells = np.frombuffer(b"".join(starts), FLOOR_CELLS)
        kinds = cells["mark"].astype(np.uint32)
        floored = kinds == _FLOOR_WORD
        if not floored.any():
            marks, bare = Marks.none(len(values)), list(values)
        else:
            moments = cells["moment"].astype(np.uint64)
            alike = (moments == moments[0]).all()  # as one run of `materialize` writes them
            words = hashes_of([start[8:] for start in (starts[:1] if alike else starts)])
            floored &= (words ^ hashes ^ np.uint64(self._layout.tag)) == cells["seal"]
            floors = (moments ^ np.uint64(SIGN)).view(np.int64)
            marks = Marks(np.where(floored, floors, EARLIEST), floored)
            parts = zip(values, floored.tolist(), strict=True)
            bare = [value[FLOOR_BYTES:] if marked and value else value for value, marked in parts]
        for index in np.flatnonzero(kinds == _HEAD_WORD).tolist():
            entry = mark_at(values[index] or b"", 0)
            if self._takes(marks, index, keys[index], entry):
                marks.first.add(index)
                bare[index] = (values[index] or b"")[len(entry) :]
        return marks, bare

    def _takes(self, marks: Marks, index: int, key: bytes, entry: bytes) -> bool:
        """Take note of a floor or a head; return whether it is sound, and this entity's."""
        body = body_of(entry)
        if not body or entry[4:8] != SEAL.pack(self._layout.seal(key, body)):
            return False
        if entry[:4] == FLOOR:
            marks.floors[index] = max(int(marks.floors[index]), int.from_bytes(body, "big") - SIGN)
            marks.floored[index] = True
        else:
            head = Head.of(body, len(self._positions))
            marks.heads[index] = replace(head, until=head.since - 1) if index in marks.heads else head
        return True

    def _mark(self, key: bytes, kind: bytes, body: bytes) -> bytes:
        seal = self._layout.seal(key, body)
        return kind + SEAL.pack(seal) + (b"" if kind == FLOOR else LENGTH.pack(len(body))) + body

    def _at_once(self, hashes: Hashes, values: Sequence[bytes | None]) -> tuple[Ints, DecodedRows] | None:
        """Read values of rows that are all equally long as one array; None where one isn't sound."""
        layout = self._layout
        size = LENGTH.size + layout.size
        parts = [value or b"" for value in values]
        counts, over = np.divmod(np.fromiter(map(len, parts), np.int64, len(parts)), size)
        if over.any():
            return None
        entries = np.frombuffer(b"".join(parts), np.dtype([("length", ">u4"), ("row", layout.head)]))
        heads = entries["row"]
        seals = checksums(heads) ^ np.repeat((hashes ^ np.uint64(layout.tag)).astype(np.uint32), counts)
        if (entries["length"] != layout.size).any() or (seals != heads["__seal"]).any():
            return None
        return counts, DecodedRows.of(layout, heads, {}, None, [])

    def _held(self, counts: Ints, found: DecodedRows, corrupt: list[int], marks: Marks) -> HeldEvents:
        columns = dict(zip(self._rows.columns, found.features.arrays(self._rows.columns), strict=True))
        heads = found.features.heads
        passing = {where: heads[name].astype(bool) for where, name in self._rows.flags.items()}
        floors, bare = marks.floors, (counts > 0) & ~marks.floored
        ends = np.cumsum(counts).tolist() if marks.heads else []
        for index, head in marks.heads.items():
            if not marks.floored[index]:
                floors[index], bare[index] = head.since, False
            first, last = ends[index - 1] if index else 0, ends[index]
            ids = [columns[name].slice(first, last - first) for name in self._rows.ids]
            if not head.knows(found.available_at[first:last], ids, first=index in marks.first):
                marks.heads[index] = replace(head, until=head.since - 1)
        codes = np.repeat(np.arange(len(counts)), counts)
        clocks = found.event_time, found.available_at, found.seq
        return HeldEvents(codes, clocks, columns, passing, corrupt, floors, bare, marks.heads)

    def fold(self, held: HeldEvents, names: Sequence[str], moments: Ints) -> Answers:
        """Return features of each value at a moment.

        Args:
            held: the events of the values.
            names: the features wanted.
            moments: of each value, microseconds.

        Raises:
            TooLargeError: a whole number or a decimal doesn't fit its type.
        """
        features, needs = self._asked(tuple(names))
        prepared = prepare(self._events(held), len(moments), needs)
        if held.heads:
            prepared = replace(prepared, settled=settled(self._positions, held.heads, len(moments)))
        everybody = np.arange(len(moments))
        return answer(features, [Asked(prepared, everybody, everybody)], moments)

    def trimmed(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], since: int, *, complete: bool = True
    ) -> list[bytes | None]:
        """Return values with a floor, without the events that matter at no moment from it on, each event once.

        They have no head: who has one adds its deep value first (`whole`).

        What has left every window goes, and what is superseded; the latest known event stays, since it shows that the
        entity is known. Events are in the rule's order. Damaged values stay as they are.

        Args:
            keys: of the values.
            values: as the store holds them.
            since: the floor, microseconds, unless a value has a later one.
            complete: whether values without a floor hold all that windows from `since` on may hold; else they stay.
        """
        held = self.decode(keys, values)
        sound = [None if index in held.corrupt else value for index, value in enumerate(values)]
        counts, entries, _ = self._split(keys, sound, Marks.none(len(values)))
        least = np.maximum(held.floors, since)
        events = self._events(held)
        kept = events.rows[self._matter(events, least[events.codes])]
        parts: dict[int, list[bytes]] = {}
        for row, code in zip(kept.tolist(), held.codes[kept].tolist(), strict=True):
            start = parts.setdefault(code, [self._mark(keys[code], FLOOR, moment_word(int(least[code])))])
            start += [LENGTH.pack(len(entries[row])), entries[row]]
        trimmed = list(values)
        for code in np.flatnonzero(counts if complete else counts * ~held.bare).tolist():
            trimmed[code] = b"".join(parts.get(code, ()))
        return trimmed

    def headed(
        self, keys: Sequence[bytes], values: Sequence[bytes], since: int, moment: int | None = None
    ) -> list[bytes]:
        """Return what stands for values as `trimmed` makes them: a head, and few events; nothing for damaged ones.

        Args:
            keys: of the values.
            values: all that is known of each entity.
            since: from when on they are to answer, microseconds, unless a value has a later floor.
            moment: the present one, from which on they are to answer for some time; by default the same.
        """
        held = self.decode(keys, values)
        sound = [None if index in held.corrupt else value for index, value in enumerate(values)]
        _, entries, _ = self._split(keys, sound, Marks.none(len(values)))
        events = self._events(held)
        ids = [events.columns[name] for name in self._rows.ids]
        least = np.maximum(held.floors, since)
        sizes = np.fromiter(map(len, entries), np.int64, len(entries))[events.rows] + LENGTH.size
        heads, beside = heads_of(self.features, events, sizes, least, ids, since if moment is None else moment)
        parts = [[self._mark(key, HEAD, head.body)] for key, head in zip(keys, heads, strict=True)]
        for row, code in zip(events.rows[beside].tolist(), events.codes[beside].tolist(), strict=True):
            parts[code] += [LENGTH.pack(len(entries[row])), entries[row]]
        return [b"".join(part) if value else b"" for part, value in zip(parts, sound, strict=True)]

    def may_hold(self, value: bytes, count: int) -> bool:
        """Return whether a value is long enough for a number of events."""
        return len(value) >= count * (LENGTH.size + self._layout.size)

    def is_silent(self, key: bytes, value: bytes, moment: int) -> bool:
        """Return whether a value begins with a head that doesn't answer for a moment.

        Args:
            key: of the value.
            value: as the store holds it.
            moment: microseconds.
        """
        if value[:4] != HEAD:
            return False
        if self._view.event_id:  # what comes may correct what the head stands for
            return bool(self.decode([key], [value]).unanswered(moment))
        return not all(
            head.answers(moment) for head in self._without_marks([key], hashes_of([key]), [value])[0].heads.values()
        )

    def without(self, value: bytes, gone: bytes) -> bytes:
        """Return a value without some events, and without its floor and head, which spoke of them too.

        Args:
            value: as the store holds it; a damaged one stays.
            gone: entries.
        """
        held, doomed = entries_of(value), entries_of(gone)
        if held is None or doomed is None:
            return value
        known = set(doomed[0])
        left = [row for row in held[0] if row not in known]
        return b"".join(part for row in left for part in (LENGTH.pack(len(row)), row))

    def misleading(self, keys: Sequence[bytes], values: Sequence[bytes], known: Sequence[bytes]) -> list[int]:
        """Return the values that are damaged, or whose heads say something else than the events do.

        Args:
            keys: of the values.
            values: with heads or without.
            known: all that is known of each entity, without heads.
        """
        short, long = self.decode(keys, values), self.decode(keys, known)
        moments = long.floors.copy()
        for index, head in short.heads.items():
            moments[index] = max(moments[index], head.since)
        hot = [index for index, head in short.heads.items() if head.answers(int(moments[index]))]
        if not hot:
            return short.corrupt
        names = list(self._view.features)
        try:
            ours, theirs = (self.fold(held, names, moments).features.to_pylist() for held in (short, long))
        except TooLargeError:  # to every reader what doesn't fit is an error
            return short.corrupt
        return sorted({*short.corrupt, *(index for index in hot if repr(ours[index]) != repr(theirs[index]))})

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
        return Events.of(held.codes, held.clocks, held.columns, held.passing, self._rows.ids)

    def _split(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], marks: Marks
    ) -> tuple[Ints, list[bytes], list[int]]:
        """Return how many rows each value has, the rows of all, and which values can't be cut; take note of marks."""
        counts, rows, corrupt = np.zeros(len(values), np.int64), list[bytes](), []
        for index, value in enumerate(values):
            if value is None:
                continue
            found = entries_of(value)
            if found is None or not all(self._takes(marks, index, keys[index], entry) for entry in found[1]):
                corrupt.append(index)
                continue
            counts[index] = len(found[0])
            rows += found[0]
        return counts, rows, corrupt
