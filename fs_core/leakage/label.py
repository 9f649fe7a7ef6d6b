"""Features that know a label too well, and facts that follow it too closely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.leakage.entities import EntityClock
from fs_core.leakage.report import Finding, Severity
from fs_core.leakage.strength import Strength, can_be_ranked, strongest, targets
from fs_core.leakage.subject import Rows, Subject
from fs_core.offline.search.engine import Micros
from fs_core.retrieval.selection import SelectedFeature
from fs_core.rule import EVENT_TIME
from fs_core.values.times import MICROSECONDS, format_duration

SUSPICIOUS = 0.9
"""The strength (see `fs_core.leakage.strength`) from which one feature alone is too good: an AUC of 0.95."""
CERTAIN = 5.0
"""Standard deviations from chance that a finding takes, since many features are looked at."""
_NEAR = 100
"""Right after is within a hundredth of the usual time between two facts of an entity."""
_SHARE = 0.05
"""Of the spine's rows, how many a fact must follow right away for it to matter."""


def check_label(subject: Subject, view: FeatureView, name: str) -> Iterator[Finding]:
    """Yield a view's features that predict a label suspiciously well.

    Args:
        subject: what is examined.
        view: whose features.
        name: the spine's column of the label; rows without one don't count.
    """
    label = subject.spine[name]
    labelled = pa.array(np.flatnonzero(label.is_valid().to_numpy()))
    asked = targets(label.take(labelled))
    for feature in subject.features(view):
        if not can_be_ranked(view.features[feature.name]):
            continue
        found = strongest(subject.answers(view)[feature.name].take(labelled), asked)
        if found is not None and is_suspicious(found):
            yield _too_good(subject, view, feature, found, name)


def is_suspicious(found: Strength) -> bool:
    """Return whether a strength is too good to be taken for granted, and no chance."""
    return found.strength >= SUSPICIOUS and found.deviations >= CERTAIN


def _too_good(subject: Subject, view: FeatureView, feature: SelectedFeature, found: Strength, name: str) -> Finding:
    label = subject.spine[name]
    answers = subject.answers(view)
    rows = np.flatnonzero(label.is_valid().to_numpy())
    shown = {"the feature": answers[feature.name], "event time": answers[EVENT_TIME], "the label": label}
    return Finding(
        Severity.WARNING,
        "label",
        view.ref,
        feature.column,
        f"it alone predicts the label {name!r} with {found.statistic} {found.value:.3f}. Make sure that it is no "
        "consequence of what the label says, and that its event and availability times are when it was really known.",
        {found.statistic: found.value, "rows": found.rows, "deviations from chance": found.deviations},
        subject.evidence(view, rows, shown),
    )


def check_crowding(subject: Subject, view: FeatureView, labels: Sequence[str]) -> Iterator[Finding]:
    """Yield a finding if a view's facts happen right after the labelled moments, as consequences do.

    Where facts don't know of the labels, an entity's next fact is as likely to come within a given time after a
    moment as its last one is to lie within it before. The rule keeps such facts out of these very rows; but a
    moment recorded a little late, or a clock a little off, lets them in.

    Args:
        subject: what is examined.
        view: whose facts.
        labels: the spine's columns of labels; rows without any are left out.
    """
    labelled = np.logical_or.reduce([subject.spine[name].is_valid().to_numpy() for name in labels])
    clock = EntityClock(view, subject.history(view), EVENT_TIME)
    near = max(1, clock.spacing() // _NEAR or clock.span() // _NEAR // 10)
    before, after = clock.around(subject.keys(view), subject.micros)
    rows = np.flatnonzero(labelled & (after <= near))
    earlier = int((labelled & (before <= near)).sum())
    measured = {
        "after": len(rows),
        "before": earlier,
        "labelled": int(labelled.sum()),
        "within, seconds": near / 10**6,
    }
    by_chance = CERTAIN * np.sqrt(max(1, len(rows) + earlier))
    if len(rows) - earlier >= by_chance and len(rows) >= _SHARE * measured["labelled"]:
        yield _crowded(subject, view, rows, after[rows], measured)


def _crowded(subject: Subject, view: FeatureView, rows: Rows, after: Micros, measured: dict[str, Any]) -> Finding:
    times = pa.chunked_array([pa.array(subject.micros[rows] + after)]).cast(MICROSECONDS)
    window = format_duration(timedelta(seconds=measured["within, seconds"]))
    return Finding(
        Severity.WARNING,
        "crowding",
        view.ref,
        None,
        f"in {measured['after']:,} of {measured['labelled']:,} rows a fact happens within {window} after the label's "
        f"moment, in {measured['before']:,} within as long before it. Such facts look like consequences of what the "
        "label says: make sure that the spine's times are those at which you will predict, or look back with a lag.",
        measured,
        subject.evidence(view, rows, {"next event time": times}),
    )
