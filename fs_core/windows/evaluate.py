"""A view's windows from a table of events: the kernel in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fs_core.definitions import FeatureView
from fs_core.rule import AVAILABLE_AT, EVENT_TIME, SEQ
from fs_core.windows.answer import Answers, Asked, answer
from fs_core.windows.events import Events
from fs_core.windows.plan import Feature, Lane, features_of, needs_of
from fs_core.windows.prepared import Prepared, prepare

Ints = np.ndarray[Any, np.dtype[np.int64]]


def events_of(view: FeatureView, rows: pa.Table, codes: Ints, passing: Mapping[str, pa.ChunkedArray]) -> Events:
    """Return the events of rows in `history_schema(view)`, in order.

    Args:
        view: whose rows.
        rows: events, in the declared types; keys may be absent, and columns that no aggregate and no id reads.
        codes: each row's entity, 0 or more.
        passing: for each `where` of the view, which rows it is true for.
    """
    clocks = tuple(_ints(rows[name]) for name in (EVENT_TIME, AVAILABLE_AT, SEQ))
    columns = {name: _one(rows[name]) for name in columns_of(view) if name in rows.column_names}
    flags = {where: np.asarray(_one(mask).to_numpy(zero_copy_only=False)) for where, mask in passing.items()}
    return Events.of(codes, clocks, columns, flags, view.event_id)  # type: ignore[arg-type]  # there are three


def columns_of(view: FeatureView) -> list[str]:
    """Return the columns of events that aggregates and the id need, apart from what conditions read."""
    read = {aggregation.column for aggregation in view.aggregations} | set(view.event_id)
    return [name for name in view.stored if name in read]


def prepared_for(features: Sequence[Feature], events: Events, entities: int) -> Prepared:
    """Return events ready to be asked for features.

    Args:
        features: what will be asked.
        events: in the rule's order.
        entities: how many entities there are.
    """
    return prepare(events, entities, all_needs_of(features))


def all_needs_of(features: Sequence[Feature]) -> dict[Lane, frozenset[str]]:
    """Return what must be prepared of each lane, that of every event included."""
    return {Lane(None, None): frozenset(), **needs_of(features)}


def evaluate(
    view: FeatureView,
    rows: pa.Table,
    codes: Ints,
    passing: Mapping[str, pa.ChunkedArray],
    questions: tuple[Ints, Ints],
    names: Sequence[str],
) -> Answers:
    """Return features of a view as of given moments.

    Args:
        view: whose aggregations.
        rows: events, as in `events_of`.
        codes: each event's entity.
        passing: for each `where`, which events it is true for.
        questions: each question's entity, -1 for one without events, and moment, microseconds.
        names: the features wanted.

    Raises:
        TooLargeError: a whole number or a decimal doesn't fit its type.
    """
    features = features_of(view, names)
    entities = int(max((values.max(initial=-1) for values in (codes, questions[0])), default=-1)) + 1
    prepared = prepared_for(features, events_of(view, rows, codes, passing), entities)
    known = np.flatnonzero(questions[0] >= 0)
    return answer(features, [Asked(prepared, known, questions[0][known])], questions[1])


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
