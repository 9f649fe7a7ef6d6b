"""Adding to a saved training set the rows of a spine that it doesn't hold yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fs_core.errors import SchemaError
from fs_core.retrieval.query import historical_features, query_from_spec
from fs_core.retrieval.saved.directory import SavedTrainingSets
from fs_core.values.casting import cast_lossless
from fs_core.values.dtypes import plain_type
from fs_core.values.interchange import require_columns, to_table

if TYPE_CHECKING:
    from fs_core.offline.contract import OfflineStore
    from fs_core.registry import Registry

Rows = np.ndarray[Any, np.dtype[np.int64]]


def refresh(saved_sets: SavedTrainingSets, registry: Registry, offline: OfflineStore, name: str, spine: Any) -> int:
    """Look up the rows of `spine` that aren't saved yet, from the newest states, and add them; return how many.

    Args:
        saved_sets: the directory of saved sets.
        registry: knows the pinned versions.
        offline: the history that is asked.
        name: of the saved set.
        spine: the columns that it was saved with, in any order.

    Raises:
        UnknownReferenceError, SavedTrainingSetError: as in `SavedTrainingSets.load`.
        SchemaError: the spine's columns aren't those it was saved with.
    """
    table = to_table(spine, "the spine")
    saved_sets.find(name)  # or a mistyped name would make a directory
    with saved_sets.writing(name):
        saved, have = saved_sets.find(name), saved_sets.load(name)
        fitting = _fitted(table, have.table.drop_columns(have.features), name)
        identity = [*have.keys, have.timestamp, *have.labels]
        rows = new_rows(have.table.select(identity), fitting.select(identity))
        if not len(rows):
            return 0
        query = query_from_spec(registry, have.spec)
        newest = {view.name: offline.snapshot(view) for view in query.selection.views}
        found = historical_features(offline, fitting.take(pa.array(rows)), replace(query, snapshots=newest))
        columns = [found.table[name] for name in have.table.column_names]
        saved_sets.append(saved, replace(found, table=pa.table(columns, schema=have.table.schema)))
        return len(rows)


def new_rows(have: pa.Table, asked: pa.Table) -> Rows:
    """Return the positions of asked rows beyond those there already; of equal rows the later ones are new.

    Args:
        have: what identifies the rows that are there.
        asked: the same columns, in the same types.
    """
    codes = np.zeros(len(have) + len(asked), np.int64)
    for name in have.column_names:
        more = _codes(pa.chunked_array([*have[name].chunks, *asked[name].chunks], have[name].type))
        _, codes = np.unique(codes * (more.max(initial=0) + 1) + more, return_inverse=True)
        codes = codes.reshape(-1).astype(np.int64)
    there = np.bincount(codes[: len(have)], minlength=codes.max(initial=0) + 1)
    mine = codes[len(have) :]
    order = np.argsort(mine, kind="stable")
    first = np.searchsorted(mine[order], mine[order], side="left")
    occurrence = np.empty(len(mine), np.int64)
    occurrence[order] = np.arange(len(mine)) - first
    return np.flatnonzero(occurrence >= there[mine])


def _codes(column: pa.ChunkedArray) -> Rows:
    """Return a number for each value, the same for the same; 0 for a null."""
    plain = column.cast(plain_type(column.type))
    if pa.types.is_nested(plain.type) or pa.types.is_null(plain.type):
        plain = pa.chunked_array([[None if value is None else repr(value) for value in plain.to_pylist()]], pa.string())
    encoded = pa.chunked_array(plain.chunks, plain.type).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(), dtype=np.int64) + 1


def _fitted(spine: pa.Table, like: pa.Table, name: str) -> pa.Table:
    """Return a spine in the columns, order and types of another, or refuse it."""
    what = f"the spine for training set {name!r}"
    require_columns(like.column_names, spine.column_names, what)
    extra: Sequence[str] = [column for column in spine.column_names if column not in like.column_names]
    if extra:
        raise SchemaError(f"{what} has a column {extra[0]!r}, which was not saved. Drop it, or save a set of its own.")
    columns = {}
    for field in like.schema:
        column = spine[field.name]
        if column.type != field.type:
            column = cast_lossless(column, plain_type(field.type), f"{what}: column {field.name!r}").cast(field.type)
        columns[field.name] = column
    return pa.table(columns)
