"""One feature of a window beside that of a reference: each distance, whether it is large, whether it is noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fs_core.errors import DataError, did_you_mean
from fs_core.monitoring.drift import distances
from fs_core.monitoring.drift.bins import Bins, Sample, cut


@dataclass(frozen=True)
class Thresholds:
    """From when on a change matters. The first three all mean about a third of a standard deviation.

    Attributes:
        psi: population stability index.
        jensen_shannon: distance from 0 to 1.
        wasserstein: distance in standard deviations.
        null_rate: change of the share of entities without a value.
        unseen: share of entities with a category that the reference never held, beyond what is to be expected.
        volume: how many times as many rows, or as few.
        false_discoveries: share of false ones among the alarms, at most; for noise alone, of reports that alarm.
        entities: how many a side must have to be judged.
    """

    psi: float = 0.1
    jensen_shannon: float = 0.15
    wasserstein: float = 0.3
    null_rate: float = 0.02
    unseen: float = 0.02
    volume: float = 2.0
    false_discoveries: float = 0.01
    entities: float = 50

    @classmethod
    def of(cls, given: Mapping[str, float] | None) -> Thresholds:
        """Return the thresholds with some changed.

        Raises:
            DataError: there is none of a name, or it is no positive number.
        """
        known = [field.name for field in fields(cls)]
        for name, value in (given or {}).items():
            if name not in known:
                raise DataError(f"there is no threshold {name!r}.{did_you_mean(name, known)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise DataError(f"threshold {name!r} is {value!r}; pass a number above 0.")
        return replace(cls(), **(given or {}))


@dataclass(frozen=True)
class Measure:
    """How far one feature lies from a reference, in one sense.

    Attributes:
        name: `psi`, `jensen_shannon`, `wasserstein`, `null_rate`, `unseen` or `volume`.
        test: what the probability is of: `values`, `nulls`, `unseen` or `volume`; three distances share the first.
        value: the distance, 0 or more; of `null_rate` and `unseen` a share with its sign, of `volume` a ratio.
        threshold: from where on it matters.
        p: how likely noise alone would do it.
        n: entities in the window.
        n_reference: entities in the reference.
    """

    name: str
    test: str
    value: float
    threshold: float
    p: float
    n: int
    n_reference: int

    @property
    def size(self) -> float:
        """How many times the threshold the change is; one that is less than it doesn't matter."""
        if self.name == "volume":
            return max(self.value, 1 / self.value if self.value else np.inf) / self.threshold
        return (self.value if self.name == "unseen" else abs(self.value)) / self.threshold

    @property
    def is_large(self) -> bool:
        """Whether the change matters, if it is one."""
        return self.size >= 1


@dataclass(frozen=True)
class Comparison:
    """A feature beside its reference.

    Attributes:
        measures: empty where a side has too few entities.
        bins: both distributions; None where they can't be compared.
        n: entities in the window that have a value.
        n_reference: entities in the reference that have one.
    """

    measures: tuple[Measure, ...]
    bins: Bins | None
    n: int
    n_reference: int


def compare(reference: Sample, current: Sample, thresholds: Thresholds) -> Comparison:
    """Return how far a window's values lie from a reference's.

    Args:
        reference: what the values were like.
        current: what they are like in the window.
        thresholds: from when on a change matters, and how many entities it takes to judge.
    """
    n_reference, n = reference.known.count, current.known.count
    measures = [*_nulls(reference, current, thresholds)]
    bins = None
    if min(n, n_reference) >= thresholds.entities:
        bins = cut(reference, current)
        if bins is not None:
            measures += _values(bins, n, n_reference, thresholds)
    return Comparison(tuple(measures), bins, n, n_reference)


def _values(bins: Bins, n: int, n_reference: int, limits: Thresholds) -> Iterator[Measure]:
    p = distances.chi_square(bins.reference, bins.current)
    if bins.positions is not None:  # the better of two tests, which costs a factor of two
        p = min(1.0, 2 * min(p, distances.rank_sum(bins.reference, bins.current)))
    found: dict[str, Any] = {
        "psi": distances.psi(bins.reference, bins.current),
        "jensen_shannon": distances.jensen_shannon(bins.reference, bins.current),
    }
    if bins.positions is not None and bins.spread > 0:
        found["wasserstein"] = distances.wasserstein(bins.positions, bins.reference, bins.current) / bins.spread
    for name, value in found.items():
        yield Measure(name, "values", value, getattr(limits, name), p, n, n_reference)
    if bins.positions is None:
        beyond = bins.unseen / n - bins.expected_unseen / n_reference
        p = distances.share(bins.unseen, n, bins.expected_unseen, n_reference)
        yield Measure("unseen", "unseen", beyond, limits.unseen, p, n, n_reference)


def _nulls(reference: Sample, current: Sample, limits: Thresholds) -> Iterator[Measure]:
    if not (reference.has_nulls and current.has_nulls):
        return
    counts = [current.count, reference.count]
    if min(counts) < limits.entities:
        return
    hits = [float(side.weights[side.is_missing].sum()) for side in (current, reference)]
    if not any(hits):
        return
    change = hits[0] / counts[0] - hits[1] / counts[1]
    p = distances.share(hits[0], counts[0], hits[1], counts[1])
    yield Measure("null_rate", "nulls", change, limits.null_rate, p, counts[0], counts[1])


def compare_volume(rows: int, entities: int, before: list[int], thresholds: Thresholds) -> tuple[Measure, ...]:
    """Return how a window's number of rows lies beside those of earlier windows.

    An entity's rows come together, so as many events are counted as there are entities in the window.

    Args:
        rows: in the window.
        entities: in the window.
        before: rows of earlier windows; two at least, or nothing is judged.
        thresholds: from when on a change matters, and how many entities it takes to judge.
    """
    mean = float(np.mean(before)) if before else 0.0
    each = rows / entities if entities else 1.0
    if len(before) < 2 or min(rows, mean) / each < thresholds.entities:
        return ()
    p = distances.rate(rows / each, mean * len(before) / each, len(before))
    n = round(mean * len(before) / each)
    return (Measure("volume", "volume", rows / mean, thresholds.volume, p, entities, n),)
