"""What other monitors alarm about by their documented rules, on the same samples.

Evidently's defaults, as its documentation says under "Data drift algorithm" (docs.evidentlyai.com): up to 1,000 rows of
reference Kolmogorov and Smirnov's test of numbers, chi-square of categories, a z-test of two values, each below 0.05;
beyond, the Wasserstein distance over the reference's deviation, and Jensen and Shannon's, each from 0.1 on. A number
with at most five values is a category. Nulls are left out. A data set drifts if half of its columns do.

Hopsworks compares a statistic that somebody names with a threshold that somebody sets (docs.hopsworks.ai, "Statistics
comparison"): there is no default. Taken here is the mean of numbers, moved by a fifth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats
from scipy.spatial.distance import jensenshannon

from fs_core.monitoring.drift.bins import Sample, is_number

Floats = np.ndarray[Any, np.dtype[np.float64]]

_SMALL = 1000  # rows of reference up to which there is a test
_P, _DISTANCE, _MOVED = 0.05, 0.1, 0.2
_FEW = 5  # values of a number that is a category


def evidently(reference: Sample, current: Sample) -> bool:
    """Return whether a column drifts by Evidently's defaults."""
    before, now = (side.values.drop_null() for side in (reference, current))
    if is_number(before.type) and pc.count_distinct(before).as_py() > _FEW:
        return _numbers(*(np.asarray(pc.cast(side, pa.float64()).to_numpy()) for side in (before, now)))
    both = pa.chunked_array([*before.cast(pa.string()).chunks, *now.cast(pa.string()).chunks])
    codes = both.combine_chunks().dictionary_encode().indices.to_numpy()
    sizes = int(codes.max()) + 1
    return _categories(*(np.bincount(part, minlength=sizes) for part in (codes[: len(before)], codes[len(before) :])))


def _numbers(before: Floats, now: Floats) -> bool:
    if len(before) <= _SMALL:
        return bool(stats.ks_2samp(before, now).pvalue < _P)
    return bool(stats.wasserstein_distance(before, now) / max(np.std(before), 1e-3) >= _DISTANCE)


def _categories(before: Any, now: Any) -> bool:
    if before.sum() > _SMALL:
        return bool(jensenshannon(before, now) >= _DISTANCE)
    if len(before) <= 2:
        return bool(_two_shares(before, now) < _P)
    expected = before / before.sum() * now.sum()
    seen = expected > 0
    expected = expected[seen] * now[seen].sum() / expected[seen].sum()
    return bool(now[~seen].sum() > 0 or stats.chisquare(now[seen], expected).pvalue < _P)


def _two_shares(before: Any, now: Any) -> float:
    n, m = before.sum(), now.sum()
    share = (before[0] + now[0]) / (n + m)
    spread = np.sqrt(share * (1 - share) * (1 / n + 1 / m))
    return 1.0 if spread == 0 else float(2 * stats.norm.sf(abs(before[0] / n - now[0] / m) / spread))


def hopsworks(reference: Sample, current: Sample) -> bool:
    """Return whether the mean of a number moved by a fifth."""
    if not is_number(reference.values.type):
        return False
    before, now = (float(pc.mean(side.values).as_py()) for side in (reference, current))
    return abs(now - before) >= _MOVED * abs(before)
