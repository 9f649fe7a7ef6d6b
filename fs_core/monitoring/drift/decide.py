"""What to alarm about: changes that are large, more than noise among all that was looked at, and there twice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fs_core.monitoring.drift.compare import Measure
from fs_core.monitoring.drift.distances import discoveries

Subject = tuple[str, str]
"""A feature, and against what it was compared."""
Key = tuple[str, str, str]
"""A feature, against what, and the measure."""

Test = tuple[str, str, str]
"""A feature, against what, and what the probability is of."""

_SHARES = ("null_rate", "unseen")
_PART = 0.5  # of the threshold that a change of a share must have in each of two windows: there, chance hides many
_ODD, _ODD_SHARE = 0.05, 0.1  # how likely noise must be less than to do so in each of them, by itself
_KINDS = ("nulls", "unseen")  # tests that few features have; all others are one kind


@dataclass(frozen=True)
class Judged:
    """A measure and what it means.

    Attributes:
        now: of the window.
        before: of the window before; None where that couldn't be judged.
        both: of both windows together; None where one couldn't be judged.
        p: its probability, adjusted for how many tests there are; 1 where one is missing.
        is_alarm: whether it is one to act on.
    """

    now: Measure
    before: Measure | None
    both: Measure | None
    p: float
    is_alarm: bool


def decide(
    now: Mapping[Key, Measure], before: Mapping[Key, Measure], both: Mapping[Key, Measure], false_discoveries: float
) -> dict[Key, Judged]:
    """Return what each measure of a window means, given those of the window before, and of both together.

    Both windows together say whether a change matters and whether it is noise: they have twice the entities, or the
    same ones, which count once. That it was there twice, each of them has to show by itself: it is as large in each
    (of shares half as large, and to the same side), and noise would seldom make it. Of noise alone, at most
    `false_discoveries` of all reports alarm, whatever the number of features.

    Args:
        now: the window's measures.
        before: those of the window before.
        both: those of both; what is missing is as the weaker of the two.
        false_discoveries: the share of false alarms among alarms, at most.
    """
    together = {key: both.get(key) or _weaker(m, before[key]) for key, m in now.items() if key in before}
    adjusted = _adjusted({(feature, against, m.test): m.p for (feature, against, _), m in together.items()})
    judged = {}
    for key, measure in now.items():
        whole = together.get(key)
        if whole is None:
            judged[key] = Judged(measure, None, None, 1.0, is_alarm=False)
            continue
        p = adjusted[key[0], key[1], whole.test]
        twice = all(_shows(one, whole) for one in (measure, before[key]))
        judged[key] = Judged(measure, before[key], whole, p, whole.is_large and twice and p <= false_discoveries)
    return judged


def _adjusted(tests: Mapping[Test, float]) -> dict[Test, float]:
    """Return probabilities adjusted for how many tests of their kind there are, and for how many kinds.

    Few features have nulls or categories, and theirs needn't stand out among the values of all. As each kind has its
    part of the false discoveries, all kinds together have no more than before.
    """
    kinds = defaultdict[str, dict[Test, float]](dict)
    for test, p in tests.items():
        kinds[test[2] if test[2] in _KINDS else ""][test] = p
    adjusted: dict[Test, float] = {}
    for found in kinds.values():
        within = np.minimum(1.0, len(kinds) * discoveries(np.array(list(found.values()))))
        adjusted |= dict(zip(found, within.tolist(), strict=True))
    return adjusted


def _shows(one: Measure, whole: Measure) -> bool:
    """Return whether a window by itself shows the change that both together have."""
    if one.name in _SHARES:
        same_side = math.copysign(1, one.value) == math.copysign(1, whole.value)
        return same_side and one.size >= _PART and one.p < _ODD_SHARE
    return one.size >= 1 and one.p <= _ODD


def _weaker(now: Measure, before: Measure) -> Measure:
    """Return the smaller change with the larger probability, which is one too: it needs no independence."""
    return replace(min(now, before, key=lambda one: one.size), p=max(now.p, before.p))
