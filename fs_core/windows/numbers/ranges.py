"""The least and greatest of ranges, and of lives that cover a question."""

from __future__ import annotations

from typing import Any

import numpy as np

from fs_core.windows.times import expanded

Ints = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, Any]


def least_possible(numbers: Numbers, fold: np.ufunc) -> Any:
    """Return what changes no minimum (or maximum) of numbers of this type."""
    if numbers.dtype.kind == "f":
        return np.inf if fold is np.minimum else -np.inf
    limits = np.iinfo(numbers.dtype)
    return limits.max if fold is np.minimum else limits.min


def folded(numbers: Numbers, start: Ints, end: Ints, fold: np.ufunc) -> Numbers:
    """Return the minimum or maximum of ranges; of an empty one, what changes none.

    Few short ranges are looked at number by number; so is what lies between them, if it is less than they are. For many
    a table is made of the folds of 1, 2, 4, ... numbers from each place on, one row after the other: two of its places
    cover any range.

    Args:
        numbers: the values.
        start: where each range begins.
        end: the place behind its end.
        fold: `np.minimum` or `np.maximum`; both keep a NaN.
    """
    found = np.full(len(start), least_possible(numbers, fold), numbers.dtype)
    filled = np.flatnonzero(end > start)
    if not len(filled):
        return found
    filled = filled[np.argsort(start[filled], kind="stable")]  # mostly some runs that ascend, which are merged
    start, end = start[filled], end[filled]
    first, last, length = int(start[0]), int(end.max()), end - start
    total = int(length.sum())
    if total < last - first:
        found[filled] = fold.reduceat(numbers[expanded(start, length)], np.cumsum(length) - length)
        return found
    if total <= 4 * (last - first):
        edges = np.empty((len(start), 2), np.int64)
        edges[:, 0], edges[:, 1] = start, end
        edges -= first
        row = np.concatenate([numbers[first:last], found[:1]])  # an edge may be the end
        found[filled] = fold.reduceat(row, edges.ravel())[::2]
        return found
    row = np.array(numbers[first:last])
    levels = np.frexp(length.astype(np.float64))[1] - 1
    for level in range(int(levels.max()) + 1):
        mine = np.flatnonzero(levels == level)
        left = start[mine] - first
        found[filled[mine]] = fold(row[left], row[left + length[mine] - (1 << level)])
        fold(row[: -(1 << level)], row[1 << level :], out=row[: -(1 << level)])
    return found


def painted(first: Ints, last: Ints, numbers: Numbers, size: int, fold: np.ufunc) -> Numbers:
    """Return, for each of `size` questions, the minimum or maximum over the lives that cover it.

    The table of `folded`, the other way round: a life is put down at two places of the row of its length, and each
    row is handed on to the next shorter one.

    Args:
        first: the first question that each life covers.
        last: the question behind the last; at least one is covered.
        numbers: the value of each life.
        size: how many questions there are.
        fold: `np.minimum` or `np.maximum`.
    """
    row = np.full(size, least_possible(numbers, fold), numbers.dtype)
    levels = np.frexp((last - first).astype(np.float64))[1] - 1
    for level in range(int(levels.max(initial=-1)), -1, -1):
        mine = np.flatnonzero(levels == level)
        with np.errstate(invalid="ignore"):  # a NaN, which stays one
            fold.at(row, first[mine], numbers[mine])
            fold.at(row, last[mine] - (1 << level), numbers[mine])
        if level:
            half = 1 << (level - 1)
            fold(row[half:], row[:-half].copy(), out=row[half:])
    return row


def covering(first: Ints, last: Ints, values: Ints | None, size: int) -> Ints:
    """Return, for each of `size` questions, the sum over the lives that cover it; without values, how many do.

    Args:
        first: the first question that each life covers.
        last: the question behind the last that it covers.
        values: what each life adds; None for one.
        size: how many questions there are.
    """
    steps = np.zeros(size + 1, np.int64)
    weights = np.ones(len(first), np.int64) if values is None else values
    np.add.at(steps, first, weights)
    np.subtract.at(steps, last, weights)
    return np.cumsum(steps)[:-1]
