"""Exact questions about a window: does it keep to what the view declares?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fs_core.monitoring.drift.bins import Sample
from fs_core.monitoring.drift.windows import DELAY, ROWS, Span, Windows
from fs_core.monitoring.monitor_report import Finding
from fs_core.offline.validation.violations import check_violations, field_violations
from fs_core.rule import is_expired
from fs_core.values.dtypes import canonical, plain_type
from fs_core.values.times import from_micros

if TYPE_CHECKING:
    from fs_core.definitions import FeatureView


def check_contract(
    windows: Windows, span: Span, before: Sequence[Span], reference: Mapping[str, Sample]
) -> Iterator[Finding]:
    """Yield how a window breaks what the view declares; nothing here is a matter of chance.

    Args:
        windows: the view's history.
        span: the window.
        before: the same weekdays before.
        reference: the features of a training set; empty without one.
    """
    view = windows.view
    yield from _schema(view, reference)
    rows = windows.rows(span)
    columns = {name: rows[name] for name in view.stored}
    for field in view.fields:
        for problem in field_violations(field, columns[field.name]):
            yield Finding("contract", field.name, "values", f"{problem}, counted from the window's first")
        rate = columns[field.name].null_count / max(1, len(rows))
        if field.max_null_rate is not None and rate > field.max_null_rate:
            reason = f"{rate:.2%} of rows are null, {field.max_null_rate:.2%} may be"
            yield Finding("contract", field.name, "null_rate", reason, value=rate, threshold=field.max_null_rate)
    for problem in check_violations(view, {name: rows[name] for name in rows.column_names}):
        yield Finding("contract", ROWS, "checks", f"{problem}, counted from the window's first")
    filled = sum(len(windows.rows(other)) > 0 for other in before)
    if not len(rows) and len(before) > 1 and 2 * filled > len(before):
        yield Finding("contract", ROWS, "volume", f"no row; {filled} of {len(before)} such windows before had some")
    yield from _times(windows, span)


def _schema(view: FeatureView, reference: Mapping[str, Sample]) -> Iterator[Finding]:
    for name, sample in reference.items():
        trained, declared = (canonical(plain_type(t)) for t in (sample.values.type, view.features[name]))
        if trained != declared:
            reason = f"the training set has it as {trained}, {view.ref} as {declared}"
            yield Finding("contract", name, "schema", reason, "training set")


def _times(windows: Windows, span: Span) -> Iterator[Finding]:
    ttl, newest = windows.view.ttl_micros, windows.newest_event(span[1])
    if ttl is None or newest is None:
        return
    if is_expired(np.array([newest]), span[1], ttl)[0]:
        reason = f"every row has expired: the newest event is of {from_micros(newest):%Y-%m-%d %H:%M:%S} UTC"
        yield Finding("contract", ROWS, "freshness", reason)
    delays = windows.delays(span)
    late = int(np.count_nonzero(is_expired(-delays, 0, ttl)))
    if 2 * late > len(delays):
        yield Finding("contract", DELAY, "delay", f"{late:,} of {len(delays):,} rows had expired when they came")
