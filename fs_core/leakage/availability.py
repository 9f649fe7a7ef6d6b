"""What views say of when a fact was known, beside what their history has measured.

A row that was pushed carries a measured delay. A row that was loaded carries what the view declares: a column, a
lag, or, where nothing is declared, the fiction that it was known the moment it happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pyarrow as pa

from fs_core.definitions import SQL, FeatureView, Source
from fs_core.leakage.report import EVIDENCE_ROWS, Finding, Severity
from fs_core.leakage.subject import Rows, Subject
from fs_core.offline.search.engine import Flags, Micros, numbers
from fs_core.rule import AVAILABLE_AT, EVENT_TIME
from fs_core.values.times import format_duration

_ENOUGH = 5
"""Measured delays from which a typical one is known."""


def check_availability(subject: Subject, view: FeatureView) -> Iterator[Finding]:
    """Yield a finding if a view doesn't say when its facts are known, or says it too early."""
    if view.available_at is not None:
        return
    history = subject.history(view)
    delay = numbers(history[AVAILABLE_AT]) - numbers(history[EVENT_TIME])
    measured = delay > view.lag_micros
    contradicted = list(_contradicted(subject, view, history, delay, measured))
    yield from contradicted
    if not contradicted and view.lag_micros == 0 and not measured.all():
        yield _undeclared(subject, view, int((~measured).sum()), len(history))


def _undeclared(subject: Subject, view: FeatureView, assumed: int, written: int) -> Finding:
    age = _age_of_winners(subject, view)
    youngest = np.argsort(age, kind="stable")[: int((age < _NEVER).sum())]
    times = subject.answers(view)[EVENT_TIME]
    return Finding(
        Severity.NOTICE,
        "availability",
        view.ref,
        None,
        f"{assumed:,} of {written:,} rows {_origin(view)}count as known the moment they happened, by assumption: "
        "the view declares neither available_at nor lag. Declare one, or make sure that the event time is the moment "
        "from which the fact could be used.",
        {"assumed": assumed, "written": written, "youngest used, seconds": _seconds(age[youngest[:1]])},
        subject.evidence(view, youngest, {"event time": times}),
    )


def _contradicted(
    subject: Subject, view: FeatureView, history: pa.Table, delay: Micros, measured: Flags
) -> Iterator[Finding]:
    """Yield a finding if facts that were pushed took longer than the view takes for granted of the others."""
    if measured.sum() < _ENOUGH or measured.all():
        return
    median, late = (int(np.quantile(delay[measured], q, method="higher")) for q in (0.5, 0.95))
    young = np.flatnonzero(_age_of_winners(subject, view) < late)
    too_early = _that_were_assumed(subject, view, history.filter(pa.array(~measured)), young)
    lag = timedelta(microseconds=late)
    numbers_ = {
        "measured": int(measured.sum()),
        "assumed": int((~measured).sum()),
        "median delay, seconds": median / 10**6,
        "95th percentile, seconds": late / 10**6,
        "answers too early": len(too_early),
    }
    yield Finding(
        Severity.WARNING if len(too_early) else Severity.NOTICE,
        "availability",
        view.ref,
        None,
        f"{numbers_['assumed']:,} rows count as known {format_duration(timedelta(microseconds=view.lag_micros))} after "
        f"their event, but {numbers_['measured']:,} pushes took {format_duration(_rounded(median))} at the median and "
        f"{format_duration(_rounded(late))} at the 95th percentile; {len(too_early):,} of {len(subject.spine):,} rows "
        f"of the spine use a fact younger than that. Declare lag={format_duration(_rounded(late))!r} or available_at.",
        numbers_,
        _slowest(view, history, delay) if not len(too_early) else _early(subject, view, too_early, lag),
    )


def _age_of_winners(subject: Subject, view: FeatureView) -> Micros:
    """Return how long before each row's moment its winner happened, `_NEVER` where there is none."""
    times = subject.answers(view)[EVENT_TIME]
    age = subject.micros - numbers(times)
    return np.where(times.is_valid().to_numpy(), age, _NEVER)


_NEVER = np.iinfo(np.int64).max


def _that_were_assumed(subject: Subject, view: FeatureView, assumed: pa.Table, rows: Rows) -> Rows:
    """Return those of some rows of the spine whose winners are facts without a measured delay."""
    times = subject.answers(view)[EVENT_TIME]
    winners = subject.keys(view).append_column(EVENT_TIME, times).take(pa.array(rows))
    numbered = winners.append_column("the row", pa.array(rows))
    keys = [*view.keys, EVENT_TIME]
    kept = numbered.join(assumed.select(keys), keys, join_type="left semi")["the row"]
    return np.sort(kept.to_numpy())


def _early(subject: Subject, view: FeatureView, rows: Rows, lag: timedelta) -> pa.Table:
    import pyarrow.compute as pc

    times = subject.answers(view)[EVENT_TIME]
    return subject.evidence(view, rows, {"event time": times, "known by": pc.add(times, pa.scalar(lag))})


def _slowest(view: FeatureView, history: pa.Table, delay: Micros) -> pa.Table:
    rows = pa.array(np.argsort(-delay, kind="stable")[:EVIDENCE_ROWS])
    shown = history.select([*view.keys, EVENT_TIME, AVAILABLE_AT]).take(rows)
    return shown.rename_columns([*view.keys, "event time", "known by"])


def _rounded(micros: int) -> timedelta:
    """Return a duration rounded up to three digits or so, which is how precisely delays are known."""
    for step in (60_000_000, 1_000_000, 1_000):
        if micros >= 100 * step:
            return timedelta(microseconds=-(-micros // step) * step)
    return timedelta(microseconds=micros)


def _origin(view: FeatureView) -> str:
    if isinstance(view.source, Source):
        return f"from source {view.source.name!r} "
    return "from the view's SQL " if isinstance(view.source, SQL) else ""


def _seconds(micros: Micros) -> float | None:
    return float(micros[0]) / 10**6 if len(micros) else None
