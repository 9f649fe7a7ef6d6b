"""Two samples of a feature cut into the same bins, which the reference decides.

Every entity weighs 1, however many rows it has: rows of one entity are alike, and to count each would take one busy
entity for a crowd. Numbers are cut at the reference's tenths; a value that takes a tenth by itself has a bin of its
own. Text, bytes and booleans have a bin for each of the most frequent values, and one for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    """Values of one feature.

    Attributes:
        values: of each row.
        entities: a number for each row's entity, from 0 on.
        has_nulls: whether a null is a value; a training set that doesn't say which rows it found can't tell.
    """

    values: pa.ChunkedArray
    entities: Ints
    has_nulls: bool = True


@dataclass(frozen=True)
class Bins:
    """Both samples in the same bins.

    Attributes:
        labels: what each bin holds, as text.
        reference: entities in each bin, of the reference; fractions where an entity lies in several.
        current: the same of the window.
        positions: of numbers, where in each bin the middle of the reference lies.
        spread: of numbers, the standard deviation of a normal distribution whose tenths are as far apart; 0 if they
            are one, or infinite.
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


def missing(column: pa.ChunkedArray) -> Flags:
    """Return which values are null or NaN."""
    return np.asarray(pc.is_null(column, nan_is_null=True).to_numpy(), np.bool_)


def weights(entities: Ints) -> Floats:
    """Return each row's weight: 1 for each entity, shared among its rows."""
    return np.asarray(1.0 / np.bincount(entities)[entities], np.float64)


def count_of(entities: Ints) -> int:
    """Return how many entities there are among rows."""
    return int(np.count_nonzero(np.bincount(entities)))


def cut(reference: Sample, current: Sample) -> Bins | None:
    """Return two samples in the same bins; None where a side has no value, or their types can't be compared."""
    sides = [
        (side.values.filter(pa.array(kept)), side.entities[kept])
        for side in (reference, current)
        for kept in [~missing(side.values)]
    ]
    if any(not len(values) for values, _ in sides):
        return None
    if is_number(reference.values.type) and is_number(current.values.type):
        return _numbers(*((_floats(values), weights(entities)) for values, entities in sides))
    types = [side.values.type for side in (reference, current)]
    if all(map(is_category, types)) and len({pa.types.is_binary(plain_type(t)) for t in types}) == 1:
        return _categories(sides[0], sides[1])
    return None


def _floats(values: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(), np.float64)


def _numbers(reference: tuple[Floats, Floats], current: tuple[Floats, Floats]) -> Bins:
    order = np.argsort(reference[0], kind="stable")
    values, mass = reference[0][order], np.cumsum(reference[1][order])
    tenths = _at(values, mass, np.arange(1, TENTHS) / TENTHS)
    alone = tenths[1:][tenths[1:] == tenths[:-1]]
    edges = np.unique(np.concatenate([tenths, np.nextafter(alone, -np.inf)]))
    before, now = (_weighed(np.searchsorted(edges, v), w, len(edges) + 1) for v, w in (reference, current))
    middles = _middles(values, mass, before, edges)
    spread = (float(tenths[-1]) - float(tenths[0])) / _NORMAL if np.isfinite(middles).all() else 0.0
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


def _categories(reference: tuple[pa.ChunkedArray, Ints], current: tuple[pa.ChunkedArray, Ints]) -> Bins:
    plain = [_text(values) for values, _ in (reference, current)]
    encoded = pa.chunked_array([chunk for side in plain for chunk in side.chunks], plain[0].type).combine_chunks()
    dictionary = encoded.dictionary_encode()
    codes = np.asarray(dictionary.indices, np.int64)
    found = len(dictionary.dictionary)
    parts = [codes[: len(reference[0])], codes[len(reference[0]) :]]
    counts = [_weighed(c, weights(e), found) for c, (_, e) in zip(parts, (reference, current), strict=True)]
    most = np.argsort(-counts[0], kind="stable")[:CATEGORIES]
    most = most[counts[0][most] > 0]
    rest = np.setdiff1d(np.arange(found), most)
    before, now = (np.append(side[most], side[rest].sum()) for side in counts)
    fresh = np.argsort(np.where(counts[0] > 0, 0.0, -counts[1]), kind="stable")[:_SHOWN]
    fresh = fresh[(counts[0][fresh] == 0) & (counts[1][fresh] > 0)]
    labels, new = ([str(v) for v in dictionary.dictionary.take(pa.array(c)).to_pylist()] for c in (most, fresh))
    entities = int(reference[1].max()) + 1
    holders = np.unique(parts[0] * entities + reference[1]) // entities
    alone = np.bincount(holders, minlength=found) == 1
    unseen, expected = float(counts[1][counts[0] == 0].sum()), float(counts[0][alone].sum())
    filled = before + now > 0
    labels = _picked([*labels, "other"], filled)
    return Bins(labels, before[filled], now[filled], unseen=unseen, expected_unseen=expected, new=tuple(new))


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.binary() if pa.types.is_binary(plain_type(values.type)) else pa.string())


def _weighed(positions: Ints, weight: Floats, length: int) -> Floats:
    return np.bincount(positions, weights=weight, minlength=length).astype(np.float64)
