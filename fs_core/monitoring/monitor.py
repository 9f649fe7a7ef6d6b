"""A window of a view held against its declaration, against a training set, and against the same weekdays before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.monitoring.drift.bins import Bins, Sample
from fs_core.monitoring.drift.compare import Measure, Thresholds, compare, compare_volume
from fs_core.monitoring.drift.decide import Judged, Key, Subject, decide
from fs_core.monitoring.drift.reference import samples_of
from fs_core.monitoring.drift.windows import ROWS, Span, Windows, weekdays_before
from fs_core.monitoring.monitor_contract import check_contract
from fs_core.monitoring.monitor_page import MonitorReport
from fs_core.monitoring.monitor_report import Finding, moments, ranked
from fs_core.values.times import from_micros

if TYPE_CHECKING:
    from fs_core.training_set import TrainingSet

WEEKS = 4
"""How many windows on the same weekdays a window is compared with, at most."""
BACKTESTED = 100
"""How many windows of history a backtest looks at, at most."""

TRAINING_SET, WEEKDAYS = "training set", "weekdays"


@dataclass(frozen=True)
class _Look:
    """What was measured in one window."""

    span: Span
    measures: dict[Key, Measure] = field(default_factory=dict)
    bins: dict[Subject, Bins] = field(default_factory=dict)
    too_few: dict[str, tuple[int, int]] = field(default_factory=dict)


def monitor(
    windows: Windows,
    training_set: TrainingSet | None,
    *,
    window: int,
    at: int,
    skew: Iterable[Finding],
    thresholds: Thresholds,
    backtest: bool,
    importance: Mapping[str, float],
) -> MonitorReport:
    """Return what there is to act on in the window that ends at a moment; see `FeatureStore.monitor`.

    Args:
        windows: the view's history.
        training_set: the reference, if there is one.
        window: its length, microseconds.
        at: where it ends.
        skew: what a replay found in it.
        thresholds: from when on a change matters.
        backtest: whether to look at all of history.
        importance: how much a model heeds features; what it heeds most comes first.
    """
    reference = {} if training_set is None else samples_of(windows.view, training_set)
    first = at if windows.first is None else windows.first
    count = min(BACKTESTED, (at - first + 1) // window) if backtest else 0
    limit = thresholds.false_discoveries
    spans = [(at - (number + 1) * window, at - number * window) for number in range(max(2, count))]
    looks = [_look(windows, span, reference, thresholds) for span in spans]
    judged = [
        decide(now.measures, before.measures, _both(windows, now, before, reference, thresholds), limit)
        for now, before in zip(looks, [*looks[1:], _Look(spans[-1])], strict=True)
    ]
    span, now = spans[0], looks[0]
    contract = check_contract(windows, span, weekdays_before(span, WEEKS, first), reference)
    return MonitorReport(
        view=windows.view.ref,
        window=moments(span),
        rows=len(windows.rows(span)),
        entities=windows.entities(span),
        found=ranked([*contract, *skew, *_alarms(judged[0], now.bins)], importance),
        measures=_measures(judged[0]),
        series=_series(looks),
        backtest=_fired(judged) if backtest else None,
        not_judged=list(_not_judged(now, thresholds)),
        bins=now.bins,
    )


def _look(windows: Windows, span: Span, reference: Mapping[str, Sample], thresholds: Thresholds) -> _Look:
    look = _Look(span)
    before = _weekdays(windows, span)
    _compare(look, windows, [span], before, reference, thresholds)
    counts = [len(windows.rows(other)) for other in before]
    volume = compare_volume(len(windows.rows(span)), windows.entities(span), counts, thresholds)
    look.measures.update({(ROWS, WEEKDAYS, m.name): m for m in volume})
    return look


def _weekdays(windows: Windows, span: Span) -> list[Span]:
    return weekdays_before(span, WEEKS, span[1] if windows.first is None else windows.first)


def _both(
    windows: Windows, now: _Look, before: _Look, reference: Mapping[str, Sample], thresholds: Thresholds
) -> Mapping[Key, Measure]:
    """Return what is measured in two windows together; an entity that is in both counts once, as everywhere."""
    if not before.measures:
        return {}
    look, spans = _Look(now.span), [before.span, now.span]
    weekdays = dict.fromkeys(other for span in spans for other in _weekdays(windows, span))
    _compare(look, windows, spans, [span for span in weekdays if span not in spans], reference, thresholds)
    return look.measures


def _compare(
    look: _Look,
    windows: Windows,
    spans: Sequence[Span],
    weekdays: Sequence[Span],
    reference: Mapping[str, Sample],
    thresholds: Thresholds,
) -> None:
    """Add how windows lie beside a training set, and beside earlier ones, to what was seen.

    Args:
        look: gets it.
        windows: the view's history.
        spans: the windows.
        weekdays: the earlier ones.
        reference: the training set's features; empty without one.
        thresholds: from when on a change matters.
    """
    current = windows.samples(spans)
    against = {TRAINING_SET: reference, WEEKDAYS: windows.samples(weekdays) if weekdays else {}}
    for name, side in against.items():
        for feature in [feature for feature in current if feature in side]:
            found = compare(side[feature], current[feature], thresholds)
            look.measures.update({(feature, name, m.name): m for m in found.measures})
            if found.bins is not None:
                look.bins[feature, name] = found.bins
            if min(found.n, found.n_reference) < thresholds.entities:
                look.too_few[f"{feature} against {name}"] = (found.n, found.n_reference)


def _alarms(judged: Mapping[Key, Judged], bins: Mapping[Subject, Bins]) -> list[Finding]:
    """Return one finding for each feature and test that alarms, by the measure that shows it most."""
    largest: dict[tuple[str, str, str], tuple[float, Key]] = {}
    for key, found in judged.items():
        if found.is_alarm:
            test, size = (key[0], key[1], found.now.test), found.now.size
            largest[test] = max(largest.get(test, (0.0, key)), (size, key))
    ranked = sorted(largest.values(), key=lambda item: -item[0])
    return [_finding(key, judged[key], bins.get(key[:2])) for _, key in ranked]


def _finding(key: Key, found: Judged, bins: Bins | None) -> Finding:
    feature, against, measure = key
    now, before = found.now, found.before
    return Finding(
        "drift",
        feature,
        measure,
        f"{_said(now, bins)} ({against}); {_number(now)} where {now.threshold:g} matters, "
        f"{'unknown' if before is None else _number(before)} the window before; {now.n:,} entities",
        against,
        now.value,
        None if before is None else before.value,
        now.threshold,
        found.p,
        now.n,
        now.n_reference,
    )


def _number(measure: Measure) -> str:
    return f"{measure.name} {measure.value:.3g}"


def _said(measure: Measure, bins: Bins | None) -> str:
    """Return a change in words."""
    if measure.name == "volume":
        return f"{measure.value:.2f} times as many rows as usual"
    if measure.name == "null_rate":
        return f"the share of nulls {'rose' if measure.value > 0 else 'fell'} by {abs(measure.value):.1%}"
    if bins is None:
        return "values are distributed otherwise"
    if measure.name == "unseen":
        return f"{bins.unseen / measure.n:.1%} have values never seen before, as {', '.join(map(repr, bins.new))}"
    shares = [side / side.sum() for side in (bins.reference, bins.current)]
    most = int(np.argmax(np.abs(shares[1] - shares[0])))
    return f"{shares[1][most]:.1%} are {bins.labels[most]}, were {shares[0][most]:.1%}"


def _not_judged(look: _Look, thresholds: Thresholds) -> Iterator[str]:
    for what, (n, n_reference) in look.too_few.items():
        yield f"{what}: {n:,} and {n_reference:,} entities with a value, each side needs {thresholds.entities:g}"
    if not any(against == WEEKDAYS for _, against, _ in look.measures):
        yield f"against {WEEKDAYS}: history before is too short or too thin"


def _measures(judged: Mapping[Key, Judged]) -> pa.Table:
    names = ("value", "threshold", "n", "n_reference")
    rows = [
        {
            **dict(zip(("feature", "against", "measure"), key, strict=True)),
            **{name: getattr(found.now, name) for name in names},
            "before": None if found.before is None else found.before.value,
            "p": found.p,
            "alarm": found.is_alarm,
        }
        for key, found in judged.items()
    ]
    schema = [
        *((name, pa.string()) for name in ("feature", "against", "measure")),
        *((name, pa.float64()) for name in ("value", "before", "threshold", "p")),
        *(("n", pa.int64()), ("n_reference", pa.int64()), ("alarm", pa.bool_())),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def _series(looks: Sequence[_Look]) -> pa.Table:
    rows: Iterable[Mapping[str, Any]] = [
        {"end": from_micros(look.span[1]), "feature": key[0], "against": key[1], "measure": key[2], "value": m.value}
        for look in reversed(looks)
        for key, m in look.measures.items()
    ]
    names = [(name, pa.string()) for name in ("feature", "against", "measure")]
    schema = pa.schema([("end", pa.timestamp("us", "UTC")), *names, ("value", pa.float64())])
    return pa.Table.from_pylist(rows, schema=schema)


def _fired(judged: Sequence[Mapping[Key, Judged]]) -> pa.Table:
    rows = []
    for key in dict.fromkeys(key for window in judged for key in window):
        found = [window[key] for window in judged if key in window]
        rows.append(
            {
                **dict(zip(("feature", "against", "measure"), key, strict=True)),
                "threshold": found[0].now.threshold,
                "windows": len(found),
                "large": sum(one.now.is_large for one in found),
                "alarms": sum(one.is_alarm for one in found),
                "below_95": float(np.quantile([abs(one.now.value) for one in found], 0.95)),
            }
        )
    schema = [
        *((name, pa.string()) for name in ("feature", "against", "measure")),
        ("threshold", pa.float64()),
        *((name, pa.int64()) for name in ("windows", "large", "alarms")),
        ("below_95", pa.float64()),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))
