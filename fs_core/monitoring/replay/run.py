"""Replaying a log: the training path is asked what was right at each moment, in bulk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_core.errors import TransformCodeError, TransformError, UnknownReferenceError
from fs_core.leakage.differences import differing
from fs_core.monitoring.log.reading import require
from fs_core.monitoring.log.rows import AT, MAX_AGE, READ_AT, REQUEST_ID, ROW, Descriptor, column
from fs_core.monitoring.log.tables import LogTables
from fs_core.monitoring.replay.evidence import Explanation, Question, explain
from fs_core.monitoring.replay.report import DIFFERENCES, Difference, Findings, Kinds, ReplayReport
from fs_core.offline.contract import OfflineStore
from fs_core.registry import Registry
from fs_core.retrieval.computed import computed
from fs_core.retrieval.query import Query, answers, query_from_spec
from fs_core.retrieval.selection import Computation, SelectedFeature, ViewLookup, key_table
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ, STATUS, Status
from fs_core.values.times import from_micros

OVERLAP = 5_000_000
"""Microseconds: how long before a read a row may have become available that it needn't show."""
_ROWS = 250_000  # replayed at once
_WHAT = "the logged rows"

Flags = np.ndarray[Any, np.dtype[np.bool_]]


def replay(
    logs: LogTables,
    name: str,
    registry: Registry,
    offline: OfflineStore,
    *,
    since: int | None = None,
    overlap: int = OVERLAP,
    evidence: int = 100,
) -> ReplayReport:
    """Compare every row of a log with what the rule says of its moment; see `FeatureStore.replay`.

    Args:
        logs: the logs.
        name: which.
        registry: knows the pinned versions.
        offline: history.
        since: only what was read from this moment on, microseconds; None for all.
        overlap: how long before a read a row may have become available that it needn't show, microseconds.
        evidence: how many findings of each kind to keep.

    Raises:
        UnknownReferenceError: there is no such log.
    """
    require(logs, name)
    started, findings = time.perf_counter(), Findings(evidence)
    for table in logs.tables(name):
        assert table.descriptor is not None
        try:
            query = _query(registry, offline, table.descriptor)
        except UnknownReferenceError as error:
            _count_all(table.read_since(since, [REQUEST_ID, READ_AT]), Difference.CODE, str(error), findings)
            continue
        for day in table.days_since(since):  # a log may be larger than memory
            rows = table.read_since(since, day=day)
            for start in range(0, rows.num_rows, _ROWS):
                _Replayed(offline, query, rows.slice(start, _ROWS), overlap, findings).judge()
    return findings.report(name, time.perf_counter() - started)


def _query(registry: Registry, offline: OfflineStore, descriptor: Descriptor) -> Query:
    query = query_from_spec(registry, descriptor.spec)
    return replace(query, snapshots={view.name: offline.snapshot(view) for view in query.selection.views})


def _count_all(rows: pa.Table, kind: Difference, detail: str, findings: Findings) -> None:
    findings.count(np.full(rows.num_rows, DIFFERENCES.index(kind), np.int8))
    if rows.num_rows and findings.room(kind) > 0:
        findings.add(kind, {"detail": f"{rows.num_rows:,} rows: {detail}"})


@dataclass(frozen=True)
class _Judged:
    """What was found of one look-up.

    Attributes:
        differs: which rows do.
        indices: where those are.
        why: why they do; None where none does.
        found: what history says of all rows.
    """

    differs: Flags
    indices: np.ndarray[Any, np.dtype[np.int64]]
    why: Explanation | None
    found: pa.Table


class _Replayed:
    """Some rows of a log."""

    def __init__(self, offline: OfflineStore, query: Query, rows: pa.Table, overlap: int, findings: Findings) -> None:
        self._offline, self._query, self._rows, self._findings = offline, query, rows, findings
        self._tolerance = rows[MAX_AGE].to_numpy() + overlap
        self._kinds: Kinds = np.zeros(rows.num_rows, np.int8)

    def judge(self) -> None:
        """Count these rows, and keep findings."""
        found: dict[ViewLookup, pa.Table] = {}
        differs = np.zeros(self._rows.num_rows, bool)
        for number, (lookup, _, answer) in enumerate(answers(self._offline, self._rows, self._query)):
            found[lookup] = answer
            judged = self._looked_up(number, lookup, answer)
            differs |= judged.differs
            self._keep(number, lookup, judged)
        if self._query.selection.computations:
            self._computed(found, ~differs)
        self._findings.count(self._kinds)

    def _looked_up(self, number: int, lookup: ViewLookup, found: pa.Table) -> _Judged:
        """Compare what was served of a look-up: status, the winner's event time, features."""
        rows = self._rows
        status, event_time = rows[column("status", number)], rows[column("event_time", number)]
        differs = pc.not_equal(status, found[STATUS]).to_numpy()
        both = pc.and_(pc.equal(status, Status.PRESENT.value), pc.is_valid(event_time))
        other = pc.fill_null(pc.not_equal(event_time, found[EVENT_TIME]), False)
        differs = differs | pc.and_(both, other).to_numpy()
        for feature in self._features(lookup):
            differs = differs | differing(rows[feature.column], found[feature.name])
        indices = np.flatnonzero(differs)
        if not len(indices):
            return _Judged(differs, indices, None, found)
        why = explain(
            lookup.view,
            self._offline,
            self._query.snapshots[lookup.view.name],
            self._question(number, lookup, found, indices),
        )
        self._kinds[indices] = np.maximum(self._kinds[indices], why.kinds)
        return _Judged(differs, indices, why, found)

    def _features(self, lookup: ViewLookup) -> list[SelectedFeature]:
        features = self._query.selection.features
        return [feature for feature in features if feature.computation is None and feature.lookup == lookup]

    def _question(
        self, number: int, lookup: ViewLookup, found: pa.Table, indices: np.ndarray[Any, np.dtype[np.int64]]
    ) -> Question:
        taken = pa.array(indices)
        rows = self._rows.take(taken)

        def numbers(what: str) -> np.ndarray[Any, np.dtype[np.int64]]:
            values = rows[column(what, number)].cast(pa.int64())
            return np.asarray(pc.fill_null(values, -1).to_numpy(), np.int64)

        features = {feature.name: rows[feature.column] for feature in self._features(lookup)}
        return Question(
            key_table(rows, lookup, _WHAT),
            rows[AT].cast(pa.int64()).to_numpy(),
            self._tolerance[indices],
            np.array(rows[column("status", number)].to_pylist(), object),
            np.array(found[STATUS].take(taken).to_pylist(), object),
            numbers("event_time"),
            numbers("available_at"),
            numbers("seq"),
            pa.table(features),
        )

    def _computed(self, found: Mapping[ViewLookup, pa.Table], usable: Flags) -> None:
        """Compare what was computed from what is equal: from other inputs comes another result."""
        selection = self._query.selection
        try:
            made = computed(selection, lambda feature: found[feature.lookup][feature.name], self._rows, _WHAT)
        except TransformError as error:
            kind = Difference.CODE if isinstance(error, TransformCodeError) else Difference.UNEXPLAINED
            self._kinds[:] = np.maximum(self._kinds, DIFFERENCES.index(kind))
            if self._findings.room(kind) > 0:
                self._findings.add(kind, {"detail": str(error)})
            return
        for feature in selection.features:
            if feature.computation is not None:
                self._compare(feature, feature.computation, made[feature.computation][feature.name], usable)

    def _compare(
        self, feature: SelectedFeature, computation: Computation, values: pa.ChunkedArray, usable: Flags
    ) -> None:
        kind = Difference.UNEXPLAINED
        differs = differing(self._rows[feature.column], values) & usable
        self._kinds[differs] = DIFFERENCES.index(kind)
        for index in np.flatnonzero(differs)[: max(self._findings.room(kind), 0)].tolist():
            served, expected = self._rows[feature.column][index].as_py(), values[index].as_py()
            detail = f"{feature.column} was {served!r}; computed from the same inputs it is {expected!r}"
            about = {
                "view": computation.name,
                "column": feature.column,
                "served": repr(served),
                "expected": repr(expected),
            }
            self._findings.add(kind, {**self._about(index), **about, "detail": detail})

    def _keep(self, number: int, lookup: ViewLookup, judged: _Judged) -> None:
        """Keep the first findings of each kind."""
        if judged.why is None:
            return
        for code in np.unique(judged.why.kinds).tolist():
            kind = DIFFERENCES[code]
            chosen = np.flatnonzero(judged.why.kinds == code)[: max(self._findings.room(kind), 0)]
            for row in self._findings_of(number, lookup, judged, judged.why, chosen.tolist()):
                self._findings.add(kind, row)

    def _findings_of(
        self, number: int, lookup: ViewLookup, judged: _Judged, why: Explanation, chosen: list[int]
    ) -> Iterator[dict[str, Any]]:
        for position in chosen:
            index, winner = int(judged.indices[position]), int(why.winners[position])
            row: dict[str, Any] = {**self._about(index), "view": lookup.name}
            for what in ("status", "event_time", "available_at", "seq"):
                row[f"served_{what}"] = self._rows[column(what, number)][index].as_py()
            row["expected_status"] = judged.found[STATUS][index].as_py()
            if winner >= 0:
                won = why.rows.slice(winner, 1).select([EVENT_TIME, AVAILABLE_AT, SEQ]).to_pylist()[0]
                row |= {f"expected_{name.removeprefix('__')}": value for name, value in won.items()}
            row |= self._first_column(lookup, judged.found, index)
            yield {
                **row,
                "detail": _detail(DIFFERENCES[int(why.kinds[position])], row, known=bool(why.is_known[position])),
            }

    def _first_column(self, lookup: ViewLookup, found: pa.Table, index: int) -> dict[str, str]:
        """Return the first feature of a row that differs, with both values."""
        for feature in self._features(lookup):
            served, expected = self._rows[feature.column].slice(index, 1), found[feature.name].slice(index, 1)
            if differing(served, expected)[0]:
                values = {"served": repr(served[0].as_py()), "expected": repr(expected[0].as_py())}
                return {"column": feature.column, **values}
        return {}

    def _about(self, index: int) -> dict[str, Any]:
        keys = {name: self._rows[name][index].as_py() for name in self._query.selection.keys}
        return {
            "request_id": self._rows[REQUEST_ID][index].as_py(),
            "row": self._rows[ROW][index].as_py(),
            "at": from_micros(self._rows[AT][index].cast(pa.int64()).as_py()),
            "keys": ", ".join(f"{name}={value!r}" for name, value in keys.items()),
        }


def _detail(kind: Difference, row: Mapping[str, Any], *, known: bool) -> str:
    """Return the evidence in words."""
    expected, served = row.get("expected_seq"), row["served_seq"]
    since = None if expected is None else row["at"] - row["expected_available_at"]
    wins = "nothing" if expected is None else f"row {expected}, available {since} before the read"
    shown = f"row {served}" if served is not None else f"a {row['served_status']} row"
    if kind is Difference.UNEXPLAINED and not known:
        return f"{shown} was served, which history doesn't have with these values; by the rule it is {wins}"
    return f"{shown} was served; by the rule it is {wins}"
