"""What to alarm about: changes that are large, more than noise among all that was looked at, and there twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fs_core.monitoring.drift.compare import Measure
from fs_core.monitoring.drift.distances import discoveries

Subject = tuple[str, str]
"""A feature, and against what it was compared."""
Key = tuple[str, str, str]
"""A feature, against what, and the measure."""

_SHARES = ("null_rate", "unseen")
_PART = 0.5  # of the threshold that a change of a share must have in each of two windows: there, chance hides many
_ODD = 0.05  # how likely noise may at most do so in each of them, by itself


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
    tests = {(feature, against, m.test): m.p for (feature, against, _), m in together.items()}
    adjusted = dict(zip(tests, discoveries(np.array(list(tests.values()))).tolist(), strict=True))
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


def _shows(one: Measure, whole: Measure) -> bool:
    """Return whether a window by itself shows the change that both together have."""
    same_side = one.name not in _SHARES or math.copysign(1, one.value) == math.copysign(1, whole.value)
    return same_side and one.size >= (_PART if one.name in _SHARES else 1) and one.p <= _ODD


def _weaker(now: Measure, before: Measure) -> Measure:
    """Return the smaller change with the larger probability, which is one too: it needs no independence."""
    return replace(min(now, before, key=lambda one: one.size), p=max(now.p, before.p))
