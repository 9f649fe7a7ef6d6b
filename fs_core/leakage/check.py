"""The whole check, one look after the other, on the same rows and the same states of history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.errors import DataError, SchemaError
from fs_core.leakage.availability import check_availability
from fs_core.leakage.claims import check_claims
from fs_core.leakage.label import check_crowding, check_label
from fs_core.leakage.report import Finding, LeakageReport
from fs_core.leakage.strength import can_be_ranked
from fs_core.leakage.subject import Subject
from fs_core.leakage.truncation import check_truncation, draw_moments
from fs_core.retrieval.query import Query
from fs_core.training_set import label_columns
from fs_core.values.interchange import require_columns, to_table
from fs_core.values.times import from_micros

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore


def check_leakage(
    offline: OfflineStore, spine: Any, query: Query, *, samples: int, rows: int, seed: int
) -> LeakageReport:
    """Look for leaks in what a query gives for a spine; see `FeatureStore.check_leakage`.

    Args:
        offline: the history that is asked.
        spine: keys, times, perhaps a label and features from elsewhere.
        query: what is asked of history.
        samples: how many moments to delete after, at most.
        rows: how many rows to look at, at most.
        seed: what the draws depend on.
    """
    for name, value in (("samples", samples), ("rows", rows)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DataError(f"{name}={value!r} is not a number; pass 1 or more.")
    table = to_table(spine, "the spine")
    labels = label_columns(query.label)
    require_columns([query.timestamp, *labels], table.column_names, "the spine")
    for name in labels:
        if not can_be_ranked(table[name].type):
            raise SchemaError(f"label {name!r} is {table[name].type}. A label is a number, a class or a flag.")
    table = _drawn(table.filter(table[query.timestamp].is_valid()), rows, seed)
    claims = {name: table[name] for name in query.selection.columns if name in table.column_names}
    rest = table.drop_columns(list(claims))
    subjects = [Subject(offline, replace(query, selection=part), rest) for part in query.selection.once_each()]
    moments = draw_moments(subjects[0], samples, seed)
    found = [finding for subject in subjects for finding in _findings(subject, moments, claims)]
    findings = sorted(found, key=lambda f: -f.severity.rank)  # a stable sort
    checked = {
        "features": list(query.selection.columns),
        "rows": len(table),
        "label": query.label,
        "moments": [from_micros(moment) for moment in moments.tolist()],
        "seed": seed,
        "claims": list(claims),
        "not ranked": [f.column for f in query.selection.features if not can_be_ranked(f.type)],
    }
    return LeakageReport(findings, checked)


def _findings(subject: Subject, moments: Any, claims: Mapping[str, pa.ChunkedArray]) -> Iterator[Finding]:
    labels = label_columns(subject.query.label)
    for view in subject.views:
        yield from check_availability(subject, view)
        yield from check_truncation(subject, view, moments)
        for name in labels:
            yield from check_label(subject, view, name)
        if labels:
            yield from check_crowding(subject, view, labels)
        yield from check_claims(subject, view, claims, labels)
        subject.forget(view)


def _drawn(table: pa.Table, rows: int, seed: int) -> pa.Table:
    """Return so many rows at most, drawn at random, in their order."""
    if len(table) <= rows:
        return table
    chosen = np.random.default_rng(seed).choice(len(table), rows, replace=False)
    return table.take(pa.array(np.sort(chosen)))
