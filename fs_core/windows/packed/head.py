"""What a hot entity's windows hold, in few bytes: a *head*, which stands for most of its events for some time.

A head is made at a moment, `since`, and answers until another. It keeps beside it, as events, only those which some
question in between needs one by one: that begin to be seen later than `since`, or cease to be seen by any window in
between (so `until` is as late as there are few of them), the least and greatest of what each window holds throughout,
its first and last, one event for each distinct value, and the latest. Of the others it has what they come to in each
window, which is the same at all these moments: counts, and sums as limbs, which are exact.

    since, until, how many events it was made with beside it, how many of these were available by `since`; the number of
    columns; for each its kind
    and number; then the columns, one number for each window that is counted or summed; all little-endian, 8 bytes
    and, of a view with an id, a Bloom filter of the ids of the events that it stands for

Events may come beside it later. A reader counts them as well where it is sure that none of them is among those that
the head stands for: they became available after `since`, and the filter lacks their ids, so that they correct none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.online.row.keys import pack_keys
from fs_core.values.times import EARLIEST
from fs_core.windows.block import Block
from fs_core.windows.evaluate import prepared_for
from fs_core.windows.events import Events, codes_of_values
from fs_core.windows.numbers.ordinals import Ordinals
from fs_core.windows.plan import Feature, Lane
from fs_core.windows.prepared import Settled, having
from fs_core.windows.span import Span
from fs_core.windows.times import NEVER, offsets_of

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

MOST_ENDS = 100
"""How many lives end while a head answers, from the present moment on, at most: each may need an event beside it.

From how many events on an entity gets a head is `HOT` in `fs_core.materialization.event_values`.
"""

TAIL_BYTES = 4_000
"""How many bytes these events take, at most."""

_SUMMED = ("count", "sum", "mean", "var", "std")
_KINDS = ("count", "sums", "squares", "nan", "inf", "-inf")
_KIND = 1_000  # more than any limb's number
_WORD = np.dtype("<i8")
_BITS = 7  # of the filter, for each id: one of thirty others is taken for one of these
_HASHES = 5


@dataclass(frozen=True)
class Head:
    """See the module.

    Attributes:
        since: from which moment on it answers, microseconds.
        until: and until which.
        beside: with how many events beside it, right behind it, it was made.
        early: how many of these were available by `since`.
        numbers: what `Settled.numbers` has of the entity.
        ids: the filter.
    """

    since: int
    until: int
    beside: int
    early: int
    numbers: Mapping[tuple[str, int], Ints]
    ids: bytes

    @cached_property
    def body(self) -> bytes:
        """The head as bytes."""
        kinds = [_KIND * _KINDS.index(kind) + number for kind, number in self.numbers]
        words = [
            np.array([self.since, self.until, self.beside, self.early, len(kinds), *kinds], _WORD),
            *self.numbers.values(),
        ]
        return np.concatenate(words, dtype=_WORD).tobytes() + self.ids

    @classmethod
    def of(cls, body: bytes, positions: int) -> Head:
        """Read a head.

        Args:
            body: the bytes.
            positions: how many windows are counted or summed.
        """
        since, until, beside, early, count = np.frombuffer(body, _WORD, 5).tolist()
        kinds = np.frombuffer(body, _WORD, count, 5 * _WORD.itemsize).tolist()
        end = (5 + count) * _WORD.itemsize
        columns = np.frombuffer(body, _WORD, count * positions, end).reshape(count, positions)
        named = [(_KINDS[kind // _KIND], kind % _KIND) for kind in kinds]
        return cls(since, until, beside, early, dict(zip(named, columns, strict=True)), body[end + columns.nbytes :])

    def answers(self, moment: int) -> bool:
        """Return whether it says what windows hold at a moment, microseconds."""
        return self.since <= moment <= self.until

    def knows(self, available_at: Ints, ids: Sequence[pa.Array], *, first: bool) -> bool:
        """Return whether events beside it are surely none of those that it stands for, and correct none.

        Args:
            available_at: of all that are beside it, microseconds.
            ids: what identifies each; empty where nothing does.
            first: whether it stands before them all, so that those that it was made with are the first.
        """
        late = available_at > self.since
        if np.count_nonzero(~late) != self.early:
            return False
        if first:  # it was made knowing these
            late[: self.beside] = False
        if not ids or not late.any() or not self.ids:
            return True
        taken = pa.array(np.flatnonzero(late))
        bits = np.unpackbits(np.frombuffer(self.ids, np.uint8))
        return not bits[_positions([column.take(taken) for column in ids], len(bits))].all(axis=1).any()


@dataclass
class Marks:
    """The floor and the head of each value, as far as they were found.

    Attributes:
        floors: microseconds, `EARLIEST` where there is none.
        floored: where there is one.
        heads: by the value's position.
        first: which values begin with a head.
    """

    floors: Ints
    floored: Flags
    heads: dict[int, Head] = field(default_factory=dict)
    first: set[int] = field(default_factory=set)

    @classmethod
    def none(cls, count: int) -> Marks:
        """Return those of values without any."""
        return cls(np.full(count, EARLIEST, np.int64), np.zeros(count, bool))


def positions_of(features: Sequence[Feature]) -> dict[tuple[Lane, Span], int]:
    """Return the position of each lane and window that is counted or summed."""
    slots = dict.fromkeys((f.lane, f.span) for f in features if f.function in _SUMMED)
    return {slot: position for position, slot in enumerate(slots)}


def settled(positions: Mapping[tuple[Lane, Span], int], heads: Mapping[int, Head], entities: int) -> Settled:
    """Return what heads say, ready for the kernel.

    Args:
        positions: what `positions_of` returns for the view's features, all of them.
        heads: by entity.
        entities: how many there are.
    """
    numbers: dict[tuple[str, int], Ints] = {}
    for entity, head in heads.items():
        for kind, values in head.numbers.items():
            if kind not in numbers:
                numbers[kind] = np.zeros((entities, len(positions)), np.int64)
            numbers[kind][entity] = values
    return Settled(positions, numbers)


def heads_of(
    features: Sequence[Feature], events: Events, sizes: Ints, since: Ints, ids: Sequence[pa.Array], moment: int
) -> tuple[list[Head], Flags]:
    """Return a head for each entity, and which events must stand beside them.

    Args:
        features: the view's, all of them.
        events: of entities that all have some.
        sizes: how many bytes each takes.
        since: from when on each entity's head is to answer, microseconds.
        ids: what identifies each event; empty where nothing does.
        moment: the present one, microseconds: from then on few lives end while a head answers, however many do before.
    """
    begun, until, lives = since[events.codes], np.empty(len(since), np.int64), _lives(features, events)
    offsets = offsets_of(events.codes, len(since))
    for entity, (first, last) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        ends = [end[first:last] for _, end in lives.values()]
        until[entity] = _until(ends, sizes[first:last], max(moment, int(since[entity])))
    reached = until[events.codes]
    beside = _last(events.codes, events.available_at <= begun)
    for start, end in lives.values():
        beside |= (start > begun) | ((end > begun) & (end <= reached))
    throughout = {span: (start <= begun) & (end > reached) for span, (start, end) in lives.items()}
    _keep_outermost(features, events, throughout, beside)
    numbers = _numbers(features, events.only(~beside), since)
    count = np.bincount(events.codes[beside], minlength=len(since))
    early = np.bincount(events.codes[beside & (events.available_at <= begun)], minlength=len(since))
    meant = np.any(list(throughout.values()), axis=0) & ~beside if ids else np.zeros(len(beside), bool)
    heads = []
    for entity in range(len(since)):
        mine = {kind: values[entity] for kind, values in numbers.items() if values[entity].any()}
        known = np.flatnonzero(meant[offsets[entity] : offsets[entity + 1]]) + offsets[entity]
        filtered = _filter([column.take(pa.array(known)) for column in ids], len(known))
        edges = int(since[entity]), int(until[entity])
        heads.append(Head(*edges, int(count[entity]), int(early[entity]), mine, filtered))
    return heads, beside


def _lives(features: Sequence[Feature], events: Events) -> dict[Span, tuple[Ints, Ints]]:
    clocks = events.event_time, events.available_at, events.superseded_at
    return {span: span.life(*clocks) for span in dict.fromkeys(feature.span for feature in features)}


def _until(ends: Sequence[Ints], sizes: Ints, moment: int) -> int:
    """Return the latest moment by which few lives end after another, of events of few bytes.

    Args:
        ends: of the lives, for each window.
        sizes: how many bytes each event takes.
        moment: microseconds.
    """
    later = [end > moment for end in ends]
    coming = np.concatenate([end[chosen] for end, chosen in zip(ends, later, strict=True)])
    taken = np.concatenate([sizes[chosen] for chosen in later])
    if len(coming) > MOST_ENDS + 1:
        first = np.argpartition(coming, MOST_ENDS)[: MOST_ENDS + 1]
        coming, taken = coming[first], taken[first]
    order = np.argsort(coming)
    few = min(int(np.searchsorted(np.cumsum(taken[order]), TAIL_BYTES, side="right")), MOST_ENDS)
    return int(coming[order[few]]) - 1 if few < len(order) else NEVER


def _last(codes: Ints, chosen: Flags) -> Flags:
    """Tell which is the last of the chosen events of each entity."""
    found, positions = np.zeros(len(codes), bool), np.flatnonzero(chosen)
    found[positions[_ranks(codes[positions])[1] == 1]] = True
    return found


def _ranks(codes: Ints) -> tuple[Ints, Ints]:
    """Return which of its entity's rows each is, from 0 on, and from the end, from 1 on."""
    positions = np.arange(len(codes))
    return positions - np.searchsorted(codes, codes), np.searchsorted(codes, codes, side="right") - positions


def _keep_outermost(
    features: Sequence[Feature], events: Events, throughout: Mapping[Span, Flags], beside: Flags
) -> None:
    """Add to the events beside heads what says the first, last, least, greatest and distinct of each window."""
    columns: dict[str, Ordinals] = {}
    for feature in features:
        if feature.function in _SUMMED:
            continue
        mask, column = having(events, feature.lane), str(feature.lane.column)
        seen = throughout[feature.span]
        positions = np.flatnonzero(seen if mask is None else seen & mask)
        codes = events.codes[positions]
        if feature.function in ("first", "last"):
            ranks = _ranks(codes)
            chosen = ranks[0] < (feature.n or 1) if feature.function == "first" else ranks[1] <= (feature.n or 1)
        elif feature.function == "count_distinct":
            values = codes_of_values(events.columns[column].take(pa.array(positions)))
            chosen = np.zeros(len(positions), bool)
            chosen[np.unique(codes * (values.max(initial=0) + 1) + values, return_index=True)[1]] = True
        else:
            if column not in columns:
                columns[column] = Ordinals.of(events.columns[column])
            fold = np.minimum if feature.function == "min" else np.maximum
            chosen = _extreme(codes, columns[column].numbers[positions], fold)
        beside[positions[chosen]] = True


def _extreme(codes: Ints, numbers: np.ndarray[Any, Any], fold: np.ufunc) -> Flags:
    """Tell which number is the least or greatest of its entity's, a NaN if there is one."""
    if not len(codes):
        return np.zeros(0, bool)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    with np.errstate(invalid="ignore"):
        best = np.repeat(fold.reduceat(numbers, starts), np.diff(np.append(starts, len(codes))))
    return _last(codes, (numbers == best) | (numbers != numbers))


def _numbers(features: Sequence[Feature], events: Events, since: Ints) -> dict[tuple[str, int], Ints]:
    """Return what events come to in each window at a moment, as `Settled` has it."""
    summed = [feature for feature in features if feature.function in _SUMMED]
    positions = positions_of(features)
    block = Block(prepared_for(summed, events, len(since)), np.arange(len(since)), since)
    found: dict[tuple[str, int], Ints] = {}

    def put(position: int, kind: str, number: int, values: Ints) -> None:
        found.setdefault((kind, number), np.zeros((len(since), len(positions)), np.int64))[:, position] = values

    for feature in summed:
        slot = feature.lane, feature.span
        put(positions[slot], "count", 0, block.count(*slot))
        if feature.function == "count":
            continue
        for kind, values in block.special_counts(*slot).items():
            put(positions[slot], kind, 0, values)
        for kind in ("sums", "squares") if feature.function in ("var", "std") else ("sums",):
            for number, values in block.limbs(*slot, squares=kind == "squares").items():
                put(positions[slot], kind, number, values)
    return found


def _filter(ids: Sequence[pa.Array], count: int) -> bytes:
    """Return a Bloom filter of ids; nothing for none."""
    if not count:
        return b""
    bits = np.zeros(-(-_BITS * count // 8) * 8, np.uint8)
    bits[_positions(ids, len(bits))] = 1
    return np.packbits(bits).tobytes()


def _positions(ids: Sequence[pa.Array], size: int) -> Ints:
    """Return the bits of each id, one row for each, in a filter of that many bits."""
    digests = b"".join(hashlib.blake2b(key or b"", digest_size=8).digest() for key in pack_keys(ids))
    halves = np.frombuffer(digests, "<u4").astype(np.int64).reshape(-1, 2)
    return (halves[:, :1] + np.arange(_HASHES) * (halves[:, 1:] | 1)) % size
