"""How far two distributions over the same bins lie apart, and how likely noise alone would do that: SciPy's answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import chdtrc, rel_entr

Floats = np.ndarray[Any, np.dtype[np.float64]]

_EXPECTED = 5.0  # entities that a bin should hold for the chi-square distribution to fit


def psi(reference: Floats, current: Floats) -> float:
    """Return the population stability index of two counts: the sum of (p - q) ln(p / q).

    Half an entity is added to each bin, since an empty one would make it infinite.
    """
    p, q = ((side + 0.5) / (side.sum() + 0.5 * len(side)) for side in (reference, current))
    return float((rel_entr(p, q) + rel_entr(q, p)).sum())


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Return the Jensen-Shannon distance of two counts, from 0 to 1: the root of the divergence in bits."""
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = float((rel_entr(p, middle) + rel_entr(q, middle)).sum()) / 2
    return float(np.sqrt(max(divergence, 0.0) / np.log(2)))  # SciPy's own is NaN where rounding takes it below zero


def wasserstein(positions: Floats, reference: Floats, current: Floats) -> float:
    """Return how far the mass of a distribution must be moved on average to make it the other.

    Args:
        positions: where the bins lie.
        reference: counts in each.
        current: counts in each.
    """
    return float(stats.wasserstein_distance(positions, positions, reference, current))


def chi_square(reference: Floats, current: Floats) -> float:
    """Return the probability of counts at least so different if one distribution made both.

    Bins in which a side expects fewer than 5 are put together.
    """
    table = _pooled(np.stack([reference, current]))
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(chdtrc(table.shape[1] - 1, ((table - expected) ** 2 / expected).sum()))


def rank_sum(reference: Floats, current: Floats) -> float:
    """Return the probability of mean ranks at least so different if one distribution made both (Wilcoxon 1945).

    It sees a shift of numbers sooner than `chi_square`, which has to look in every direction.

    Args:
        reference: counts in bins, the least values first.
        current: counts in the same bins.
    """
    both = reference + current
    ranks = np.cumsum(both) - both / 2
    n, others = reference.sum(), current.sum()
    mean = float(ranks @ both / both.sum())
    variance = float((ranks - mean) ** 2 @ both / both.sum())
    if variance == 0:
        return 1.0
    apart = float(ranks @ current / others - ranks @ reference / n)
    return float(2 * stats.norm.sf(abs(apart) / np.sqrt(variance * (1 / n + 1 / others))))


def _pooled(table: Floats) -> Floats:
    table = table[:, table.sum(axis=0) > 0]
    smaller = table.sum(axis=1).min() / table.sum()
    rare = table.sum(axis=0) * smaller < _EXPECTED
    kept, pool = table[:, ~rare], table[:, rare].sum(axis=1)
    if not rare.any() or pool.sum() * smaller >= _EXPECTED:
        return np.column_stack([kept, pool]) if rare.any() else kept
    if kept.shape[1]:
        kept[:, np.argmin(kept.sum(axis=0))] += pool
    return kept


def share(hits: float, count: int, other_hits: float, other_count: int) -> float:
    """Return the probability of two shares at least so different if both were one (Fisher's exact test).

    Args:
        hits: how many of the first; parts are rounded.
        count: of how many.
        other_hits: how many of the second.
        other_count: of how many.
    """
    rows = [[min(round(h), n), n - min(round(h), n)] for h, n in ((hits, count), (other_hits, other_count))]
    return float(stats.fisher_exact(rows).pvalue)


def rate(events: float, other_events: float, times: float) -> float:
    """Return the probability of two numbers of events at least so different at one rate.

    Args:
        events: how many; parts are rounded.
        other_events: how many there were in so many times the time.
        times: that number.
    """
    total = round(events) + round(other_events)
    return 1.0 if not total else float(stats.binomtest(round(events), total, 1 / (1 + times)).pvalue)


def discoveries(p: Floats) -> Floats:
    """Return probabilities adjusted for how many there are (Benjamini and Hochberg 1995)."""
    return np.asarray(stats.false_discovery_control(p), np.float64) if len(p) else p
