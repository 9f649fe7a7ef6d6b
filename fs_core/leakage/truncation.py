"""The proof by deletion: without everything that came later, every answer must be the same.

For each of some moments, the rows of history that weren't available by then are left out of a Parquet file in
which the plain engine looks for the same answers. A row that isn't in the file can't leak.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fs_core.definitions import FeatureView
from fs_core.leakage.differences import differing
from fs_core.leakage.report import Finding, Severity
from fs_core.leakage.subject import Rows, Subject
from fs_core.offline.search.engine import Micros, apply_rule, numbers
from fs_core.offline.search.sql import PlainEngine
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, STATUS, TIME
from fs_core.values.dtypes import as_type, storage_type
from fs_core.values.times import MICROSECONDS

_ROWS_A_MOMENT = 256  # the last ones up to the moment: what an answer sees ahead is mostly near


def draw_moments(subject: Subject, samples: int, seed: int) -> Micros:
    """Return the moments before which the future is deleted: some of the spine's own, ascending.

    Args:
        subject: what is examined.
        samples: how many moments, at most.
        seed: what the draw depends on.
    """
    own = np.unique(subject.micros)
    if len(own) <= samples:
        return own
    return np.sort(np.random.default_rng(seed).choice(own, samples, replace=False))


def check_truncation(subject: Subject, view: FeatureView, moments: Micros) -> Iterator[Finding]:
    """Yield a view's features whose answers change once the future is deleted.

    Args:
        subject: what is examined.
        view: whose answers.
        moments: before which the future is deleted, microseconds, ascending.
    """
    asked = _last_rows(subject, moments)
    rows = np.concatenate([positions for _, positions in asked]) if asked else np.zeros(0, np.int64)
    if not len(rows):
        return
    history = _of_the_same_entities(subject.history(view), subject.keys(view).take(pa.array(rows)), view)
    parts = [_without_the_future(subject, view, history, moment, positions) for moment, positions in asked]
    without = pa.concat_tables(parts)
    found = subject.answers(view).take(pa.array(rows))
    where = {name: np.flatnonzero(differing(found[name], without[name])) for name in found.column_names}
    columns = {feature.name: feature.column for feature in subject.features(view)}
    for name, column in columns.items():
        if len(where[name]):
            yield _finding(subject, view, column, rows, where[name], found[name], without[name])
    rest = np.union1d(where[EVENT_TIME], where[STATUS])
    if len(rest) and not any(len(where[name]) for name in columns):
        yield _finding(subject, view, None, rows, rest, found[EVENT_TIME], without[EVENT_TIME])


def _last_rows(subject: Subject, moments: Micros) -> list[tuple[int, Rows]]:
    """Return each moment with the rows of the spine to ask for: the last ones up to it."""
    order = np.argsort(subject.micros, kind="stable")
    ends = np.searchsorted(subject.micros[order], moments, side="right").tolist()
    return [(m, order[max(0, end - _ROWS_A_MOMENT) : end]) for m, end in zip(moments.tolist(), ends, strict=True)]


def _finding(
    subject: Subject,
    view: FeatureView,
    column: str | None,
    rows: Rows,
    where: Rows,
    found: pa.ChunkedArray,
    without: pa.ChunkedArray,
) -> Finding:
    taken = pa.array(where)
    shown = {"with the future": found.take(taken), "without it": without.take(taken)}
    return Finding(
        Severity.LEAK,
        "truncation",
        view.ref,
        column,
        f"{len(where):,} of {len(rows):,} answers change once everything later is deleted from history. "
        "The engine or its index lets later facts through: don't train on this, and report it.",
        {"changed": len(where), "asked": len(rows)},
        subject.evidence(view, rows[where], shown),
    )


def _of_the_same_entities(history: pa.Table, asked: pa.Table, view: FeatureView) -> pa.Table:
    """Return the rows of history about the entities asked for."""
    keys = list(view.keys)
    numbered = history.select(keys).append_column("the row", pa.array(np.arange(len(history))))
    wanted = asked.group_by(keys).aggregate([])
    kept = numbered.join(wanted, keys, join_type="left semi")["the row"]
    return history.take(kept.combine_chunks().sort())


def _without_the_future(subject: Subject, view: FeatureView, history: pa.Table, moment: int, rows: Rows) -> pa.Table:
    """Return the answers for some rows of the spine from what was available at a moment, and nothing else."""
    known = history.filter(pa.array(numbers(history[AVAILABLE_AT]) <= moment))
    names = subject.names(view)
    with TemporaryDirectory(prefix="fs-leakage-") as directory:
        file = str(Path(directory) / "known.parquet")
        pq.write_table(pa.table({f.name: known[f.name].cast(storage_type(f.type)) for f in known.schema}), file)
        asked = subject.keys(view).append_column(TIME, subject.times).take(pa.array(rows))
        found = apply_rule(PlainEngine(), view, [file] if len(known) else [], asked, names)
    types = {**{name: view.features[name] for name in names}, EVENT_TIME: MICROSECONDS, STATUS: pa.string()}
    return pa.table({name: as_type(found[name], dtype) for name, dtype in types.items()})
