"""Histograms with fixed buckets, so that those of any parts add up to that of the whole.

A number's bucket is its sign, its power of two, and in which 32nd of the way to the next power it lies: the first 17
bits of its float64. So a bucket is at most 3.2 % wide, whole numbers up to 64 have one each, and no bucket depends
on the data. A time's bucket is its day in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Histogram = Mapping[int, int]
"""How many values each bucket holds; without those that hold none."""

_CUT = 47  # bits of a float64 that a bucket leaves open: 52 of the fraction, less 5


def buckets(values: Floats) -> Ints:
    """Return the bucket of each number; infinities have their own. There must be no NaN among them."""
    sizes = np.abs(values).view(np.int64) >> _CUT
    return np.where(values < 0, -sizes, sizes)


def edges(bucket: int) -> tuple[float, float]:
    """Return where a bucket of numbers begins and ends; the edge that is nearer to zero belongs to it."""
    near, far = np.array([abs(bucket), abs(bucket) + 1], np.int64) << _CUT
    low, high = float(near.view(np.float64)), float(far.view(np.float64))
    if bucket == 0:
        return -high, high
    return (-high, -low) if bucket < 0 else (low, high)


def counted(keys: Ints) -> dict[int, int]:
    """Return how often each bucket comes, in order."""
    found, counts = np.unique(keys, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def added(one: Histogram, other: Histogram) -> dict[int, int]:
    """Return the histogram of both."""
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
