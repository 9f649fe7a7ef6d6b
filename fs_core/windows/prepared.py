"""Events made ready for any number of questions.

A *chain* is a set of events that, in the rule's order, become available in the same order too. Of a chain, a window at
a moment holds one range: behind the last event at its old edge, up to the last that is available. So a count is a
difference of places, a sum one of running sums, and the greatest value that of a range. Events that come in order make
one chain; the late ones make further chains, each what is left of the one before. What fits no chain, or is superseded
some time, is *loose* and looked at life by life.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.windows.events import Events, codes_of_values, plain_floats
from fs_core.windows.numbers.exact import Addends, Prefix, addends_of
from fs_core.windows.numbers.ordinals import Ordinals
from fs_core.windows.plan import Lane
from fs_core.windows.span import Span, Spans
from fs_core.windows.times import Times, least_of_later, offsets_of

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_CHAINS = 4
_FEW = 0.02  # of the events: so few aren't worth another chain
_AT_A_TIME = 1 << 20  # numbers that are split into limbs at a time


@dataclass(frozen=True)
class Sums:
    """Running sums of numbers.

    Attributes:
        limbs: of their limbs, by number.
        special: of how many are NaN, infinity and minus infinity; those that don't occur are absent.
    """

    limbs: Mapping[int, Prefix]
    special: Mapping[str, Prefix]


@dataclass(frozen=True)
class ChainLane:
    """A lane's values in a chain, in its order.

    Attributes:
        before: how many of them come before each event of the chain, and in all; None if every event has one.
        rows: which event each belongs to; None if that is its own place.
        sums: running sums of the values.
        squares: running sums of their squares.
        numbers: the values as ordinals.
    """

    before: Ints | None
    rows: Ints | None
    sums: Sums | None
    squares: Sums | None
    numbers: np.ndarray[Any, Any] | None


@dataclass(frozen=True)
class Chain:
    """Events that happen and become available in one order.

    Attributes:
        rows: which events; None if all.
        known: when they become available.
        happened: their event times.
        lanes: what aggregates are computed from.
    """

    rows: Ints | None
    known: Times
    happened: Times
    lanes: Mapping[Lane, ChainLane]


@dataclass(frozen=True)
class Loose:
    """Events whose lives are looked at one by one, in order of entity.

    Attributes:
        rows: which events they are.
        offsets: where each entity's begin.
        event_time: microseconds.
        available_at: microseconds.
        superseded_at: microseconds; None without ids.
        groups: for the values of a lane, a number for each value of each entity, in whose order they are; else None.
    """

    rows: Ints
    offsets: Ints
    event_time: Ints
    available_at: Ints
    superseded_at: Ints | None
    groups: Ints | None = None


@dataclass(frozen=True)
class Settled:
    """What windows hold of events that aren't at hand, the same at every moment that is asked for.

    Attributes:
        positions: the position of each lane and window that is counted or summed.
        numbers: int64 [entities, positions] for each kind and number: how many values there are, are NaN, infinity or
            minus infinity, each with 0, and what limbs of sums and of squares come to, each with the limb's number.
    """

    positions: Mapping[tuple[Lane, Span], int]
    numbers: Mapping[tuple[str, int], Ints]

    def of(self, kind: str, lane: Lane, span: Span | Spans, codes: Ints) -> Iterator[tuple[int, Ints]]:
        """Yield the numbers of a kind, and what each is for each question.

        Args:
            kind: `count`, `sums`, `squares`, `nan`, `inf` or `-inf`.
            lane: of which values.
            span: of which windows.
            codes: each question's entity.
        """
        for (mine, number), values in self.numbers.items():
            places = span.places(lane, self.positions) if mine == kind else None
            if places is not None:
                yield number, values[codes, places]


@dataclass(frozen=True)
class Prepared:
    """Events, ready to be asked.

    Attributes:
        entities: how many there are.
        event_time: of every event, microseconds.
        columns: what first and last need of every event; -0.0 is 0.0, and every NaN the same.
        scales: the decimal places of decimal columns.
        ordinals: how the numbers of a column that has an order become values again.
        chains: the chains.
        loose: the other events.
        loose_lanes: for each lane, which of the loose events have a value, and the value of each; nothing if none is.
        distinct: for each lane of which distinct values are counted, its events.
        settled: what is to be added for events that aren't among these; None for nothing.
    """

    entities: int
    event_time: Ints
    columns: Mapping[str, pa.Array]
    scales: Mapping[str, int]
    ordinals: Mapping[str, Ordinals]
    chains: Sequence[Chain]
    loose: Loose
    loose_lanes: Mapping[Lane, LooseLane]
    distinct: Mapping[Lane, Loose]
    settled: Settled | None = None


@dataclass(frozen=True)
class LooseLane:
    """A lane's values among the loose events.

    Attributes:
        has: which of them have one.
        values: what they are, for every loose event, as the column has them.
        numbers: as ordinals.
    """

    has: Flags
    values: pa.Array | None
    numbers: np.ndarray[Any, Any] | None


def prepare(events: Events, entities: int, needs: Mapping[Lane, frozenset[str]]) -> Prepared:
    """Make events ready.

    Args:
        events: in order.
        entities: how many there are, at least as many as the events have.
        needs: what is needed of each lane.
    """
    ordinals = {
        lane.column: Ordinals.of(events.columns[lane.column])
        for lane, what in needs.items()
        if lane.column is not None and "order" in what
    }
    masks = {lane: having(events, lane) for lane in needs}
    chains = []
    members, rest = _chains(events)
    for rows in members:
        lanes = {lane: _chain_lane(events, lane, masks[lane], rows, what, ordinals) for lane, what in needs.items()}
        chains.append(_chain(events, rows, entities, lanes))
    loose = _loose(events, rest, entities)
    loose_lanes = {lane: _loose_lane(events, lane, masks[lane], rest, ordinals) for lane in needs if len(rest)}
    distinct = {
        lane: _by_value(events, lane, masks[lane], entities) for lane, what in needs.items() if "distinct" in what
    }
    kept = {lane.column for lane, what in needs.items() if "rows" in what and lane.column is not None}
    columns = {name: _plain(events.columns[name]) for name in kept}
    scales = {name: c.type.scale for name, c in events.columns.items() if pa.types.is_decimal(c.type)}
    return Prepared(entities, events.event_time, columns, scales, ordinals, chains, loose, loose_lanes, distinct)


def _plain(column: pa.Array) -> pa.Array:
    if not pa.types.is_floating(column.type):
        return column
    filled = column.fill_null(pa.scalar(0, column.type)) if column.null_count else column
    values = plain_floats(filled.to_numpy(zero_copy_only=False))
    return pa.array(values, mask=column.is_null().to_numpy(zero_copy_only=False))


def having(events: Events, lane: Lane) -> Flags | None:
    """Tell which events have a value in a lane; None if all have."""
    passing = None if lane.where is None else events.passing[lane.where]
    column = None if lane.column is None else events.columns[lane.column]
    if column is None or not column.null_count:
        return None if passing is None or passing.all() else passing
    valid: Flags = np.asarray(column.is_valid().to_numpy(zero_copy_only=False))
    return valid if passing is None else valid & passing


def _chains(events: Events) -> tuple[list[Ints | None], Ints]:
    """Return the events of each chain, None for all, and those of none."""
    superseded = events.superseded
    left = np.arange(len(events.codes)) if superseded is None else np.flatnonzero(~superseded)
    loose = [] if superseded is None else [np.flatnonzero(superseded)]
    chains: list[Ints | None] = []
    while len(left) and len(chains) < _CHAINS and (not chains or len(left) > _FEW * len(events.codes)):
        every = len(left) == len(events.codes)
        clocks = events.codes, events.available_at
        in_order = _in_order(*(clocks if every else (values[left] for values in clocks)))
        chain = left if in_order is None else left[in_order]
        chains.append(None if len(chain) == len(events.codes) else chain)
        left = left[:0] if in_order is None else left[~in_order]
    return chains, np.sort(np.concatenate([left, *loose])) if loose else left


def _in_order(codes: Ints, known: Ints) -> Flags | None:
    """Tell which events become available before all that follow them; None if all do."""
    if ((known[1:] >= known[:-1]) | (codes[1:] != codes[:-1])).all():
        return None
    in_order: Flags = known <= least_of_later(codes, known)
    return in_order


def _chain(events: Events, rows: Ints | None, entities: int, lanes: Mapping[Lane, ChainLane]) -> Chain:
    codes, happened, known = (
        values if rows is None else values[rows] for values in (events.codes, events.event_time, events.available_at)
    )
    offsets = offsets_of(codes, entities)
    times = Times.of(codes, happened, offsets)
    same = np.array_equal(happened, known)
    return Chain(rows, times if same else Times.of(codes, known, offsets), times, lanes)


def _chain_lane(
    events: Events,
    lane: Lane,
    having: Flags | None,
    rows: Ints | None,
    needs: frozenset[str],
    ordinals: Mapping[str, Ordinals],
) -> ChainLane:
    before = None
    if having is not None:
        mine = having if rows is None else having[rows]
        before = np.zeros(len(mine) + 1, np.int64)
        np.cumsum(mine, out=before[1:])
        places = np.flatnonzero(mine)
        rows = places if rows is None else rows[places]
    column = None if lane.column is None else events.columns[lane.column]
    taken = column if column is None or rows is None else column.take(pa.array(rows))
    return ChainLane(
        before,
        rows,
        _sums(taken, squares=False) if "sums" in needs else None,
        _sums(taken, squares=True) if "squares" in needs else None,
        _taken(ordinals[str(lane.column)].numbers, rows) if "order" in needs else None,
    )


def _taken(values: np.ndarray[Any, Any], rows: Ints | None) -> np.ndarray[Any, Any]:
    return values if rows is None else values[rows]


def special_values(column: pa.Array) -> tuple[pa.Array, dict[str, Flags]]:
    """Return a column of numbers with zeros for those that aren't finite, and where these are, by kind."""
    if not pa.types.is_floating(column.type):
        return column, {}
    values = np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    finite = np.isfinite(values)
    if finite.all():
        return column, {}
    kinds = {"nan": np.isnan(values), "inf": values == np.inf, "-inf": values == -np.inf}
    return pa.array(np.where(finite, values, 0.0)), {kind: flags for kind, flags in kinds.items() if flags.any()}


def _sums(column: pa.Array | None, *, squares: bool) -> Sums:
    assert column is not None
    finite, special = special_values(column)
    limbs = running_sums(_parts(finite, squares=squares), len(finite))
    return Sums(limbs, {kind: Prefix.of(flags.astype(np.int64)) for kind, flags in special.items()})


def _parts(column: pa.Array, *, squares: bool) -> Iterator[Addends]:
    for start in range(0, len(column), _AT_A_TIME):
        addends = addends_of(column.slice(start, _AT_A_TIME))
        yield addends.squares() if squares else addends


def running_sums(parts: Iterator[Addends], length: int) -> dict[int, Prefix]:
    """Return running sums of each limb of numbers that come in parts.

    Args:
        parts: the numbers, `_AT_A_TIME` in each part but the last.
        length: how many there are.
    """
    found: dict[int, Ints] = {}
    for number, part in enumerate(parts):
        start = number * _AT_A_TIME
        for limb, values in part.limbs(length):
            if len(values) == length:  # that is all of them
                found[limb] = values
            else:
                found.setdefault(limb, np.zeros(length, np.int64))[start : start + len(values)] = values
    return {limb: Prefix.of(found.pop(limb)) for limb in list(found)}


def _loose(events: Events, rows: Ints, entities: int) -> Loose:
    superseded = None if events.superseded_at is None else events.superseded_at[rows]
    offsets = offsets_of(events.codes[rows], entities)
    return Loose(rows, offsets, events.event_time[rows], events.available_at[rows], superseded)


def _loose_lane(
    events: Events, lane: Lane, having: Flags | None, rows: Ints, ordinals: Mapping[str, Ordinals]
) -> LooseLane:
    has = np.ones(len(rows), bool) if having is None else having[rows]
    column = None if lane.column is None else events.columns[lane.column]
    if column is not None:
        column = column.take(pa.array(rows))
    known = ordinals.get(str(lane.column))
    numbers = None if known is None else known.numbers[rows]
    return LooseLane(has, column, numbers)


def _by_value(events: Events, lane: Lane, having: Flags | None, entities: int) -> Loose:
    """Return a lane's events by entity, value and availability."""
    rows = np.arange(len(events.codes)) if having is None else np.flatnonzero(having)
    values = codes_of_values(events.columns[str(lane.column)].take(pa.array(rows)))
    codes, known = events.codes[rows], events.available_at[rows]
    order = np.lexsort((known, values, codes))
    rows, codes, values = rows[order], codes[order], values[order]
    superseded = None if events.superseded_at is None else events.superseded_at[rows]
    changes = np.append(0, np.cumsum((codes[1:] != codes[:-1]) | (values[1:] != values[:-1]))) if len(rows) else rows
    offsets = offsets_of(codes, entities)
    return Loose(rows, offsets, events.event_time[rows], known[order], superseded, changes)
