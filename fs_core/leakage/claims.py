"""Columns of the spine that carry a feature's name: claims, from a join made elsewhere, of what was known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.definitions import FeatureView
from fs_core.errors import SchemaError
from fs_core.leakage.differences import Flags, differing
from fs_core.leakage.entities import NEVER, EntityClock
from fs_core.leakage.label import CERTAIN
from fs_core.leakage.report import Finding, Severity
from fs_core.leakage.strength import Strength, can_be_ranked, strongest, targets
from fs_core.leakage.subject import Subject
from fs_core.retrieval.selection import SelectedFeature
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.values.casting import cast_lossless
from fs_core.values.times import MICROSECONDS

_ROUNDING = 1e-5
"""Relative difference that arithmetic in another order or width makes of one number."""
_MOSTLY = 0.5
"""The share of the differing rows that must hold a later value for it to be no chance."""


def check_claims(
    subject: Subject, view: FeatureView, claims: Mapping[str, pa.ChunkedArray], labels: Sequence[str]
) -> Iterator[Finding]:
    """Yield columns that aren't what the as-of rule gives.

    Args:
        subject: what is examined.
        view: whose features.
        claims: columns made elsewhere, by the feature's column in a result; as long as the spine.
        labels: the spine's columns of labels; perhaps none.
    """
    claimed = {f: _as_declared(claims[f.column], view, f) for f in subject.features(view) if f.column in claims}
    if claimed:
        later = _later_answers(subject, view)
        for feature, column in claimed.items():
            yield from _check_feature(subject, view, feature, column, later[feature.name], labels)


def _check_feature(
    subject: Subject,
    view: FeatureView,
    feature: SelectedFeature,
    claimed: pa.ChunkedArray,
    later: pa.ChunkedArray,
    labels: Sequence[str],
) -> Iterator[Finding]:
    known, times = (subject.answers(view)[name] for name in (feature.name, EVENT_TIME))
    other = _other(claimed, known)
    rows = np.flatnonzero(other)
    if not len(rows):
        return
    ahead = np.flatnonzero(other & claimed.is_valid().to_numpy() & ~_other(claimed, later))
    comparison = max((_comparison(claimed, known, subject.spine[name]) for name in labels), key=_gain, default=[])
    proven = len(ahead) >= _MOSTLY * len(rows) or (bool(comparison) and _is_wiser(*comparison))
    first = ahead if len(ahead) else rows
    measured: dict[str, float] = {"differ": len(rows), "rows": len(known), "hold what came next": len(ahead)}
    more = ""
    if comparison:
        measured |= {"claimed": comparison[0].value, "known": comparison[1].value}
        more = f" It predicts the label with {comparison[0].statistic} {comparison[0].value:.3f}, what was known with "
        more += f"{comparison[1].statistic} {comparison[1].value:.3f}."
    yield Finding(
        Severity.LEAK if proven else Severity.WARNING,
        "claims",
        view.ref,
        feature.column,
        f"the spine's own column differs from what was known in {len(rows):,} of {len(known):,} rows; in "
        f"{len(ahead):,} of them it holds what became known next.{more} Drop the column and let the store join it.",
        measured,
        subject.evidence(view, first, {"the claim": claimed, "known then": known, "event time": times}),
    )


def _comparison(claimed: pa.ChunkedArray, known: pa.ChunkedArray, label: pa.ChunkedArray) -> list[Strength]:
    """Return how well the claim and what was known predict the label; nothing where what was known has no ranks."""
    if not can_be_ranked(known.type):
        return []
    rows = pa.array(np.flatnonzero(label.is_valid().to_numpy()))
    asked = targets(label.take(rows))
    found = [strongest(column.take(rows), asked) for column in (claimed, known)]
    return [strength for strength in found if strength is not None] if all(found) else []


def _gain(comparison: list[Strength]) -> float:
    """Return how much better the claim predicts a label than what was known; without a comparison, less than any."""
    return comparison[0].strength - comparison[1].strength if comparison else -2.0


def _is_wiser(claimed: Strength, known: Strength) -> bool:
    """Return whether a claim knows more of the label than was known, and not by chance."""
    deviation = claimed.strength / claimed.deviations if claimed.deviations else 0.0
    return claimed.strength - known.strength > CERTAIN * deviation


def _later_answers(subject: Subject, view: FeatureView) -> pa.Table:
    """Return what the store answers once each entity's next fact has become known; the same where none does."""
    clock = EntityClock(view, subject.history(view), AVAILABLE_AT)
    _, after = clock.around(subject.keys(view), subject.micros)
    moments = pa.chunked_array([pa.array(subject.micros + np.where(after == NEVER, 0, after))]).cast(MICROSECONDS)
    return subject.ask(view, subject.keys(view), moments)


def _as_declared(column: pa.ChunkedArray, view: FeatureView, feature: SelectedFeature) -> pa.ChunkedArray:
    """Return a claim in the feature's type; numbers are rounded to it, other types must fit."""
    dtype = view.features[feature.name]
    try:
        return cast_lossless(column, dtype, f"the spine: column {feature.column!r}")
    except SchemaError:
        if not (pa.types.is_floating(column.type) and pa.types.is_floating(dtype)):
            raise
        return pc.cast(column, dtype, safe=False)


def _other(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Flags:
    """Return which rows differ by more than rounding."""
    found = differing(left, right)
    if not pa.types.is_floating(left.type) or not found.any():
        return found
    a, b = (pc.fill_null(c.cast(pa.float64()), np.nan).to_numpy() for c in (left, right))
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= _ROUNDING * np.maximum(np.abs(a), np.abs(b))
    return np.asarray(found & ~near)
