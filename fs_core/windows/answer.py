"""Answering questions about windows: the kernel's one way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.errors import DataError
from fs_core.values.times import from_micros
from fs_core.windows.block import NO_ROW, Block
from fs_core.windows.events import plain_floats
from fs_core.windows.lists import lists_of
from fs_core.windows.numbers.exact import ORIGIN, WIDTH
from fs_core.windows.numbers.ordinals import decimals
from fs_core.windows.numbers.spread import spread
from fs_core.windows.plan import Feature, Features, Lane
from fs_core.windows.prepared import Prepared
from fs_core.windows.span import Span, Spans
from fs_core.windows.times import Packing

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_BLOCK = 1 << 16  # questions that are answered together: what is computed for them stays in the processor's cache
_FEW = 1 << 10  # questions of which all windows are looked at together
_ALL = Lane(None, None)
_ALL_TIME = Span(None, None, 0)
_DIGITS = 38


class TooLargeError(Exception):
    """A whole number or decimal that doesn't fit its type.

    Attributes:
        feature: which aggregate.
        row: of which question.
    """

    def __init__(self, feature: Feature, row: int) -> None:
        super().__init__(feature.name, row)
        self.feature, self.row = feature, row


def too_large(view: FeatureView, error: TooLargeError, entity: str, moment: int) -> DataError:
    """Return the error that says of whom and when a result doesn't fit its type.

    Args:
        view: whose feature it is.
        error: which feature.
        entity: what errors call the entity.
        moment: microseconds.
    """
    at = from_micros(moment).isoformat()
    return DataError(
        f"view {view.name!r}: {error.feature.name} of {entity} at {at} doesn't fit {error.feature.dtype}. Use a "
        "shorter window, or declare the column as decimal or float64."
    )


class Asked(NamedTuple):
    """Questions about entities whose events are all prepared together.

    Attributes:
        prepared: the events; all that the features need was prepared, and the lane of every event.
        rows: which questions.
        codes: the entity of each.
    """

    prepared: Prepared
    rows: Ints
    codes: Ints


@dataclass(frozen=True)
class Answers:
    """What windows hold.

    Attributes:
        features: one column for each feature, in its type, one row for each question.
        event_time: of each question's latest known event, microseconds; anything where there is none.
        known: whether any event was known.
    """

    features: pa.Table
    event_time: Ints
    known: Flags


def answer(features: Features, asked: Sequence[Asked], moments: Ints, each: Any = map) -> Answers:
    """Return what each feature is for each question.

    Args:
        features: what is asked.
        asked: the questions about entities that have events; about the others there is nothing to say.
        moments: of every question, microseconds.
        each: `map`, or that of some threads.

    Raises:
        TooLargeError: a whole number or a decimal doesn't fit its type.
    """
    blocks = [block for part in asked for block in _blocks(part, moments)]
    parts = list(each(lambda block: _answer_block(features, block, moments[block.rows]), blocks))
    if len(blocks) == 1 and np.array_equal(blocks[0].rows, np.arange(len(moments))):
        table = pa.Table.from_arrays(parts[0].columns, schema=features.schema)
        return Answers(table, parts[0].event_time, parts[0].known)
    order = np.concatenate([*(block.rows for block in blocks), np.zeros(0, np.int64)])
    back = np.full(len(moments), len(order), np.int64)  # behind the last stands what nobody says
    back[order] = np.arange(len(order))
    taken = pa.array(back)
    columns = {
        feature.name: pa.concat_arrays([*(part.columns[place] for part in parts), _nobodys(feature)]).take(taken)
        for place, feature in enumerate(features)
    }
    times, known = (np.concatenate([*(part[i] for part in parts), [0]])[back] for i in (1, 2))
    return Answers(pa.table(columns), times, known.astype(bool))


def _blocks(asked: Asked, moments: Ints) -> Iterator[Asked]:
    """Yield questions by entity and moment, some at a time."""
    order = _in_order(asked.codes, moments[asked.rows])
    for start in range(0, len(order), _BLOCK):
        mine = order[start : start + _BLOCK]
        yield Asked(asked.prepared, asked.rows[mine], asked.codes[mine])


def nothing(features: Sequence[Feature], rows: int) -> pa.Table:
    """Return what features are for entities that nobody knows: counts are 0, all else is null."""
    return pa.table({f.name: pa.repeat(_nobodys(f)[0], rows) for f in features})


def _nobodys(feature: Feature) -> pa.Array:
    return pa.array([0 if feature.function in ("count", "count_distinct") else None], feature.dtype)


def _in_order(codes: Ints, moments: Ints) -> Ints:
    """Return the questions by entity and moment."""
    if (codes[1:] > codes[:-1]).all():
        return np.arange(len(codes))
    packing = Packing.of(moments)
    if len(codes) and int(codes.max()) >> packing.group_bits:
        return np.lexsort((moments, codes))
    packed = packing.pack_known(codes, moments)
    return np.arange(len(codes)) if (packed[1:] >= packed[:-1]).all() else np.argsort(packed)


class _Part(NamedTuple):
    columns: list[pa.Array]
    event_time: Ints
    known: Flags


def _answer_block(features: Features, asked: Asked, moments: Ints) -> _Part:
    block = Block(asked.prepared, asked.codes, moments)
    columns = _together(features, asked, block) if block.size <= _FEW else {}
    for number, feature in enumerate(features):
        if number in columns:
            continue
        try:
            columns[number] = _FUNCTIONS[feature.function](block, feature)
        except _OverflowError as error:
            raise TooLargeError(feature, int(asked.rows[error.args[0]])) from None
    latest = block.outermost(_ALL, _ALL_TIME, last=True)
    known = latest != NO_ROW
    times = asked.prepared.event_time[np.where(known, latest, 0)] if known.any() else np.zeros(block.size, np.int64)
    return _Part([columns[number] for number in range(len(features))], times, known)


def _together(features: Features, asked: Asked, once: Block) -> dict[int, pa.Array]:
    """Answer features that differ in their windows alone as if each window were a question of its own.

    For few questions that takes a fraction of the calls, which cost more than what they compute.
    """
    blocks: dict[tuple[Span, ...], tuple[Block, Spans]] = {}
    columns: dict[int, pa.Array] = {}
    for numbers, spans in features.alike:
        if spans not in blocks:
            blocks[spans] = _one_for_each(spans, once)
        block, mine = blocks[spans]
        feature = features[numbers[0]]._replace(span=mine)  # type: ignore[arg-type]  # they are asked alike
        try:
            found = _FUNCTIONS[feature.function](block, feature)
        except _OverflowError as error:
            window, row = divmod(error.args[0], once.size)
            raise TooLargeError(features[numbers[window]], int(asked.rows[row])) from None
        columns |= {number: found.slice(window * once.size, once.size) for window, number in enumerate(numbers)}
    return columns


def _one_for_each(spans: tuple[Span, ...], once: Block) -> tuple[Block, Spans]:
    """Return a block that asks every question of each window, one window after the other, and these windows."""
    codes, times = (np.concatenate([values] * len(spans)) for values in (once.codes, once.moments))
    return Block(once.prepared, codes, times, once), Spans(spans, np.repeat(np.arange(len(spans)), once.size))


class _OverflowError(Exception):
    """A sum that doesn't fit; its argument is the place in the block."""


def _count(block: Block, feature: Feature) -> pa.Array:
    return pa.array(block.count(feature.lane, feature.span))


def _count_distinct(block: Block, feature: Feature) -> pa.Array:
    return pa.array(block.distinct(feature.lane, feature.span))


def _sum(block: Block, feature: Feature) -> pa.Array:
    empty = block.count(feature.lane, feature.span) == 0
    if pa.types.is_floating(feature.dtype):
        return _floats(_with_special(block, feature, block.total(feature.lane, feature.span, 0)), empty)
    sums = block.sums(feature.lane, feature.span)
    low, high = sums.words()
    if pa.types.is_decimal(feature.dtype):
        _refuse(sums.exceed(ORIGIN // WIDTH + 4) | (high > _MOST[1]) | ((high == _MOST[1]) & (low > _MOST[0])))
        flipped = ~high + (low == 0)
        words = np.where(sums.negative, ~low + np.uint64(1), low), np.where(sums.negative, flipped, high)
        return decimals(*words, ~empty, feature.dtype)
    if pa.types.is_uint64(feature.dtype):
        _refuse(high > 0)
        return pa.array(low, mask=empty)
    _refuse(sums.exceed(ORIGIN // WIDTH + 2) | (low > np.uint64(2**63 - 1) + sums.negative))
    return pa.array(np.where(sums.negative, ~low + np.uint64(1), low).view(np.int64), mask=empty)


_MOST = np.uint64((10**_DIGITS - 1) & (2**64 - 1)), np.uint64((10**_DIGITS - 1) >> 64)


def _refuse(too_large: Flags) -> None:
    if too_large.any():
        raise _OverflowError(int(np.argmax(too_large)))


def _mean(block: Block, feature: Feature) -> pa.Array:
    count = block.count(feature.lane, feature.span)
    total = _with_special(block, feature, block.total(feature.lane, feature.span, _scale(block, feature)))
    return _floats(total / np.where(count == 0, 1, count), count == 0)


def _spread(block: Block, feature: Feature) -> pa.Array:
    count = block.count(feature.lane, feature.span)
    sums, squares = (block.sums(feature.lane, feature.span, squares=s) for s in (False, True))
    found = spread(count, sums, squares, _scale(block, feature), root=feature.function == "std")
    for flags in block.special(feature.lane, feature.span).values():
        found[flags] = np.nan
    return _floats(found, count < 2)


def _scale(block: Block, feature: Feature) -> int:
    """Return how many decimal places the digits of sums have."""
    return block.prepared.scales.get(str(feature.lane.column), 0)


def _with_special(block: Block, feature: Feature, sums: Floats) -> Floats:
    """Return sums with what NaN and infinities make of them."""
    special = block.special(feature.lane, feature.span)
    if not special:
        return sums
    none = np.zeros(block.size, bool)
    nan, positive, negative = (special.get(kind, none) for kind in ("nan", "inf", "-inf"))
    found = np.where(positive, np.inf, np.where(negative, -np.inf, sums))
    return np.where(nan | (positive & negative), np.nan, found)


def _floats(values: Floats, empty: Flags) -> pa.Array:
    return pa.array(plain_floats(values), mask=empty)


def _extreme(block: Block, feature: Feature) -> pa.Array:
    fold = np.minimum if feature.function == "min" else np.maximum
    found = block.extreme(feature.lane, feature.span, fold)
    ordinals = block.prepared.ordinals[str(feature.lane.column)]
    return ordinals.restore(found, block.count(feature.lane, feature.span) > 0)


def _outermost(block: Block, feature: Feature) -> pa.Array:
    column = block.prepared.columns[str(feature.lane.column)]
    if feature.n is None:
        rows = block.outermost(feature.lane, feature.span, last=feature.function == "last")
        return column.take(pa.array(rows, mask=rows == NO_ROW))
    lengths, rows = lists_of(block, feature)
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, column.take(pa.array(rows)), feature.dtype, mask=pa.array(lengths == 0))


_FUNCTIONS: dict[str, Callable[[Block, Feature], pa.Array]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "var": _spread,
    "std": _spread,
    "min": _extreme,
    "max": _extreme,
    "first": _outermost,
    "last": _outermost,
    "count_distinct": _count_distinct,
}
