"""Two samples of a feature cut into the same bins, which the reference decides.

Every entity weighs 1, however many rows it has: rows of one entity are alike, and to count each would take one busy
entity for a crowd. Numbers are cut at the reference's tenths; a value that takes a tenth by itself has a bin of its
own. Text, bytes and booleans have a bin for each of the most frequent values, and one for the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.values.dtypes import plain_type

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

TENTHS = 10
CATEGORIES = 20
_SHOWN = 3
_NORMAL = 2.5631031310892007
"""Between the first and the last tenth of a normal distribution lie so many standard deviations."""


@dataclass(frozen=True)
class Sample:
    """Values of one feature. What follows from them is computed once: a reference is held beside many windows.

    Attributes:
        values: of each row.
        entities: a number for each row's entity, from 0 on.
        has_nulls: whether a null is a value; a training set that doesn't say which rows it found can't tell.
    """

    values: pa.ChunkedArray
    entities: Ints
    has_nulls: bool = True

    @cached_property
    def is_missing(self) -> Flags:
        """Which values are null or NaN."""
        return np.asarray(pc.is_null(self.values, nan_is_null=True).to_numpy(), np.bool_)

    @cached_property
    def known(self) -> Sample:
        """The rows that have a value."""
        kept = ~self.is_missing
        return Sample(self.values.filter(pa.array(kept)), self.entities[kept])

    @cached_property
    def count(self) -> int:
        """How many entities there are among the rows."""
        return count_of(self.entities)

    @cached_property
    def weights(self) -> Floats:
        """Each row's weight: 1 for each entity, shared among its rows."""
        return np.asarray(1.0 / np.bincount(self.entities)[self.entities], np.float64)

    @cached_property
    def floats(self) -> Floats:
        """The values of numbers, none of them missing."""
        return np.asarray(pc.cast(self.values, pa.float64(), safe=False).to_numpy(), np.float64)

    @cached_property
    def ordered(self) -> tuple[Floats, Floats]:
        """The values of numbers in order, and the weight of all up to each."""
        order = np.argsort(self.floats, kind="stable")
        return self.floats[order], np.cumsum(self.weights[order])

    @cached_property
    def categories(self) -> tuple[pa.Array, Ints]:
        """The different values of categories as text or bytes, in the order in which they come; and each row's."""
        text = self.values.cast(pa.binary() if pa.types.is_binary(plain_type(self.values.type)) else pa.string())
        encoded = text.combine_chunks().dictionary_encode()
        return encoded.dictionary, np.asarray(encoded.indices, np.int64)

    @cached_property
    def alone(self) -> float:
        """How many entities have a category that nobody else has."""
        dictionary, codes = self.categories
        entities = int(self.entities.max()) + 1
        holders = np.unique(codes * entities + self.entities) // entities
        is_alone = np.bincount(holders, minlength=len(dictionary)) == 1
        return float(_weighed(codes, self.weights, len(dictionary))[is_alone].sum())


@dataclass(frozen=True)
class Bins:
    """Both samples in the same bins.

    Attributes:
        labels: what each bin holds, as text.
        reference: entities in each bin, of the reference; fractions where an entity lies in several.
        current: the same of the window.
        positions: of numbers, where in each bin the middle of the reference lies.
        spread: of numbers, the standard deviation of a normal distribution whose tenths are as far apart; 0 if they
            are one, or farther apart than a float can say.
        unseen: of categories, how many entities have values that the reference never held.
        expected_unseen: how many of the reference's would, had their values not been seen: those whose values nobody
            else has (Good 1953).
        new: of categories, a few of those that the reference never held, the most frequent first.
    """

    labels: list[str]
    reference: Floats
    current: Floats
    positions: Floats | None = None
    spread: float = 0.0
    unseen: float = 0.0
    expected_unseen: float = 0.0
    new: tuple[str, ...] = ()


def is_number(dtype: pa.DataType) -> bool:
    """Return whether values of a type are compared as numbers."""
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))


def is_category(dtype: pa.DataType) -> bool:
    """Return whether values of a type are compared as categories."""
    kinds = (pa.types.is_boolean, pa.types.is_string, pa.types.is_binary)
    return any(kind(plain_type(dtype)) for kind in kinds)


def count_of(entities: Ints) -> int:
    """Return how many entities there are among rows."""
    return int(np.count_nonzero(np.bincount(entities)))


def cut(reference: Sample, current: Sample) -> Bins | None:
    """Return two samples in the same bins; None where a side has no value, or their types can't be compared."""
    before, now = reference.known, current.known
    if not (len(before.values) and len(now.values)):
        return None
    types = [side.values.type for side in (before, now)]
    if all(map(is_number, types)):
        return _numbers(before, now)
    if all(map(is_category, types)) and len({pa.types.is_binary(plain_type(t)) for t in types}) == 1:
        return _categories(before, now)
    return None


def _numbers(reference: Sample, current: Sample) -> Bins:
    values, mass = reference.ordered
    tenths = _at(values, mass, np.arange(1, TENTHS) / TENTHS)
    alone = tenths[1:][tenths[1:] == tenths[:-1]]
    edges = np.unique(np.concatenate([tenths, np.nextafter(alone, -np.inf)]))
    before, now = (
        _weighed(np.searchsorted(edges, side.floats), side.weights, len(edges) + 1) for side in (reference, current)
    )
    middles = _middles(values, mass, before, edges)
    is_near = math.isfinite(float(middles.max()) - float(middles.min()))
    spread = (float(tenths[-1]) - float(tenths[0])) / _NORMAL if is_near else 0.0
    filled = before + now > 0
    return Bins(_picked(_ranges(edges), filled), before[filled], now[filled], middles[filled], spread)


def _picked(labels: list[str], filled: Flags) -> list[str]:
    return [label for label, is_filled in zip(labels, filled, strict=True) if is_filled]


def _at(values: Floats, mass: Floats, parts: Floats) -> Floats:
    """Return the values up to which parts of the whole mass lie."""
    found: Floats = values[np.minimum(np.searchsorted(mass, parts * mass[-1] * (1 - 1e-12)), len(values) - 1)]
    return found


def _middles(values: Floats, mass: Floats, counts: Floats, edges: Floats) -> Floats:
    """Return the reference's median of each bin; of an empty one the edge."""
    ends = np.cumsum(counts) / mass[-1]
    middles = _at(values, mass, np.clip(ends - counts / mass[-1] / 2, 0, 1))
    nearest = np.append(edges, edges[-1])
    return np.where(counts > 0, middles, nearest)


def _ranges(edges: Floats) -> list[str]:
    alone = np.nextafter(edges[1:], -np.inf) == edges[:-1]
    ends = [f"{edge:.4g}" for edge in edges]
    between = [high if one else f"{low} to {high}" for one, (low, high) in zip(alone, pairwise(ends), strict=True)]
    return [f"up to {ends[0]}", *between, f"above {ends[-1]}"]


def _categories(reference: Sample, current: Sample) -> Bins:
    (labels, codes), (others, other_codes) = reference.categories, current.categories
    counts = _weighed(codes, reference.weights, len(labels))
    found = _weighed(other_codes, current.weights, len(others))
    place = np.asarray(pc.fill_null(pc.index_in(others, labels), -1), np.int64)
    is_new = place < 0
    now = _weighed(place[~is_new], found[~is_new], len(labels))
    most = np.argsort(-counts, kind="stable")[:CATEGORIES]
    rest, unseen = np.setdiff1d(np.arange(len(labels)), most), float(found[is_new].sum())
    bins = [np.append(side[most], side[rest].sum() + more) for side, more in ((counts, 0.0), (now, unseen))]
    fresh = np.argsort(np.where(is_new, -found, 0.0), kind="stable")[: min(_SHOWN, np.count_nonzero(is_new))]
    shown, new = (
        [str(v) for v in side.take(pa.array(at)).to_pylist()] for side, at in ((labels, most), (others, fresh))
    )
    filled = bins[0] + bins[1] > 0
    names = _picked([*shown, "other"], filled)
    return Bins(
        names,
        bins[0][filled],
        bins[1][filled],
        unseen=unseen,
        expected_unseen=reference.alone,
        new=tuple(new),
    )


def _weighed(positions: Ints, weight: Floats, length: int) -> Floats:
    return np.bincount(positions, weights=weight, minlength=length).astype(np.float64)
