"""Events of many entities in the rule's order, and until when each counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.windows.times import NEVER, Packing, least_of_later

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Events:
    """Events, one entity behind the other, each's by `(event_time, a, seq)`.

    Attributes:
        rows: which of the rows given each is.
        codes: each event's entity, 0 or more.
        event_time: microseconds.
        available_at: `a`, microseconds.
        superseded_at: when a greater row with the same id became available, `NEVER` if none did; None without ids.
        columns: what the events say, in the declared types.
        passing: for each `where`, which events it is true for.
    """

    rows: Ints
    codes: Ints
    event_time: Ints
    available_at: Ints
    superseded_at: Ints | None
    columns: Mapping[str, pa.Array]
    passing: Mapping[str, Flags]

    @classmethod
    def of(
        cls,
        codes: Ints,
        clocks: tuple[Ints, Ints, Ints],
        columns: Mapping[str, pa.Array],
        passing: Mapping[str, Flags],
        event_id: Sequence[str] = (),
    ) -> Events:
        """Put events in order; leave out those that never count.

        Args:
            codes: each event's entity, 0 or more.
            clocks: event time, availability, both in microseconds, and seq: rows that share all are one row.
            columns: what the events say, in the declared types.
            passing: for each `where`, which events it is true for.
            event_id: which columns tell an event from others of its entity; without nulls.
        """
        if _ascend(codes, clocks[0]):  # as in values that were rewritten: then no row is there twice
            order, (event_time, available_at) = np.arange(len(codes)), clocks[:2]
            made = cls(order, codes, event_time, available_at, None, columns, passing)
            if not event_id:
                return made
        else:
            order = ordered(codes, *clocks)
            order = order[_once(codes, clocks, order)]
            event_time, available_at = clocks[0][order], clocks[1][order]
            made = cls(order, codes[order], event_time, available_at, None, columns, passing)
        if event_id:
            superseded = _superseded(
                made.codes, available_at, [columns[name].take(pa.array(order)) for name in event_id]
            )
            counts = superseded > available_at
            order = order[counts]
            kept = event_time[counts], available_at[counts]
            made = cls(order, made.codes[counts], *kept, superseded[counts], columns, passing)
        if np.array_equal(order, np.arange(len(codes))):
            return made
        taken = pa.array(order)
        return replace(
            made,
            columns={name: column.take(taken) for name, column in columns.items()},
            passing={where: flags[order] for where, flags in passing.items()},
        )

    def only(self, chosen: Flags) -> Events:
        """Return some of these events; how long each counts stays as it is."""
        taken = pa.array(np.flatnonzero(chosen))
        return Events(
            self.rows[chosen],
            self.codes[chosen],
            self.event_time[chosen],
            self.available_at[chosen],
            None if self.superseded_at is None else self.superseded_at[chosen],
            {name: column.take(taken) for name, column in self.columns.items()},
            {where: flags[chosen] for where, flags in self.passing.items()},
        )

    @property
    def superseded(self) -> Flags | None:
        """Tell which events are superseded some time; None if there are no ids."""
        return None if self.superseded_at is None else self.superseded_at < NEVER


def _ascend(codes: Ints, event_time: Ints) -> bool:
    """Return whether rows are in order of entity and event time, and no two are alike in both."""
    later = (codes[1:] == codes[:-1]) & (event_time[1:] > event_time[:-1])
    return bool((later | (codes[1:] > codes[:-1])).all())


def ordered(codes: Ints, event_time: Ints, available_at: Ints, seq: Ints) -> Ints:
    """Return the rows in order of entity, event time, availability and seq.

    Args:
        codes: the entity of each row, a number from 0 on.
        event_time: microseconds.
        available_at: microseconds.
        seq: the order of writing.
    """
    packing = Packing.of(event_time)
    if len(codes) and int(codes.max()) >> packing.group_bits:
        return np.lexsort((seq, available_at, event_time, codes))
    packed = packing.pack_known(codes, event_time)
    order = np.argsort(packed, kind="stable")  # merges what is sorted already, as files are
    packed = packed[order]
    same = packed[1:] == packed[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort((seq[rows], available_at[rows], packed[tied]))]
    return order


def _once(codes: Ints, clocks: tuple[Ints, Ints, Ints], order: Ints) -> Flags | slice:
    """Tell which ordered rows aren't the row before them once more, as those of a doubled file are."""
    same = np.ones(max(0, len(order) - 1), bool)
    for values in (clocks[2], clocks[0], clocks[1], codes):
        inner = values[order]
        same &= inner[1:] == inner[:-1]
        if not same.any():  # mostly at once: seqs differ
            return slice(None)
    return np.append(True, ~same)


def _superseded(codes: Ints, available_at: Ints, ids: Sequence[pa.Array]) -> Ints:
    """Return when a greater row with the same entity and id became available."""
    events = codes
    for column in ids:
        encoded = column.dictionary_encode()
        if len(encoded.dictionary) == len(column):  # as mostly: no two have one id
            return np.full(len(codes), NEVER, np.int64)
        mine = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        events = np.unique(events * len(encoded.dictionary) + mine, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(events, kind="stable")
    found = np.empty(len(codes), np.int64)
    found[order] = least_of_later(events[order], available_at[order])
    return found


def codes_of_values(column: pa.Array) -> Ints:
    """Return a number for each value of a column without nulls, the same for equal ones: -0.0 is 0.0, NaN is NaN."""
    if pa.types.is_floating(column.type):
        column = pa.array(plain_floats(column.to_numpy(zero_copy_only=False)))
        column = column.view(f"int{column.type.bit_width}")
    indices = column.dictionary_encode().indices
    return np.asarray(indices.to_numpy(zero_copy_only=False), np.int64)


def plain_floats(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return floats in which no zero has a sign and every NaN is the same."""
    plain: np.ndarray[Any, Any] = values + values.dtype.type(0)
    nan = np.isnan(values)
    if nan.any():
        plain[nan] = np.nan
    return plain
