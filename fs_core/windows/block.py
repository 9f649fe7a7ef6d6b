"""Questions to be answered together, and what their windows hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial, reduce
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fs_core.windows.numbers.exact import Digits, added, addends_of, nearest
from fs_core.windows.numbers.ranges import covering, folded, least_possible, painted
from fs_core.windows.numbers.spread import decimals_as_floats
from fs_core.windows.plan import Lane
from fs_core.windows.prepared import Chain, ChainLane, Loose, Prepared, special_values
from fs_core.windows.span import Span, Spans
from fs_core.windows.times import Times, expanded, offsets_of

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Numbers = np.ndarray[Any, Any]
T = TypeVar("T")
AnySpan = Span | Spans

NO_ROW = -1


class Lives(NamedTuple):
    """Events that some questions see, with the range of questions that each is seen by.

    Attributes:
        places: which of the loose events.
        first: the first question.
        last: the one behind the last.
    """

    places: Ints
    first: Ints
    last: Ints


class Block:
    """Questions about known entities, by entity and moment. What several features need is found once.

    Args:
        prepared: the events.
        codes: entities, ascending.
        moments: microseconds, ascending for each entity.
        once: the block whose questions these are, asked over and over, so that each may have a window of its own
            (`Spans`); then each is looked at on its own.
    """

    def __init__(self, prepared: Prepared, codes: Ints, moments: Ints, once: Block | None = None) -> None:
        self.prepared = prepared
        self._base = once
        self.codes = codes
        self.moments = moments
        self.size = len(codes)
        self._found: dict[Any, Any] = {}

    def _once(self, key: object, make: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = make()
        found: T = self._found[key]
        return found

    # --- chains ------------------------------------------------------------------------------------------------------

    def ranges(self, lane: Lane, span: AnySpan) -> Iterator[tuple[Chain, ChainLane, Ints, Ints]]:
        """Yield of each chain which range of a lane's values each window holds: the first place, and that behind."""
        for number, chain in enumerate(self.prepared.chains):
            mine = chain.lanes[lane]
            yield chain, mine, *self._once((number, lane, span), partial(self._range, number, chain, mine, span))

    def _range(self, number: int, chain: Chain, lane: ChainLane, span: AnySpan) -> tuple[Ints, Ints]:
        start, end = self._once((number, span), lambda: self._events_of(number, chain, span))
        return (start, end) if lane.before is None else (lane.before[start], lane.before[end])

    def _events_of(self, number: int, chain: Chain, span: AnySpan) -> tuple[Ints, Ints]:
        end = self.known(number, chain, span)
        edges = span.edge(self.moments)
        start = chain.known.offsets[self.codes] if edges is None else chain.happened.rank(self.codes, edges)
        return np.minimum(start, end), end

    def known(self, number: int, chain: Chain, span: AnySpan) -> Ints:
        """Return the place behind what each question knows of a chain.

        Args:
            number: the chain's.
            chain: the events.
            span: at which moments that is asked.
        """
        return self._once((number, "known", span.key), lambda: self._known(number, chain, span))

    def _known(self, number: int, chain: Chain, span: AnySpan) -> Ints:
        if self._base is not None and isinstance(span.shift, int):  # then that is the same each time
            known = self._base.known(number, chain, Span(None, None, span.shift))
            return np.concatenate([known] * (self.size // self._base.size))
        return chain.known.rank(self.codes, self.moments - span.shift)

    # --- loose events ------------------------------------------------------------------------------------------------

    @cached_property
    def _entities(self) -> Ints:
        if self._base is not None:
            return self.codes
        return self.codes[np.flatnonzero(np.diff(self.codes, prepend=-1))]

    @cached_property
    def _own(self) -> Ints:
        """Each question's entity, numbered within the block."""
        if self._base is not None:
            return np.arange(self.size)
        return np.cumsum(np.diff(self.codes, prepend=self.codes[:1]) != 0)

    @cached_property
    def _times(self) -> Times:
        return Times.of(self._own, self.moments, offsets_of(self._own, len(self._entities)))

    def lives(self, loose: Loose, span: AnySpan, known: tuple[Ints, Ints] | None = None) -> Lives:
        """Return the events that are seen through a window, in their order.

        Args:
            loose: the events.
            span: the window.
            known: which of them are of the block's entities, and which entity's each is, if that was found already.
        """
        places, own = known or self.of_entities(loose)
        superseded = None if loose.superseded_at is None else loose.superseded_at[places]
        start, end = span.take(own).life(loose.event_time[places], loose.available_at[places], superseded)
        first, last = self._times.rank(own, start - 1), self._times.rank(own, end - 1)
        seen = first < last
        return Lives(places[seen], first[seen], last[seen])

    def of_entities(self, loose: Loose) -> tuple[Ints, Ints]:
        """Return which events are of the block's entities, and the entity of each, as numbered within the block."""
        starts = loose.offsets[self._entities]
        lengths = loose.offsets[self._entities + 1] - starts
        return expanded(starts, lengths), np.repeat(np.arange(len(self._entities)), lengths)

    def loose_lives(self, lane: Lane, span: AnySpan) -> Lives:
        """Return the loose events with a value in a lane that are seen through a window."""
        if not len(self.prepared.loose.rows):
            return _NOBODY
        known = self._once("loose", lambda: self.of_entities(self.prepared.loose))
        every = self._once(("lives", span), lambda: self.lives(self.prepared.loose, span, known))
        has = self.prepared.loose_lanes[lane].has[every.places]
        return every if has.all() else Lives(*(part[has] for part in every))

    # --- what windows hold -------------------------------------------------------------------------------------------

    def _settled(self, kind: str, lane: Lane, span: AnySpan) -> Iterator[tuple[int, Ints]]:
        settled = self.prepared.settled
        return iter(()) if settled is None else settled.of(kind, lane, span, self.codes)

    def count(self, lane: Lane, span: AnySpan) -> Ints:
        """Return how many values each window holds."""
        return self._once(("count", lane, span), lambda: self._count(lane, span))

    def _count(self, lane: Lane, span: AnySpan) -> Ints:
        parts = [end - start for _, _, start, end in self.ranges(lane, span)]
        parts += [more for _, more in self._settled("count", lane, span)]
        lives = self.loose_lives(lane, span)
        if len(lives.places) or not parts:
            parts.append(covering(lives.first, lives.last, None, self.size))
        return reduce(np.add, parts)

    def sums(self, lane: Lane, span: AnySpan, *, squares: bool = False) -> Digits:
        """Return the exact sums of what each window holds, or of the squares; what isn't finite left out.

        Args:
            lane: the column, and which events count.
            span: the window.
            squares: whether the squares are added up.
        """
        return self._once(
            ("sums", lane, span, squares), lambda: Digits.of(self._limbs(lane, span, squares=squares), self.size)
        )

    def _limbs(self, lane: Lane, span: AnySpan, *, squares: bool = False) -> dict[int, Ints]:
        return self._once(("limbs", lane, span, squares), lambda: self.limbs(lane, span, squares=squares))

    def limbs(self, lane: Lane, span: AnySpan, *, squares: bool) -> dict[int, Ints]:
        """Return the limbs of what `sums` returns, not yet carried.

        Args:
            lane: the column, and which events count.
            span: the window.
            squares: whether the squares are added up.
        """
        limbs = dict(self._settled("squares" if squares else "sums", lane, span))
        for _, mine, start, end in self.ranges(lane, span):
            sums = mine.squares if squares else mine.sums
            assert sums is not None
            limbs = added(limbs, {limb: prefix.between(start, end) for limb, prefix in sums.limbs.items()})
        lives = self.loose_lives(lane, span)
        if len(lives.places):
            addends = addends_of(special_values(self._loose_values(lane, lives))[0])
            parts = (addends.squares() if squares else addends).limbs()
            seen = {limb: covering(lives.first, lives.last, values, self.size) for limb, values in parts}
            limbs = added(limbs, seen)
        return limbs

    def total(self, lane: Lane, span: AnySpan, scale: int) -> Floats:
        """Return the sums as floats, rounded once, of what is finite.

        Args:
            lane: of which values.
            span: of which window.
            scale: how many decimal places the digits of the sums have.
        """
        if not scale:
            return self._once(("total", lane, span), lambda: nearest(self._limbs(lane, span), self.size))
        return self._once(("total", lane, span), lambda: decimals_as_floats(self.sums(lane, span), scale))

    def special(self, lane: Lane, span: AnySpan) -> dict[str, Flags]:
        """Return which windows hold a NaN, an infinity, a minus infinity; a kind that none holds is absent."""
        counts = self._once(("special", lane, span), lambda: self.special_counts(lane, span))
        return {kind: count > 0 for kind, count in counts.items()}

    def special_counts(self, lane: Lane, span: AnySpan) -> dict[str, Ints]:
        """Return how many of those each window holds, by kind."""
        counts = {kind: more for kind in ("nan", "inf", "-inf") for _, more in self._settled(kind, lane, span)}
        for _, mine, start, end in self.ranges(lane, span):
            assert mine.sums is not None
            for kind, prefix in mine.sums.special.items():
                counts[kind] = counts.get(kind, 0) + prefix.between(start, end)
        lives = self.loose_lives(lane, span)
        if len(lives.places):
            for kind, flags in special_values(self._loose_values(lane, lives))[1].items():
                seen = covering(lives.first, lives.last, flags.astype(np.int64), self.size)
                counts[kind] = counts.get(kind, 0) + seen
        return counts

    def _loose_values(self, lane: Lane, lives: Lives) -> Any:
        values = self.prepared.loose_lanes[lane].values
        assert values is not None
        return values.take(_indices(lives.places))

    def extreme(self, lane: Lane, span: AnySpan, fold: np.ufunc) -> Numbers:
        """Return the least (or greatest) of what each window holds, as ordinals; of nothing, what changes none.

        Args:
            lane: the column, and which events count.
            span: the window.
            fold: `numpy.minimum` or `numpy.maximum`.
        """
        empty = self.prepared.ordinals[str(lane.column)].numbers[:0]
        found = np.full(self.size, least_possible(empty, fold), empty.dtype)
        for _, mine, start, end in self.ranges(lane, span):
            assert mine.numbers is not None
            found = fold(found, folded(mine.numbers, start, end, fold))
        lives = self.loose_lives(lane, span)
        if len(lives.places):
            numbers = self.prepared.loose_lanes[lane].numbers
            assert numbers is not None
            found = fold(found, painted(lives.first, lives.last, numbers[lives.places], self.size, fold))
        return found

    def outermost(self, lane: Lane, span: AnySpan, *, last: bool) -> Ints:
        """Return the first (or last) event of what each window holds, `NO_ROW` where it holds none.

        Args:
            lane: the column, and which events count.
            span: the window.
            last: whether the last is wanted.
        """
        ranges, lives = list(self.ranges(lane, span)), self.loose_lives(lane, span)
        if len(ranges) == 1 and not len(lives.places):  # mostly
            chain, mine, start, end = ranges[0]
            filled = end > start
            places = np.where(filled, end - 1 if last else start, 0)
            return (
                np.where(filled, rows_of(chain, mine, places), NO_ROW) if filled.any() else np.full(self.size, NO_ROW)
            )
        fold = np.maximum if last else np.minimum
        nothing = np.int64(least_possible(np.zeros(0, np.int64), fold))
        found = np.full(self.size, nothing, np.int64)
        for chain, mine, start, end in ranges:
            filled = end > start
            places = np.where(filled, end - 1 if last else start, 0)
            rows = rows_of(chain, mine, places) if filled.any() else places
            found = fold(found, np.where(filled, rows, nothing))
        if len(lives.places):
            rows = self.prepared.loose.rows[lives.places]
            found = fold(found, painted(lives.first, lives.last, rows, self.size, fold))
        return np.where(found == nothing, NO_ROW, found)

    def distinct(self, lane: Lane, span: AnySpan) -> Ints:
        """Return how many different values each window holds.

        Of the lives of one value, by their beginnings, each adds the questions that none before has covered.
        """
        loose = self.prepared.distinct[lane]
        assert loose.groups is not None
        known = self._once(("distinct", lane), lambda: self.of_entities(loose))
        lives = self.lives(loose, span, known)
        group = np.cumsum(np.diff(loose.groups[lives.places], prepend=-1) != 0) - 1
        reach = np.maximum.accumulate(group * (self.size + 1) + lives.last)
        covered = np.zeros(len(group), np.int64)
        covered[1:] = np.maximum(reach[:-1] - group[1:] * (self.size + 1), 0)
        first = np.maximum(lives.first, covered)
        new = first < lives.last
        return covering(first[new], lives.last[new], None, self.size)


def rows_of(chain: Chain, lane: ChainLane, places: Ints) -> Ints:
    """Return which events the values at some places of a lane belong to.

    Args:
        chain: the events that rise in both clocks.
        lane: those of them that have a value.
        places: positions in the lane.
    """
    if lane.rows is not None:
        return lane.rows[places]
    return places if chain.rows is None else chain.rows[places]


def _indices(places: Ints) -> Any:
    import pyarrow as pa

    return pa.array(places)


_NOBODY = Lives(*(np.zeros(0, np.int64) for _ in range(3)))
