"""How well one column alone predicts a label, by ranks, so that no scale or outlier matters.

Against a label of classes it is the area under the ROC curve, the Mann-Whitney statistic (Mann and Whitney 1947,
ties by average ranks; its variance without ties bounds that with them). Against a label that is a number it is
Spearman's rank correlation. Both are put on one scale, 0 for nothing and 1 for everything: 2 AUC - 1, |rho|.

A column is measured as it stands, and as categories: a number cut at its quantiles, a null a category like any
other. Each category stands for the label's mean in the other half of the rows, so many categories can't learn the
label by heart. This sees what isn't monotone, text, and a null that is itself the secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.values.dtypes import plain_type

Floats = np.ndarray[Any, np.dtype[np.float64]]
Codes = np.ndarray[Any, np.dtype[np.int64]]

_BINS = 20
_CLASSES = 20  # a number with more distinct values counts as a number


@dataclass(frozen=True)
class Strength:
    """How well a column predicts a label.

    Attributes:
        strength: 0 to 1.
        statistic: what was measured, `auc` or `spearman`.
        value: the statistic, 0.5 to 1 for `auc`, 0 to 1 for `spearman`.
        deviations: how many standard deviations from chance.
        rows: rows measured.
    """

    strength: float
    statistic: str
    value: float
    deviations: float
    rows: int


def targets(label: pa.ChunkedArray) -> list[Floats]:
    """Return what a label asks, one array for each question: is it this class, or how large is it; no nulls."""
    column = _plain(label)
    codes, values = _encoded(column)
    if len(values) < 2:
        return []
    if len(values) > _CLASSES and _is_ordered(column.type):
        return [_as_floats(column)]
    sizes = np.bincount(codes, minlength=len(values))
    asked = np.argsort(-sizes, kind="stable")[: 1 if len(values) == 2 else _CLASSES]
    return [(codes == code).astype(np.float64) for code in asked]


def can_be_ranked(dtype: pa.DataType) -> bool:
    """Return whether a feature of this type can be measured: anything but lists."""
    return not pa.types.is_nested(plain_type(dtype))


def strongest(column: pa.ChunkedArray, asked: list[Floats]) -> Strength | None:
    """Return the most that a column says of a label; None if nothing can be measured."""
    plain = _plain(column)
    found = [s for target in asked for s in _measured(plain, target)]
    return max(found, key=lambda s: (s.strength, s.deviations), default=None)


def ranks(values: Floats) -> Floats:
    """Return each value's rank from 1, equal values sharing the average of theirs."""
    _, position, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[position.reshape(-1)], dtype=np.float64)


def _measured(column: pa.ChunkedArray, target: Floats) -> Iterator[Strength]:
    categories = np.zeros(len(column), np.int64)
    if _is_ordered(column.type):
        values = _as_floats(column)
        valid = ~np.isnan(values)
        if valid.sum() > 1:
            found = _strength(values[valid], target[valid])
            if found is not None:
                yield found
        order = ranks(values[valid])
        categories[valid] = 1 + (order - 1).astype(np.int64) * _BINS // max(1, len(order))
    else:
        categories = _encoded(column)[0] + 1
    found = _strength(_means_elsewhere(categories, target), target, positive=True)
    if found is not None:
        yield found


def _strength(score: Floats, target: Floats, *, positive: bool = False) -> Strength | None:
    rows = len(target)
    order = ranks(score)
    binary = np.isin(target, (0.0, 1.0)).all()
    if binary:
        ones = int(target.sum())
        zeros = rows - ones
        if not ones or not zeros:
            return None
        auc = (order[target == 1.0].sum() - ones * (ones + 1) / 2) / (ones * zeros)
        signed, deviation = 2 * float(auc) - 1, np.sqrt((rows + 1) / (3 * ones * zeros))
    else:
        own = ranks(target)
        if np.ptp(order) == 0 or np.ptp(own) == 0:
            return None
        signed, deviation = float(np.corrcoef(order, own)[0, 1]), 1 / np.sqrt(rows - 1)
    strength = max(0.0, signed) if positive else abs(signed)
    value = (1 + strength) / 2 if binary else strength
    return Strength(strength, "auc" if binary else "spearman", value, float(strength / deviation), rows)


def _means_elsewhere(categories: Codes, target: Floats) -> Floats:
    """Return for each row the target's mean over its category, taken from the half of the rows it isn't in."""
    half = np.random.default_rng(0).permutation(len(target)) % 2
    score = np.empty(len(target))
    for mine in (0, 1):
        theirs = half != mine
        size = np.bincount(categories[theirs], minlength=categories.max(initial=0) + 1)
        total = np.bincount(categories[theirs], weights=target[theirs], minlength=len(size))
        whole = float(target.mean()) if len(target) else 0.0
        score[half == mine] = ((total + whole) / (size + 1))[categories[half == mine]]
    return score


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = plain_type(column.type)
    return column if plain == column.type else column.cast(plain)


def _is_ordered(dtype: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_temporal)
    return any(kind(dtype) for kind in kinds)


def _as_floats(column: pa.ChunkedArray) -> Floats:
    """Return ordered values as float64, null as NaN; close neighbours may fall together, which ranks hardly see."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _encoded(column: pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """Return each row's position among the distinct values, -1 for a null, and the values."""
    encoded = pa.chunked_array(column).combine_chunks().dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy().astype(np.int64), encoded.dictionary
