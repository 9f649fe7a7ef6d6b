"""What to alarm about: changes that are large, more than noise among all that was looked at, and there twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fs_core.monitoring.drift.compare import Measure
from fs_core.monitoring.drift.distances import discoveries

Subject = tuple[str, str]
"""A feature, and against what it was compared."""
Key = tuple[str, str, str]
"""A feature, against what, and the measure."""


@dataclass(frozen=True)
class Judged:
    """A measure and what it means.

    Attributes:
        now: of the window.
        before: of the window before; None where that couldn't be judged.
        p: the larger of both probabilities, adjusted for how many tests there are; 1 where one is missing.
        is_alarm: whether it is one to act on.
    """

    now: Measure
    before: Measure | None
    p: float
    is_alarm: bool


def decide(now: Mapping[Key, Measure], before: Mapping[Key, Measure], false_discoveries: float) -> dict[Key, Judged]:
    """Return what each measure of a window means, given those of the window before.

    The larger probability of two windows is one too: it needs no independence. Of noise alone, at most
    `false_discoveries` of all reports alarm, whatever the number of features.

    Args:
        now: the window's measures.
        before: those of the window before.
        false_discoveries: the share of false alarms among alarms, at most.
    """
    tests = {
        (feature, against, m.test): max(m.p, before[feature, against, name].p)
        for (feature, against, name), m in now.items()
        if (feature, against, name) in before
    }
    adjusted = dict(zip(tests, discoveries(np.array(list(tests.values()))).tolist(), strict=True))
    judged = {}
    for key, measure in now.items():
        earlier = before.get(key)
        p = adjusted[key[0], key[1], measure.test] if earlier else 1.0
        alarm = earlier is not None and measure.is_large and earlier.is_large and p <= false_discoveries
        judged[key] = Judged(measure, earlier, p, alarm)
    return judged
